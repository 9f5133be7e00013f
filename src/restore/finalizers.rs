//! Which finalizers the objects of a plan wait for before they are gone.
//!
//! In: the actions of a plan, and the live objects. Out: by finalizer, the paths of the objects that go when it is off:
//! those that are deleted themselves, and those that are in a namespace, or of a type, that goes. What the control plane
//! takes off itself is not among them. Reads only.

use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt as _;
use serde_json::Value;

use crate::snapshot::ObjectPath;

use super::address::{defined_type, is_namespace};
use super::error::RestoreError;
use super::object;
use super::plan::{Action, Operation};
use super::world::World;

/// What kube-apiserver, kube-controller-manager and the garbage collector take off as soon as nothing is in the way
/// (kubernetes.io: Finalizers, Garbage Collection; k8s.io/api, the constants of these names).
const CONTROL_PLANES: [&str; 7] = [
    "batch.kubernetes.io/job-tracking",
    "customresourcecleanup.apiextensions.k8s.io",
    "foregroundDeletion",
    "kubernetes.io/pv-protection",
    "kubernetes.io/pvc-protection",
    "orphan",
    "resource.kubernetes.io/delete-protection",
];

/// The control plane takes this one off itself.
pub(super) fn is_control_planes(finalizer: &str) -> bool {
    CONTROL_PLANES.contains(&finalizer)
}

/// Those of an object.
pub(super) fn finalizers(value: &Value) -> impl Iterator<Item = &str> {
    value.pointer("/metadata/finalizers").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// A cheap look before parsing.
pub(super) fn mentions_finalizers(bytes: &[u8]) -> bool {
    const KEY: &[u8] = b"\"finalizers\"";
    bytes.windows(KEY.len()).any(|window| window == KEY)
}

/// Paths of the objects that go, by the finalizer that they wait for.
pub(super) async fn finalizers_waited_for(
    world: &World<'_>,
    actions: &[Action],
) -> Result<BTreeMap<String, Vec<String>>, RestoreError> {
    let mut ending = BTreeSet::new();
    let (mut namespaces, mut types) = (BTreeSet::new(), BTreeSet::new());
    for action in actions.iter().filter(|action| ends(&action.operation)) {
        ending.insert(action.path.as_str());
        let Some(path) = ObjectPath::parse(&action.path) else { continue };
        types.extend(defined_type(&path));
        if is_namespace(&path) {
            namespaces.insert(path.name);
        }
    }
    let mut waited_for: BTreeMap<String, Vec<String>> = BTreeMap::new();
    if ending.is_empty() {
        return Ok(waited_for);
    }
    let mut files = world.live.walk("cluster");
    while let Some((file, entry)) = files.try_next().await? {
        let Some(path) = ObjectPath::parse(&file) else { continue };
        let goes = ending.contains(file.as_str())
            || path.namespace.as_ref().is_some_and(|home| namespaces.contains(home))
            || types.contains(&(path.group, path.resource));
        if !goes {
            continue;
        }
        let bytes = world.live.blob(&entry.hash).await?;
        if !mentions_finalizers(&bytes) {
            continue;
        }
        let live = object::parse(&file, &bytes)?;
        for finalizer in finalizers(&live).filter(|finalizer| !is_control_planes(finalizer)) {
            waited_for.entry(finalizer.to_owned()).or_default().push(file.clone());
        }
    }
    Ok(waited_for)
}

/// Ends what is there now.
const fn ends(operation: &Operation) -> bool {
    matches!(operation, Operation::Delete { .. } | Operation::Recreate { .. } | Operation::Create { after_gone: true })
}
