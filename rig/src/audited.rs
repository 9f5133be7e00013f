//! The writes in an API server's audit log, with their bodies where the policy has level `Request`.
//!
//! In: the log, or its end. Out: what one program wrote, in the order in which it was asked. Dry runs are no writes.

use serde::Deserialize;
use serde_json::Value;

use crate::disturb::snapshot_path;

/// A request that could change something.
#[derive(Clone, Debug)]
pub struct Write {
    /// `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: String,
    /// Path and query.
    pub uri: String,
    /// Where a snapshot has the object.
    pub path: String,
    /// What of the object, such as `status`.
    pub subresource: String,
    /// The status code of the answer.
    pub code: u16,
    /// What was sent, as the API server understood it; null below level `Request`.
    pub body: Value,
    received: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    verb: String,
    #[serde(rename = "requestURI")]
    uri: String,
    #[serde(default)]
    user_agent: String,
    #[serde(default)]
    object_ref: Reference,
    #[serde(default)]
    response_status: Status,
    #[serde(default)]
    request_object: Value,
    #[serde(default)]
    request_received_timestamp: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Reference {
    api_group: String,
    resource: String,
    namespace: String,
    name: String,
    subresource: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    code: u16,
}

/// Verbs that can change something.
const WRITES: [&str; 5] = ["create", "update", "patch", "delete", "deletecollection"];

/// What the program with this name (the user agent up to its version) wrote.
///
/// # Errors
/// A whole line is no audit event. A line that is half written is left out.
pub fn writes(log: &str, program: &str) -> Result<Vec<Write>, serde_json::Error> {
    let mut writes = Vec::new();
    for line in log.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let event: Event = serde_json::from_str(line)?;
        let query = event.uri.split_once('?').map(|(_, query)| query).unwrap_or_default();
        let ours = event.user_agent.split('/').next() == Some(program);
        if !ours || !WRITES.contains(&event.verb.as_str()) || query.split('&').any(|part| part == "dryRun=All") {
            continue;
        }
        // A review is a question that is asked with POST.
        if event.object_ref.api_group == "authorization.k8s.io" {
            continue;
        }
        let mut place = event.object_ref;
        // A namespace is said to lie in itself.
        if place.resource == "namespaces" && place.api_group.is_empty() {
            place.namespace.clear();
        }
        writes.push(Write {
            verb: event.verb,
            path: snapshot_path(&place.api_group, &place.resource, &place.namespace, &place.name),
            subresource: place.subresource,
            uri: event.uri,
            code: event.response_status.code,
            body: event.request_object,
            received: event.request_received_timestamp,
        });
    }
    // Events are written when requests are answered.
    writes.sort_by(|one, other| one.received.cmp(&other.received));
    Ok(writes)
}
