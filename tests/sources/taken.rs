//! One capture into memory: what a source says of itself, and what is in the snapshot.

use std::sync::Mutex;

use snapback::progress::{Progress, ProgressEvent};
use snapback::store::{SnapshotTree, SnapshotWriter};

/// A snapshot that is never stored.
pub(super) fn writer() -> SnapshotWriter {
    SnapshotWriter::scratch(None)
}

/// What is in it.
pub(super) async fn tree(writer: SnapshotWriter) -> SnapshotTree {
    writer.finish().await.unwrap().tree()
}

/// Every path in it.
pub(super) async fn paths(tree: &SnapshotTree) -> Vec<String> {
    use futures::TryStreamExt as _;
    tree.walk("").map_ok(|(path, _)| path).try_collect().await.unwrap()
}

/// The bytes of a file of any size.
pub(super) async fn content(tree: &SnapshotTree, path: &str) -> Vec<u8> {
    let entry = tree.entry(path).await.unwrap().unwrap_or_else(|| panic!("no `{path}`"));
    let mut bytes = Vec::new();
    tree.copy_file(&entry, &mut bytes).await.unwrap();
    bytes
}

/// A JSON document.
pub(super) async fn document(tree: &SnapshotTree, path: &str) -> serde_json::Value {
    serde_json::from_slice(&content(tree, path).await).unwrap()
}

/// Keeps the notes.
#[derive(Default)]
pub(super) struct Notes(Mutex<Vec<String>>);

impl Notes {
    pub(super) fn all(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }
}

impl Progress for Notes {
    fn report(&self, event: ProgressEvent) {
        if let ProgressEvent::Note(note) = event {
            self.0.lock().unwrap().push(note);
        }
    }
}
