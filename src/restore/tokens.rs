//! Pods whose tokens end when their ServiceAccount gets another UID, or goes.
//!
//! In: the actions of a plan, and the pods that run now. Out: their names, to be said before anybody says yes. A token
//! names its ServiceAccount's UID: it is taken for ten seconds more and then refused (facts/apiserver-tried.md), and no pod
//! is given another one before it is started again. Reads only; pods that the account may not list are not named.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::cluster::ClusterError;
use crate::snapshot::ObjectPath;

use super::error::RestoreError;
use super::object;
use super::plan::{Action, Operation};
use super::references::core_path;
use super::world::World;

/// Names of pods by the path of their ServiceAccount.
pub(super) async fn tokens_that_end(
    world: &World<'_>,
    actions: &[Action],
) -> Result<BTreeMap<String, Vec<String>>, RestoreError> {
    let mut ending = BTreeMap::new();
    for action in actions {
        let anew = matches!(action.operation, Operation::Create { .. } | Operation::Recreate { .. });
        let goes = matches!(action.operation, Operation::Delete { .. });
        let Some(path) = ObjectPath::parse(&action.path).filter(|_| anew || goes) else { continue };
        let Some(namespace) = path.namespace.as_deref().filter(|_| is_account(&path)) else { continue };
        // Its pods go with the namespace.
        let home = core_path("namespaces", None, namespace);
        let home_goes = |other: &Action| other.path == home && matches!(other.operation, Operation::Delete { .. });
        if world.doomed.covers(&path) || actions.iter().any(home_goes) {
            continue;
        }
        let pods = pods_with_tokens(world, namespace, &path.name).await?;
        if !pods.is_empty() {
            ending.insert(action.path.clone(), pods);
        }
    }
    Ok(ending)
}

fn is_account(path: &ObjectPath) -> bool {
    path.group.is_empty() && path.resource == "serviceaccounts"
}

async fn pods_with_tokens(world: &World<'_>, namespace: &str, account: &str) -> Result<Vec<String>, RestoreError> {
    let url = format!("/api/v1/namespaces/{namespace}/pods?fieldSelector=spec.serviceAccountName%3D{account}");
    let list = match world.cluster.get(&url).await {
        Ok(bytes) => object::parse(&url, &bytes)?,
        Err(ClusterError::Api(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let pods = list.get("items").and_then(Value::as_array);
    let live = pods.into_iter().flatten().filter(|pod| has_token(pod) && runs(pod) && !object::is_terminating(pod));
    Ok(live.map(|pod| object::name(pod).to_owned()).collect())
}

fn runs(pod: &Value) -> bool {
    !matches!(object::text(pod, "/status/phase"), Some("Succeeded" | "Failed"))
}

/// The kubelet gave it one, which is how a pod has come by its token since Kubernetes 1.22.
fn has_token(pod: &Value) -> bool {
    let volumes = pod.pointer("/spec/volumes").and_then(Value::as_array).into_iter().flatten();
    let sources = volumes.filter_map(|volume| volume.pointer("/projected/sources")?.as_array()).flatten();
    sources.into_iter().any(|source| source.get("serviceAccountToken").is_some())
}

/// What a person should read of it.
pub(super) fn told(operation: &Operation, pods: &[String]) -> String {
    let (pods, them) = match pods {
        [one] => (format!("token of pod {one} ends"), "it has"),
        many => (format!("tokens of pods {} end", many.join(", ")), "they have"),
    };
    match operation {
        Operation::Delete { .. } => format!("the {pods} with it"),
        _ => format!("the {pods}: {them} to be started again"),
    }
}
