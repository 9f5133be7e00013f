//! `snapback snapshots`: what the repository holds, oldest first.

use serde_json::{Value, json};
use snapback::store::{Snapshot, SourceState};

use super::error::Failure;
use super::exit::Exit;
use super::field_text::printable;
use super::session::Session;
use super::table;

/// Lists them.
pub(crate) async fn run(session: &Session<'_>) -> Result<Exit, Failure> {
    let opened = session.open().await?;
    let snapshots = opened.history.snapshots();
    let output = session.output;
    if output.is_json() {
        let list: Vec<Value> = snapshots.iter().map(document).collect();
        let repository = json!({"id": opened.repository.id(), "place": opened.repository.place()});
        output.json("snapshots", json!({"repository": repository, "snapshots": list}));
        return Ok(Exit::Done);
    }
    if snapshots.is_empty() {
        output.progress_line("no snapshots yet; run `snapback backup`");
        return Ok(Exit::Done);
    }
    let rows = snapshots
        .iter()
        .map(|snapshot| {
            let body = &snapshot.body;
            vec![
                format!("#{}", snapshot.number),
                snapshot.id.short(),
                when(body.time),
                printable(&body.context),
                printable(&body.label),
                table::thousands(body.objects),
                table::bytes(body.bytes),
                state(snapshot).to_owned(),
                printable(&body.scope),
            ]
        })
        .collect();
    let header = ["NUMBER", "ID", "TIME", "CONTEXT", "LABEL", "OBJECTS", "SIZE", "STATE", "SCOPE"];
    output.raw(table::columns(&header, rows).as_bytes());
    Ok(Exit::Done)
}

/// A time as it is shown: UTC, to the second.
pub(crate) fn when(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// `complete` or `partial`.
pub(crate) fn state(snapshot: &Snapshot) -> &'static str {
    if snapshot.body.complete { "complete" } else { "partial" }
}

/// The words for a source's state.
pub(crate) const fn source_state(state: SourceState) -> &'static str {
    match state {
        SourceState::Complete => "complete",
        SourceState::Partial => "partial",
        SourceState::Missing => "missing",
        SourceState::Unconfigured => "not configured",
    }
}

/// A snapshot as JSON, wherever one is printed.
pub(crate) fn document(snapshot: &Snapshot) -> Value {
    let body = &snapshot.body;
    let packs: u64 = snapshot.packs.iter().map(|pack| pack.size).sum();
    json!({
        "number": snapshot.number,
        "id": snapshot.id,
        "shortId": snapshot.id.short(),
        "time": body.time,
        "cluster": body.cluster,
        "context": body.context,
        "label": body.label,
        "scope": body.scope,
        "kubernetes": body.kubernetes,
        "revision": body.revision,
        "objects": body.objects,
        "types": body.types,
        "bytes": body.bytes,
        "storedBytes": packs,
        "complete": body.complete,
        "sources": body.sources,
        "series": body.series,
        "tool": body.tool,
    })
}
