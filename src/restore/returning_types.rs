//! The types whose CRDs a restore creates or changes: what discovery says of them now does not count.
//!
//! In: both trees. Out: for each such type what its CRD in the snapshot says of it. A CRD that defines another type than
//! its name says, or that no API server can have held, brings none back; it is refused where it is planned for.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use serde_json::Value;

use crate::store::SnapshotTree;

use super::address::{CRD_GROUP, CRD_RESOURCE};
use super::error::RestoreError;
use super::object;

/// A type as its CRD in the snapshot defines it.
pub(super) struct ReturningType {
    pub(super) kind: String,
    pub(super) singular: String,
    pub(super) namespaced: bool,
    /// Served versions, with whether each has the subresource `status`.
    pub(super) versions: BTreeMap<String, bool>,
}

/// The types whose CRDs are not the same on both sides.
pub(super) async fn returning_types(
    live: &SnapshotTree,
    wanted: &SnapshotTree,
    most_bytes: u64,
) -> Result<BTreeMap<(String, String), ReturningType>, RestoreError> {
    let folder = format!("cluster/{CRD_GROUP}/{CRD_RESOURCE}");
    let mut found = BTreeMap::new();
    let mut files = wanted.walk(&folder);
    while let Some(file) = files.next().await {
        let (path, entry) = file?;
        if live.entry(&path).await?.is_some_and(|known| known.hash == entry.hash) {
            continue;
        }
        if wanted.blob_size(&entry.hash).is_some_and(|bytes| bytes > most_bytes) {
            continue;
        }
        let crd = object::parse(&path, &wanted.blob(&entry.hash).await?)?;
        if object::check_place(&path, &crd).is_err() {
            continue;
        }
        let text = |pointer: &str| object::text(&crd, pointer).unwrap_or_default().to_owned();
        let versions = crd.pointer("/spec/versions").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let returning = ReturningType {
            kind: text("/spec/names/kind"),
            singular: text("/spec/names/singular"),
            namespaced: text("/spec/scope") == "Namespaced",
            versions: versions
                .iter()
                .filter(|version| version.get("served") == Some(&Value::Bool(true)))
                .filter_map(|version| {
                    let name = version.get("name")?.as_str()?.to_owned();
                    Some((name, version.pointer("/subresources/status").is_some()))
                })
                .collect(),
        };
        found.insert((text("/spec/group"), text("/spec/names/plural")), returning);
    }
    Ok(found)
}
