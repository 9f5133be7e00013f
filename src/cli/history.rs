//! `snapback history PATH`: what became of an object from snapshot to snapshot of this cluster.

use serde_json::{Value, json};
use snapback::maintain::{Version, history};
use snapback::snapshot::ObjectPath;
use snapback::store::{Snapshot, SnapshotTree};

use super::arguments::HistoryArguments;
use super::error::Failure;
use super::exit::Exit;
use super::field_text::{self, ShownField};
use super::output::{Output, Tone};
use super::review::shown_fields;
use super::scope;
use super::session::{Opened, Session};
use super::snapshots::{document, when};
use super::table;
use super::tree_path;

/// Follows it and prints one entry a change.
pub(crate) async fn run(session: &Session<'_>, arguments: &HistoryArguments) -> Result<Exit, Failure> {
    let opened = session.open().await?;
    let mine = session.of_this_cluster(opened.history.snapshots()).await?;
    let snapshots: Vec<Snapshot> = mine.into_iter().cloned().collect();
    let path = resolve(&opened, &snapshots, &arguments.path).await?;
    let mut covering = Vec::with_capacity(snapshots.len());
    for snapshot in snapshots {
        // A snapshot that never looked there says nothing about it.
        if scope::selection(&snapshot.body.scope)?.includes_path(&path)
            && !could_not_read(&opened, &snapshot, &path).await?
        {
            covering.push(snapshot);
        }
    }
    let versions = history(&opened.repository, &covering, &path).await?;
    let mut before: Option<Value> = None;
    let mut documents = Vec::new();
    for (index, version) in versions.iter().enumerate() {
        let after = content(&opened, version).await?;
        let fields = match (ObjectPath::parse(&path), &before, &after) {
            (Some(place), Some(before), Some(after)) => shown_fields(&place, before, after, arguments.reveal),
            _ => Vec::new(),
        };
        let word = match (index, &version.entry) {
            (0, _) => "first seen",
            (_, None) => "removed",
            _ if versions.get(index - 1).is_some_and(|last| last.entry.is_none()) => "added",
            _ => "changed",
        };
        if session.output.is_json() {
            documents.push(version_document(version, word, &fields, arguments.all_fields));
        } else {
            print(session.output, version, word, &fields, arguments.all_fields);
        }
        before = after;
    }
    if session.output.is_json() {
        session.output.json("history", json!({"path": path, "versions": documents}));
    }
    Ok(Exit::Done)
}

/// The path as it stands in the newest snapshot that has it.
async fn resolve(opened: &Opened, snapshots: &[Snapshot], text: &str) -> Result<String, Failure> {
    let mut newest: Option<SnapshotTree> = None;
    for snapshot in snapshots.iter().rev() {
        let tree = opened.repository.tree(snapshot).await?;
        for path in tree_path::candidates(&tree, text).await? {
            if tree.entry(&path).await?.is_some() && tree.folder(&path).await?.is_none() {
                return Ok(path);
            }
        }
        newest.get_or_insert(tree);
    }
    match newest {
        Some(tree) => match tree_path::find(&tree, text).await? {
            tree_path::Found::Folder(folder) => Err(Failure::new(Exit::Usage, format!("`{folder}` is a folder"))
                .hint("`history` follows one object: TYPE[.GROUP]/NAMESPACE/NAME")),
            tree_path::Found::File(path, _) => Ok(path),
        },
        None => Err(Failure::new(Exit::Failed, "the repository has no snapshots yet").hint("run `snapback backup`")),
    }
}

async fn could_not_read(opened: &Opened, snapshot: &Snapshot, path: &str) -> Result<bool, Failure> {
    let Some(place) = ObjectPath::parse(path).filter(|_| !snapshot.body.complete) else { return Ok(false) };
    let unreadable = scope::unreadable_types(&opened.repository.tree(snapshot).await?).await?;
    Ok(unreadable.contains_key(&scope::type_name(&place.group, &place.resource)))
}

async fn content(opened: &Opened, version: &Version) -> Result<Option<Value>, Failure> {
    let Some(entry) = &version.entry else { return Ok(None) };
    let bytes = opened.repository.tree(&version.snapshot).await?.blob(&entry.hash).await?;
    Ok(serde_json::from_slice(&bytes).ok())
}

fn version_document(version: &Version, word: &str, fields: &[ShownField], all_fields: bool) -> Value {
    let fields: Vec<Value> =
        fields.iter().filter(|field| all_fields || !field.noise).map(ShownField::document).collect();
    json!({
        "snapshot": document(&version.snapshot),
        "change": word.replace(' ', "-"),
        "snapshots": version.seen_in,
        "bytes": version.entry.as_ref().map(|entry| entry.size),
        "sha256": version.entry.as_ref().map(|entry| entry.hash),
        "fields": fields,
    })
}

fn print(output: &Output, version: &Version, word: &str, fields: &[ShownField], all_fields: bool) {
    let snapshot = &version.snapshot;
    let label = if snapshot.body.label.is_empty() { String::new() } else { format!(" {}", snapshot.body.label) };
    let same = match version.seen_in {
        0 | 1 => String::new(),
        more => format!(", the same in {}", table::count(more - 1, "more snapshot")),
    };
    let tone = match word {
        "removed" => Tone::Red,
        "changed" => Tone::Yellow,
        _ => Tone::Green,
    };
    let head = output.paint(Tone::Bold, &format!("#{}{label}", snapshot.number));
    output.line(&format!("{head}  {}  {}{same}", when(snapshot.body.time), output.paint(tone, word)));
    let mut folded = 0;
    for field in fields {
        if field.noise && !all_fields {
            folded += 1;
            continue;
        }
        for (tone, line) in field_text::lines(field) {
            output.line(&format!("    {}", output.paint(tone, &line)));
        }
    }
    if folded > 0 {
        output.line(&format!(
            "    {}",
            output.paint(Tone::Dim, &format!("and {} of noise", table::count(folded, "field")))
        ));
    }
}
