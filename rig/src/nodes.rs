//! The bare Nodes that kwok plays, and the storage class that its volumes are of.
//!
//! Both are applied whenever kwok starts, so they are there in a fresh cluster and unchanged in a copied one.

use std::fs;

use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

use crate::error::RigError;
use crate::toolchain::Toolchain;

/// Who applies them, in their managedFields.
const FIELD_MANAGER: &str = "rig";

/// Applies the nodes and the default storage class.
///
/// # Errors
/// [`RigError::Api`] when the API server refuses, [`RigError::File`] when kwok's class cannot be read.
pub async fn apply(client: &kube::Client, toolchain: &Toolchain, count: u32) -> Result<(), RigError> {
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    let nodes: Api<Node> = Api::all(client.clone());
    for number in 0..count {
        let name = format!("node-{number}");
        let node = json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}},
        });
        let action = format!("apply node `{name}`");
        nodes.patch(&name, &parameters, &Patch::Apply(&node)).await.map_err(RigError::api(action))?;
    }
    let path = toolchain.program("kwok-stages").join("volume/fast/storage-class.yaml");
    let text = fs::read_to_string(&path).map_err(RigError::file("read", &path))?;
    let class: Value = serde_saphyr::from_str(&text)
        .map_err(|error| RigError::Yaml { path: path.clone(), reason: error.to_string() })?;
    let name = class.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let classes: Api<k8s_openapi::api::storage::v1::StorageClass> = Api::all(client.clone());
    let action = format!("apply storage class `{name}`");
    classes.patch(&name, &parameters, &Patch::Apply(&class)).await.map_err(RigError::api(action))?;
    Ok(())
}

/// Whether every node takes pods: Ready and without the taint that a new node gets.
///
/// # Errors
/// Why not yet, in words.
pub async fn take_pods(client: &kube::Client) -> Result<(), String> {
    let nodes: Api<Node> = Api::all(client.clone());
    let listed = nodes.list(&kube::api::ListParams::default()).await.map_err(|error| error.to_string())?;
    for node in listed {
        let name = node.metadata.name.unwrap_or_default();
        let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
        if !conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True") {
            return Err(format!("node {name} is not ready"));
        }
        if node.spec.and_then(|spec| spec.taints).is_some_and(|taints| !taints.is_empty()) {
            return Err(format!("node {name} is tainted"));
        }
    }
    Ok(())
}
