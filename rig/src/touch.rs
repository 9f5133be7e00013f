//! Small edits all over a cluster, for measurements of what a later backup costs.
//!
//! In: a kubeconfig, how many objects, a round. Out: that many objects with one annotation changed, spread evenly over
//! several types; the same round touches the same objects.

use futures::{StreamExt, TryStreamExt};
use kube::api::{Api, ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Client, Config};

/// Types that every cluster has in number.
const TYPES: [(&str, &str, &str); 5] = [
    ("", "v1", "ConfigMap"),
    ("", "v1", "Service"),
    ("", "v1", "ServiceAccount"),
    ("apps", "v1", "Deployment"),
    ("rbac.authorization.k8s.io", "v1", "Role"),
];

/// Patches under way at once.
const PARALLEL: usize = 8;

/// Changes one annotation on `count` objects and returns how many were changed (fewer when there are not so many).
///
/// # Errors
/// The cluster cannot be reached or refuses a patch.
pub async fn touch(config: Config, count: usize, round: u32) -> Result<usize, kube::Error> {
    let client = Client::try_from(config)?;
    let mut all = Vec::new();
    for (group, version, kind) in TYPES {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        for object in api.list_metadata(&ListParams::default()).await?.items {
            if let (Some(namespace), Some(name)) = (object.metadata.namespace, object.metadata.name)
                && name != "kube-root-ca.crt"
                && !namespace.starts_with("kube-")
            {
                all.push((resource.clone(), namespace, name));
            }
        }
    }
    let stride = (all.len() / count.max(1)).max(1);
    let chosen: Vec<_> = all.into_iter().step_by(stride).take(count).collect();
    let change = serde_json::json!({"metadata": {"annotations": {"bench.snapback/round": round.to_string()}}});
    futures::stream::iter(chosen)
        .map(|(resource, namespace, name)| {
            let (client, change) = (client.clone(), &change);
            async move {
                let api: Api<DynamicObject> = Api::namespaced_with(client, &namespace, &resource);
                api.patch_metadata(&name, &PatchParams::default(), &Patch::Merge(change)).await
            }
        })
        .buffer_unordered(PARALLEL)
        .try_fold(0, |changed, _| async move { Ok(changed + 1) })
        .await
}
