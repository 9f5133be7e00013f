//! The API server's audit log: what was asked, by whom, and whether it could change anything.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on is a failed test")]

use std::path::Path;
use std::time::Duration;

/// One request in the API server's audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// The verb: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// Path and query.
    pub uri: String,
    /// The value of the query's `dryRun`, where it has one.
    pub dry_run: Option<String>,
    /// Who asked.
    pub user: String,
    /// The program that asked, as it names itself.
    pub agent: String,
    /// The status code of the answer.
    pub code: u64,
}

impl AuditEvent {
    /// Whether snapback asked, rather than a controller or the API server itself.
    pub fn is_ours(&self) -> bool {
        self.agent.starts_with("snapback/")
    }

    /// Whether the request was one that can change something and was no dry run.
    pub fn is_write(&self) -> bool {
        matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
            && self.dry_run.as_deref() != Some("All")
    }
}

/// Every request in a log, once the one with this path and query is there.
pub fn events_until(log: &Path, last: &str) -> Vec<AuditEvent> {
    loop {
        let text = std::fs::read_to_string(log).unwrap();
        // The last line may be half written.
        let events: Vec<AuditEvent> =
            text.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(audit_event).collect();
        if events.iter().any(|event| event.uri == last) {
            return events;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn audit_event(line: &str) -> AuditEvent {
    let event: serde_json::Value = serde_json::from_str(line).expect("an audit event is JSON");
    let text = |at: &str| event.pointer(at).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    let uri = text("/requestURI");
    let query = uri.split_once('?').map(|(_, query)| query).unwrap_or_default();
    let dry_run = query.split('&').find_map(|pair| pair.strip_prefix("dryRun=")).map(str::to_owned);
    AuditEvent {
        verb: text("/verb"),
        dry_run,
        user: text("/user/username"),
        agent: text("/userAgent"),
        code: event.pointer("/responseStatus/code").and_then(serde_json::Value::as_u64).unwrap_or_default(),
        uri,
    }
}
