//! `snapback ls SNAPSHOT[:PATH]`: what lies in a folder of a snapshot.

use futures::TryStreamExt as _;
use serde_json::{Value, json};
use snapback::store::{EntryKind, SnapshotTree, TreeEntry};

use super::arguments::LsArguments;
use super::error::Failure;
use super::exit::Exit;
use super::session::Session;
use super::snapshot_name::SnapshotName;
use super::table;
use super::tree_path::{self, Found};

/// Lists one folder, or everything below it.
pub(crate) async fn run(session: &Session<'_>, arguments: &LsArguments) -> Result<Exit, Failure> {
    let (name, path) = SnapshotName::parse_with_path(&arguments.snapshot)?;
    let opened = session.open().await?;
    let side = session.side(&opened, &name, None).await?;
    let found = tree_path::find(&side.tree, path.as_deref().unwrap_or_default()).await?;
    let selection = session.selection_in(&[&side.tree]).await?;
    let output = session.output;
    let mut list: Vec<Value> = Vec::new();
    let mut show = |path: &str, entry: &TreeEntry| {
        if output.is_json() {
            list.push(json!({"path": path, "kind": kind(entry), "size": entry.size, "sha256": entry.hash}));
        } else {
            let slash = if entry.kind == EntryKind::Tree { "/" } else { "" };
            output.line(&format!("{:>9}  {path}{slash}", table::bytes(entry.size)));
        }
    };
    let folder = match &found {
        Found::File(path, entry) => {
            show(path, entry);
            None
        }
        Found::Folder(folder) => Some(folder),
    };
    if let Some(folder) = folder {
        if arguments.recursive || narrowed(session) {
            let mut files = side.tree.walk(folder);
            while let Some((path, entry)) = files.try_next().await? {
                if output.is_closed() {
                    break;
                }
                if selection.includes_path(&path) {
                    show(&path, &entry);
                }
            }
        } else {
            for entry in entries(&side.tree, folder).await? {
                let path = if folder.is_empty() { entry.name.clone() } else { format!("{folder}/{}", entry.name) };
                show(&path, &entry);
            }
        }
    }
    if output.is_json() {
        output.json("ls", json!({"snapshot": side.document(), "entries": list}));
    }
    Ok(Exit::Done)
}

/// Patterns name files: a listing that follows them has to go all the way down.
fn narrowed(session: &Session<'_>) -> bool {
    !session.everywhere.only.is_empty() || !session.everywhere.exclude.is_empty()
}

async fn entries(tree: &SnapshotTree, folder: &str) -> Result<Vec<TreeEntry>, Failure> {
    Ok(tree.folder(folder).await?.unwrap_or_default())
}

const fn kind(entry: &TreeEntry) -> &'static str {
    match entry.kind {
        EntryKind::Tree | EntryKind::Sub => "folder",
        EntryKind::Blob | EntryKind::Parts(_) => "file",
        EntryKind::Exec => "executable",
        EntryKind::Link => "link",
    }
}
