//! Whether something that was stopped has come to rest.
//!
//! In: the object, held. Out: nothing of it runs, or what still does, by name. A pod that ended stays in the API and
//! counts no more; a pod of something else that the selector happens to match never counts.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::cluster::{Cluster, ClusterError};
use crate::journal::Held;

use super::super::object;
use super::error::QuiesceError;

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stillness {
    Still,
    /// Its controller has not said yet that it noticed.
    Unnoticed,
    /// What still runs, and what is known of it.
    Running(Vec<String>),
}

/// Looks once.
pub(super) async fn stillness(cluster: &Cluster, item: &Held, value: &Value) -> Result<Stillness, QuiesceError> {
    match item {
        Held::Deployment { .. } | Held::StatefulSet { .. } => workload(cluster, item, value).await,
        Held::ClusterApi { .. } => Ok(pause(value)),
        // In force with the answer: within 2 ms (facts/apiserver-tried.md).
        Held::MutatingWebhook { .. } | Held::ValidatingWebhook { .. } | Held::ApiService { .. } => Ok(Stillness::Still),
    }
}

async fn workload(cluster: &Cluster, item: &Held, value: &Value) -> Result<Stillness, QuiesceError> {
    let number = |pointer: &str| value.pointer(pointer).and_then(Value::as_i64).unwrap_or_default();
    let mut running = pods(cluster, item, value).await?;
    if running.is_empty() && number("/status/observedGeneration") < number("/metadata/generation") {
        running.push("its controller has not seen that it is scaled to 0".to_owned());
    } else if running.is_empty() && number("/status/replicas") != 0 {
        running.push(format!("its status counts {} replicas", number("/status/replicas")));
    }
    Ok(if running.is_empty() { Stillness::Still } else { Stillness::Running(running) })
}

/// Its pods that have not ended.
async fn pods(cluster: &Cluster, item: &Held, value: &Value) -> Result<Vec<String>, QuiesceError> {
    let (Some(namespace), _) = item.names() else { return Ok(Vec::new()) };
    let selector = encode(&selector(value));
    let list = |url: String| async move {
        let list: Value = object::parse(&url, &cluster.get(&url).await?)?;
        Ok::<_, QuiesceError>(list.get("items").and_then(Value::as_array).cloned().unwrap_or_default())
    };
    let mut owners = BTreeSet::from([object::uid(value)]);
    if matches!(item, Held::Deployment { .. }) {
        let sets = format!("/apis/apps/v1/namespaces/{namespace}/replicasets?labelSelector={selector}");
        let ours = |set: &&Value| controller(set).is_none_or(|owner| owner == object::uid(value));
        owners.extend(list(sets).await?.iter().filter(ours).map(object::uid));
    }
    let pods = list(format!("/api/v1/namespaces/{namespace}/pods?labelSelector={selector}")).await?;
    let runs = |pod: &&Value| !matches!(object::text(pod, "/status/phase"), Some("Succeeded" | "Failed"));
    let ours = |pod: &&Value| controller(pod).is_none_or(|owner| owners.contains(owner));
    Ok(pods.iter().filter(runs).filter(ours).map(describe).collect())
}

/// The UID of what controls it.
fn controller(value: &Value) -> Option<&str> {
    let owners = value.pointer("/metadata/ownerReferences")?.as_array()?;
    owners.iter().find(|owner| owner.get("controller") == Some(&Value::Bool(true)))?.get("uid")?.as_str()
}

/// `pod a-b-c on node n, being deleted since T, held by finalizer F`.
fn describe(pod: &Value) -> String {
    let mut text = format!("pod {}", object::name(pod));
    if let Some(node) = object::text(pod, "/spec/nodeName") {
        text.push_str(&format!(" on node {node}"));
    }
    if let Some(since) = object::text(pod, "/metadata/deletionTimestamp") {
        text.push_str(&format!(", being deleted since {since}"));
    }
    let finalizers = pod.pointer("/metadata/finalizers").and_then(Value::as_array);
    for finalizer in finalizers.into_iter().flatten().filter_map(Value::as_str) {
        text.push_str(&format!(", held by finalizer {finalizer}"));
    }
    text
}

/// Its selector as a query takes it.
fn selector(value: &Value) -> String {
    let mut terms = Vec::new();
    if let Some(labels) = value.pointer("/spec/selector/matchLabels").and_then(Value::as_object) {
        terms.extend(labels.iter().map(|(key, wanted)| format!("{key}={}", wanted.as_str().unwrap_or_default())));
    }
    let expressions = value.pointer("/spec/selector/matchExpressions").and_then(Value::as_array);
    for expression in expressions.into_iter().flatten() {
        let text = |key: &str| expression.get(key).and_then(Value::as_str).unwrap_or_default();
        let values = expression.get("values").and_then(Value::as_array);
        let values: Vec<&str> = values.into_iter().flatten().filter_map(Value::as_str).collect();
        terms.push(match text("operator") {
            "In" => format!("{} in ({})", text("key"), values.join(",")),
            "NotIn" => format!("{} notin ({})", text("key"), values.join(",")),
            "DoesNotExist" => format!("!{}", text("key")),
            _ => text("key").to_owned(),
        });
    }
    terms.join(",")
}

/// Percent-encodes a value of a query.
fn encode(text: &str) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/') {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// Since 1.9 Cluster API says that it noticed, in a condition; before, nothing can be seen.
fn pause(value: &Value) -> Stillness {
    let conditions = ["/status/conditions", "/status/v1beta2/conditions"]
        .iter()
        .filter_map(|pointer| value.pointer(pointer)?.as_array())
        .flatten();
    let mut told = conditions.filter(|condition| condition.get("type").and_then(Value::as_str) == Some("Paused"));
    if told.all(|condition| condition.get("status").and_then(Value::as_str) == Some("True")) {
        Stillness::Still
    } else {
        Stillness::Unnoticed
    }
}

/// HorizontalPodAutoscalers that scale it.
pub(super) async fn autoscalers(cluster: &Cluster, item: &Held) -> Result<Vec<String>, QuiesceError> {
    let (Held::Deployment { namespace, name } | Held::StatefulSet { namespace, name }) = item else {
        return Ok(Vec::new());
    };
    let url = format!("/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers");
    let list: Value = match cluster.get(&url).await {
        Ok(bytes) => object::parse(&url, &bytes)?,
        Err(ClusterError::Api(answer)) if answer.status == 404 => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let scales = |autoscaler: &&Value| {
        object::text(autoscaler, "/spec/scaleTargetRef/kind") == Some(item.kind())
            && object::text(autoscaler, "/spec/scaleTargetRef/name") == Some(name)
    };
    let items = list.get("items").and_then(Value::as_array);
    Ok(items.into_iter().flatten().filter(scales).map(|found| object::name(found).to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Stillness, encode, pause, selector};

    #[test]
    fn a_selector_is_asked_for_as_it_is_written() {
        let value = json!({"spec": {"selector": {"matchLabels": {"a/b": "c", "d": "e"}, "matchExpressions": [
            {"key": "f", "operator": "In", "values": ["g", "h"]}, {"key": "i", "operator": "Exists"},
            {"key": "j", "operator": "NotIn", "values": ["k"]}, {"key": "l", "operator": "DoesNotExist"}]}}});
        assert_eq!(selector(&value), "a/b=c,d=e,f in (g,h),i,j notin (k),!l");
        assert_eq!(encode("a/b=c,f in (g)"), "a/b%3Dc%2Cf%20in%20%28g%29");
    }

    #[test]
    fn a_pause_is_noticed_when_the_controller_says_so_or_never_says_anything() {
        let with = |status: &str| json!({"status": {"conditions": [{"type": "Paused", "status": status}]}});
        assert_eq!(pause(&with("False")), Stillness::Unnoticed);
        assert_eq!(pause(&with("True")), Stillness::Still);
        assert_eq!(pause(&json!({"status": {"phase": "Provisioned"}})), Stillness::Still);
    }
}
