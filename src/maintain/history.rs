//! What became of one file from snapshot to snapshot.
//!
//! In: snapshots, oldest first, and a path. Out: one [`Version`] each time that the file came, changed or went.
//! Invariant: only trees on the way to the path are read, and content never.

use crate::store::{Repository, Snapshot, StoreError, TreeEntry};

/// A moment at which a file became another one.
#[derive(Clone, Debug)]
pub struct Version {
    /// The first snapshot that has it so.
    pub snapshot: Snapshot,
    /// The file; `None` when it is gone.
    pub entry: Option<TreeEntry>,
    /// How many of the snapshots, from this one on, have it so.
    pub seen_in: u64,
}

/// Follows a path through snapshots. Snapshots before the first that has the file are passed over.
///
/// # Errors
/// A tree cannot be read.
pub async fn history(repository: &Repository, snapshots: &[Snapshot], path: &str) -> Result<Vec<Version>, StoreError> {
    let mut versions: Vec<Version> = Vec::new();
    let mut root = None;
    for snapshot in snapshots {
        // The same root means the same file, without reading anything.
        let entry = match (versions.last(), root) {
            (Some(last), Some(known)) if known == snapshot.body.root => last.entry.clone(),
            _ => repository.tree(snapshot).await?.entry(path).await?,
        };
        root = Some(snapshot.body.root);
        match versions.last_mut() {
            None if entry.is_none() => {}
            Some(last) if last.entry == entry => last.seen_in += 1,
            _ => versions.push(Version { snapshot: snapshot.clone(), entry, seen_in: 1 }),
        }
    }
    Ok(versions)
}
