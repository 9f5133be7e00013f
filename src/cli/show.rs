//! `snapback show SNAPSHOT[:PATH]`: what a snapshot is, or one thing inside of it.

use serde_json::{Value, json};
use snapback::maintain::to_yaml;
use snapback::snapshot::ObjectPath;
use snapback::store::{EntryKind, Snapshot, SnapshotTree, TreeEntry};

use super::advice::shell_word;
use super::arguments::ShowArguments;
use super::error::{Failure, Prefix};
use super::exit::Exit;
use super::field_text::{printable, printable_json, printable_lines};
use super::mask;
use super::output::{Output, Tone, first_of};
use super::session::Session;
use super::snapshot_name::SnapshotName;
use super::snapshots::{document, source_state, state, when};
use super::table;
use super::tree_path::{self, Found};

/// Shows a snapshot, or a file of it.
pub(crate) async fn run(session: &Session<'_>, arguments: &ShowArguments) -> Result<Exit, Failure> {
    let (name, path) = SnapshotName::parse_with_path(&arguments.snapshot)?;
    let opened = session.open().await?;
    let Some(path) = path else {
        let snapshot = session.stored(&opened, &name).await?;
        if session.output.is_json() {
            session.output.json("show", json!({"snapshot": document(&snapshot)}));
        } else {
            describe(session.output, &snapshot);
        }
        return Ok(Exit::Done);
    };
    let side = session.side(&opened, &name, None).await?;
    match tree_path::find(&side.tree, &path).await? {
        Found::Folder(folder) => Err(Failure::new(Exit::Usage, format!("`{folder}` is a folder"))
            .hint(format!("run `snapback ls {}`", shell_word(&arguments.snapshot)))),
        Found::File(path, entry) => {
            let shown = Shown { path: &path, entry: &entry, reveal: arguments.reveal, snapshot: side.document() };
            if let Some(place) = ObjectPath::parse(&path) {
                show_object(session.output, &side.tree, &place, &shown).await
            } else {
                show_file(session.output, &side.tree, &shown).await
            }
        }
    }
}

struct Shown<'a> {
    path: &'a str,
    entry: &'a TreeEntry,
    reveal: bool,
    snapshot: Value,
}

async fn show_object(
    output: &Output,
    tree: &SnapshotTree,
    place: &ObjectPath,
    shown: &Shown<'_>,
) -> Result<Exit, Failure> {
    let bytes = tree.blob(&shown.entry.hash).await?;
    let mut object: Value = serde_json::from_slice(&bytes).map_err(|error| not_json(shown.path, &error))?;
    if !shown.reveal {
        mask::mask_object(place, &mut object);
    }
    if output.is_json() {
        output.json("show", json!({"snapshot": shown.snapshot, "path": shown.path, "object": object}));
    } else {
        let yaml = to_yaml(&object);
        if output.is_terminal() && printable_lines(&yaml) != yaml {
            // JSON is YAML too, and the only form of it in which every character can be spelled out.
            output.message(Prefix::Note, "shown as JSON, because it holds characters that steer a terminal");
            output.line(&printable_json(&format!("{object:#}")));
        } else {
            output.raw(yaml.as_bytes());
        }
    }
    Ok(Exit::Done)
}

/// A file that is no object. What may hold secrets and cannot be masked is shown only with `--reveal`.
async fn show_file(output: &Output, tree: &SnapshotTree, shown: &Shown<'_>) -> Result<Exit, Failure> {
    let described =
        shown.path.starts_with("cluster/") || shown.path.starts_with("state/") || shown.path == "etcd/status.json";
    if !described && !shown.reveal {
        return Err(Failure::new(Exit::Refused, format!("`{}` may hold secrets and cannot be masked", shown.path))
            .hint("--reveal shows it"));
    }
    if output.is_json() {
        let bytes = tree.blob(&shown.entry.hash).await?;
        let content: Value = serde_json::from_slice(&bytes).map_err(|error| not_json(shown.path, &error))?;
        output.json("show", json!({"snapshot": shown.snapshot, "path": shown.path, "content": content}));
        return Ok(Exit::Done);
    }
    if !output.is_terminal() {
        tree.copy_file(shown.entry, &mut output.writer()).await?;
        return Ok(Exit::Done);
    }
    if matches!(shown.entry.kind, EntryKind::Parts(_)) {
        let text = format!("`{}` is too big for a terminal", shown.path);
        let file = shown.path.rsplit('/').next().unwrap_or(shown.path);
        return Err(Failure::new(Exit::Refused, text).hint(format!("redirect it: `> {}`", shell_word(file))));
    }
    let bytes = tree.blob(&shown.entry.hash).await?;
    let text = String::from_utf8_lossy(&bytes);
    // Files of these folders are JSON, and stay it.
    output.raw(if described { printable_json(&text) } else { printable_lines(&text) }.as_bytes());
    Ok(Exit::Done)
}

fn not_json(path: &str, error: &serde_json::Error) -> Failure {
    // The error names line and column, never the content.
    Failure::new(Exit::Failed, format!("`{path}` is not JSON")).caused_by(error)
}

fn describe(output: &Output, snapshot: &Snapshot) {
    let body = &snapshot.body;
    let label = if body.label.is_empty() { String::new() } else { format!(" {}", printable(&body.label)) };
    output.line(&output.paint(Tone::Bold, &format!("snapshot #{} ({}){label}", snapshot.number, snapshot.id.short())));
    let row = |name: &str, value: &str| output.line(&format!("  {name:<10} {}", printable(value)));
    row("taken", &format!("{} by {}", when(body.time), body.tool));
    if !body.cluster.is_empty() {
        row("of", &format!("context `{}`, Kubernetes {}, cluster {}", body.context, body.kubernetes, body.cluster));
        row("revision", &body.revision.to_string());
    }
    row("scope", if body.scope.is_empty() { "everything" } else { &body.scope });
    let (objects, types) = (table::count(body.objects, "object"), table::count(body.types, "type"));
    row("holds", &format!("{objects} of {types}, {}", table::bytes(body.bytes)));
    let stored: u64 = snapshot.packs.iter().map(|pack| pack.size).sum();
    row("stored in", &format!("{}, {}", table::count(snapshot.packs.len() as u64, "pack"), table::bytes(stored)));
    row("state", state(snapshot));
    for source in &body.sources {
        let head = format!("{} is {}", source.name, source_state(source.state));
        // A very partial backup has a long list here.
        let parts: Vec<String> = source.detail.split("; ").map(str::to_owned).collect();
        match parts.as_slice() {
            [detail] if detail.is_empty() => row("source", &head),
            [detail] => row("source", &format!("{head}: {detail}")),
            parts => {
                row("source", &format!("{head}:"));
                first_of(parts).iter().for_each(|part| row("", &format!("  {part}")));
            }
        }
    }
    row("id", &snapshot.id.to_string());
}
