//! Which pods are processes.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::installer::version_of_image;
use crate::process::ServerSpec;

/// In an argument of a bound process: the version in its pod's image.
pub const VERSION: &str = "{version}";

/// The pods of one Deployment, and the process that runs in place of their containers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The namespace of the Deployment.
    pub namespace: String,
    /// The label `app` of its pods.
    pub app: String,
    /// How the process is started.
    pub spec: ServerSpec,
}

impl Binding {
    /// How the process is started for a pod with this image.
    pub fn spec_for(&self, image: &str) -> ServerSpec {
        let version = version_of_image(image).unwrap_or_default();
        let mut spec = self.spec.clone();
        for argument in &mut spec.args {
            *argument = argument.replace(VERSION, version);
        }
        spec
    }
}

/// Adds to kwok's stages for pods that they leave bound ones alone.
pub fn leave_to_kubelet(stage: &mut Value, bindings: &[Binding]) {
    if bindings.is_empty() || stage.pointer("/spec/resourceRef/kind").and_then(Value::as_str) != Some("Pod") {
        return;
    }
    let bound: Vec<String> = bindings.iter().map(|binding| format!("{}/{}", binding.namespace, binding.app)).collect();
    let expression = serde_json::json!({
        "key": ".metadata.namespace + \"/\" + (.metadata.labels.app // \"\")",
        "operator": "NotIn",
        "values": bound,
    });
    if let Some(Value::Array(expressions)) = stage.pointer_mut("/spec/selector/matchExpressions") {
        expressions.push(expression);
    }
}
