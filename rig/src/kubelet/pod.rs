//! What a kubelet says of a pod and does with it in the API.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::{Value, json};

/// The address of every node (RFC 5737), as kwok has it.
const HOST: &str = "192.0.2.1";
const MANAGER: &str = "kubelet";

/// The image of a pod's first container.
pub fn image(pod: &Pod) -> &str {
    let container = pod.spec.as_ref().and_then(|spec| spec.containers.first());
    container.and_then(|container| container.image.as_deref()).unwrap_or_default()
}

/// The pod is on a node and is not being deleted.
pub fn is_wanted(pod: &Pod) -> bool {
    let on_a_node = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
    on_a_node && pod.metadata.deletion_timestamp.is_none()
}

/// Says that all containers run, or that they are being started again.
///
/// # Errors
/// What the client says.
pub async fn report(pods: &Api<Pod>, pod: &Pod, runs: bool, restarts: u32) -> Result<(), kube::Error> {
    let now = Time(k8s_openapi::jiff::Timestamp::now());
    let status = if runs { "True" } else { "False" };
    let state = match runs {
        true => json!({ "running": { "startedAt": now } }),
        false => json!({ "waiting": { "reason": "CrashLoopBackOff", "message": "the process ended" } }),
    };
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let statuses: Vec<Value> = containers
        .map(|container| {
            json!({
                "name": container.name,
                "image": container.image,
                "imageID": "",
                "ready": runs,
                "started": runs,
                "restartCount": restarts,
                "state": state,
            })
        })
        .collect();
    let condition = |kind: &str, status: &str| json!({ "type": kind, "status": status, "lastTransitionTime": now });
    let body = json!({ "status": {
        "phase": "Running",
        "hostIP": HOST,
        "podIP": HOST,
        "podIPs": [{ "ip": HOST }],
        "startTime": now,
        "containerStatuses": statuses,
        "conditions": [
            condition("PodScheduled", "True"),
            condition("Initialized", "True"),
            condition("ContainersReady", status),
            condition("Ready", status),
        ],
    } });
    let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    pods.patch_status(&name(pod), &parameters, &Patch::Merge(&body)).await.map(drop)
}

/// The pod's name.
pub fn name(pod: &Pod) -> String {
    pod.metadata.name.clone().unwrap_or_default()
}

/// The pod's UID.
pub fn uid(pod: &Pod) -> String {
    pod.metadata.uid.clone().unwrap_or_default()
}

/// Lets a pod go whose process has ended: the last step of its deletion.
///
/// # Errors
/// What the client says; a pod that is gone already is no error.
pub async fn let_go(pods: &Api<Pod>, pod: &Pod) -> Result<(), kube::Error> {
    let parameters = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions { uid: pod.metadata.uid.clone(), resource_version: None }),
        ..DeleteParams::default()
    };
    match pods.delete(&name(pod), &parameters).await {
        Ok(_) => Ok(()),
        // 409: another pod has its name by now.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(error),
    }
}
