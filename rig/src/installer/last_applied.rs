//! What `kubectl apply` leaves on an object.

use serde_json::{Value, json};

/// kubectl's field manager for client-side apply.
pub const MANAGER: &str = "kubectl-client-side-apply";

/// The annotation `kubectl apply` leaves: the object itself once more, as text.
pub fn with_last_applied(mut object: Value) -> Value {
    let text = object.to_string();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert("kubectl.kubernetes.io/last-applied-configuration".to_owned(), json!(text));
        }
    }
    object
}
