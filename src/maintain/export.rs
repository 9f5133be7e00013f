//! A snapshot's objects as YAML files that kubectl applies to another cluster.
//!
//! In: a snapshot's tree. Out: one file an object, in folders whose order is the order of applying: definitions,
//! namespaces, cluster-wide objects, objects in namespaces. Invariants: a Secret is written only when it is asked for
//! (I10); what is left out is named with its reason; a file's name comes from encoded names, so that it stays below its
//! folder.

use std::collections::BTreeMap;
use std::io;

use futures::TryStreamExt as _;
use serde_json::Value;

use super::portable::make_portable;
use super::yaml::to_yaml;
use crate::progress::{Progress, ProgressEvent};
use crate::snapshot::{ObjectPath, Selection};
use crate::store::{EntryKind, SnapshotTree, StoreError, encode_name};

/// How objects are written.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExportOptions {
    /// As they were, with uid, resourceVersion, managedFields and status, and nothing left out but Secrets.
    pub raw: bool,
    /// Secrets too.
    pub with_secrets: bool,
}

/// What an export wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Objects written.
    pub objects: u64,
    /// Secrets among them.
    pub secrets: u64,
    /// Objects left out, by reason.
    pub left_out: BTreeMap<String, u64>,
    /// The folders at the top, in the order of applying.
    pub folders: Vec<String>,
}

/// An export that stopped.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The snapshot cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file of the snapshot is no object.
    #[error("`{path}` of the snapshot is not JSON")]
    NotJson {
        /// Path inside the snapshot.
        path: String,
        /// Where it went wrong, without any content.
        #[source]
        source: serde_json::Error,
    },
    /// A file could not be written.
    #[error("cannot write `{name}`")]
    Write {
        /// Name below the destination.
        name: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Takes finished files.
pub trait ManifestSink {
    /// Writes one file that only its owner may read. Names have `/` between folders.
    ///
    /// # Errors
    /// The file cannot be written, or is there already.
    fn write(&mut self, name: &str, content: &[u8]) -> io::Result<()>;
}

/// Why Secrets are left out, as it is told.
pub const SECRETS_LEFT_OUT: &str = "Secrets, which are written only when asked for";
/// Why token Secrets are left out.
const TOKENS_LEFT_OUT: &str = "ServiceAccount tokens, which are bound to a UID of their own cluster";
/// How Helm names what holds a release.
const HELM_RELEASE_PREFIX: &str = "sh.helm.release.v1.";

/// Writes what is selected of a snapshot. `made_elsewhere` gives the reason why an object is made by every cluster for
/// itself, where it is; such an object is left out unless `raw`.
///
/// # Errors
/// The snapshot cannot be read, or a file cannot be written.
pub async fn export(
    tree: &SnapshotTree,
    selection: &Selection,
    options: ExportOptions,
    made_elsewhere: &(dyn Fn(&ObjectPath, &Value) -> Option<String> + Sync),
    sink: &mut dyn ManifestSink,
    progress: &dyn Progress,
) -> Result<Exported, ExportError> {
    progress.report(ProgressEvent::Stage("writing objects".to_owned()));
    let mut exported = Exported::default();
    let mut files = tree.walk("cluster");
    while let Some((path, entry)) = files.try_next().await? {
        let Some(place) = ObjectPath::parse(&path).filter(|_| entry.kind == EntryKind::Blob) else { continue };
        if !selection.includes_path(&path) {
            continue;
        }
        let bytes = tree.blob(&entry.hash).await?;
        let mut object: Value =
            serde_json::from_slice(&bytes).map_err(|source| ExportError::NotJson { path: path.clone(), source })?;
        let made_elsewhere = || made_elsewhere(&place, &object).filter(|_| !options.raw);
        if let Some(reason) = secret_left_out(&place, &object, options).or_else(made_elsewhere) {
            *exported.left_out.entry(reason).or_default() += 1;
            continue;
        }
        if !options.raw {
            make_portable(&place, &mut object);
        }
        let name = file_name(&place, &path);
        sink.write(&name, to_yaml(&object).as_bytes())
            .map_err(|source| ExportError::Write { name: name.clone(), source })?;
        exported.objects += 1;
        exported.secrets += u64::from(is_secret(&place));
        if let Some((folder, _)) = name.split_once('/')
            && !exported.folders.iter().any(|known| known == folder)
        {
            exported.folders.push(folder.to_owned());
        }
        progress.report(ProgressEvent::Done(1));
    }
    exported.folders.sort();
    Ok(exported)
}

/// Why a Secret is not written, if it is not.
fn secret_left_out(place: &ObjectPath, object: &Value, options: ExportOptions) -> Option<String> {
    if !is_secret(place) {
        return None;
    }
    let token = object.get("type").and_then(Value::as_str) == Some("kubernetes.io/service-account-token");
    match (token && !options.raw, options.with_secrets) {
        (true, _) => Some(TOKENS_LEFT_OUT.to_owned()),
        (false, false) => Some(SECRETS_LEFT_OUT.to_owned()),
        (false, true) => None,
    }
}

/// A Secret, or a ConfigMap that Helm keeps a release in.
fn is_secret(place: &ObjectPath) -> bool {
    place.group.is_empty()
        && (place.resource == "secrets"
            || (place.resource == "configmaps" && place.name.starts_with(HELM_RELEASE_PREFIX)))
}

/// Where an object's file lies: kubectl reads folders in the order of their names.
fn file_name(place: &ObjectPath, path: &str) -> String {
    // The last part of the stored path is the encoded name already, cut where it is too long.
    let name = path.rsplit('/').next().unwrap_or(path);
    let name = name.strip_suffix(".json").unwrap_or(name);
    let kind = if place.group.is_empty() {
        encode_name(&place.resource)
    } else {
        encode_name(&format!("{}.{}", place.resource, place.group))
    };
    match (place.group.as_str(), place.resource.as_str(), &place.namespace) {
        ("apiextensions.k8s.io", "customresourcedefinitions", _) => format!("1-definitions/{name}.yaml"),
        ("", "namespaces", _) => format!("2-namespaces/{name}.yaml"),
        (_, _, None) => format!("3-cluster/{kind}/{name}.yaml"),
        (_, _, Some(namespace)) => format!("4-namespaced/{}/{kind}/{name}.yaml", encode_name(namespace)),
    }
}

#[cfg(test)]
mod tests {
    use super::{ObjectPath, file_name};

    #[test]
    fn files_lie_in_the_order_of_applying() {
        for (path, name) in [
            ("cluster/apiextensions.k8s.io/customresourcedefinitions/_/a.b.json", "1-definitions/a.b.yaml"),
            ("cluster/core/namespaces/_/a.json", "2-namespaces/a.yaml"),
            (
                "cluster/rbac.authorization.k8s.io/clusterroles/_/system:x%20y.json",
                "3-cluster/clusterroles.rbac.authorization.k8s.io/system:x%20y.yaml",
            ),
            ("cluster/core/configmaps/a/b.json.json", "4-namespaced/a/configmaps/b.json.yaml"),
        ] {
            assert_eq!(file_name(&ObjectPath::parse(path).unwrap(), path), name);
        }
    }
}
