//! Types that were added since the snapshot: their CRDs go only when none of their objects would go with them unasked.
//!
//! In: the decisions of a plan. Out: the same, with the CRDs that stay told as [`SkipReason::TypeInUse`]. Objects that the
//! plan deletes on their own were asked for; whatever else the type has, in the scope or not, keeps its CRD.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::cluster::{Cluster, ClusterError};

use super::address::is_crd;
use super::decide::{Decisions, Draft};
use super::error::RestoreError;
use super::object;
use super::plan::{Operation, SkipReason, Skipped};
use super::requests::WriteError;
use super::storage_versions::list_url;
use super::world::World;

/// Leaves out the deletion of every CRD whose objects are not all deleted on their own.
pub(super) async fn keep_types_in_use(world: &World<'_>, planned: &mut Decisions) -> Result<(), RestoreError> {
    let deletes = |draft: &Draft| matches!(draft.operation, Operation::Delete { .. });
    let mut deleted: BTreeMap<(String, String), u64> = BTreeMap::new();
    for draft in planned.drafts.iter().filter(|draft| deletes(draft)) {
        let key = (draft.object_path.group.clone(), draft.object_path.resource.clone());
        *deleted.entry(key).or_default() += 1;
    }
    let mut kept = Vec::with_capacity(planned.drafts.len());
    for draft in std::mem::take(&mut planned.drafts) {
        let objects = match &draft.live {
            Some(hash) if is_crd(&draft.object_path) && deletes(&draft) => {
                let crd = world.live_object(&draft.path, hash).await?;
                let text = |pointer: &str| object::text(&crd, pointer).unwrap_or_default().to_owned();
                let own = deleted.get(&(text("/spec/group"), text("/spec/names/plural"))).copied().unwrap_or_default();
                objects_of_type(world.cluster, &crd).await?.map(|all| all.saturating_sub(own))
            }
            _ => Some(0),
        };
        if objects == Some(0) {
            kept.push(draft);
        } else {
            planned.skipped.push(Skipped { path: draft.path, reason: SkipReason::TypeInUse { objects } });
        }
    }
    planned.drafts = kept;
    planned.skipped.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(())
}

/// Objects that came since the plan was made would go with their type.
pub(super) async fn check_unused(cluster: &Cluster, crd: &Value) -> Result<(), WriteError> {
    match objects_of_type(cluster, crd).await.map_err(RestoreError::from)? {
        Some(0) => Ok(()),
        Some(objects) => Err(WriteError::stop(format!("it has objects that would go with it ({objects})"))),
        None => Err(WriteError::stop("its objects cannot be listed")),
    }
}

/// How many objects a CRD's type has in the whole cluster; `None` when they cannot be listed.
pub(super) async fn objects_of_type(cluster: &Cluster, crd: &Value) -> Result<Option<u64>, ClusterError> {
    #[derive(Deserialize)]
    struct List {
        metadata: Metadata,
        #[serde(default)]
        items: Option<Vec<serde::de::IgnoredAny>>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Metadata {
        #[serde(default)]
        remaining_item_count: u64,
    }
    let Some(url) = list_url(crd).map(|url| format!("{url}?limit=1")) else { return Ok(None) };
    match cluster.get(&url).await {
        Ok(body) => {
            let list: List = crate::cluster::parse(&url, "a list", &body)?;
            Ok(Some(list.items.unwrap_or_default().len() as u64 + list.metadata.remaining_item_count))
        }
        // The CRD is gone, and all its objects with it.
        Err(error) if error.status() == Some(404) => Ok(Some(0)),
        Err(ClusterError::Api(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
