//! What a new snapshot builds on: the newest complete live snapshot of its series, or nothing.
//!
//! In: the log and a listing. Out: a writer.
//! Invariants: a parent's packs are all there with the right size, none was given up, and its trees read from the
//! root down. When in doubt a snapshot is a full, which needs nothing but itself.

use std::collections::HashMap;
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};

use super::backend::sweep_spool;
use super::error::StoreError;
use super::hash::ContentHash;
use super::history::{History, Snapshot};
use super::pack::{MemberKind, PackKind};
use super::repository::Repository;
use super::snapshot_tree::SnapshotTree;
use super::snapshot_writer::{Basis, SnapshotWriter};
use super::tree::EntryKind;

/// Packs added since the last full, a big file's segments not counted (`repository.md`, Writing, 1).
const MAX_ADDED_PACKS: usize = 32;
/// Bytes that a snapshot may name, in terms of its last full's.
const MAX_GROWTH: u64 = 2;
/// A full is written at least this often, so that old packs can go.
const EPOCH: SignedDuration = SignedDuration::from_hours(30 * 24);

/// What is asked for.
pub(crate) enum Wanted {
    /// A snapshot of this series, compared with the one before.
    Incremental(ContentHash),
    /// A snapshot that depends on nothing.
    Full,
}

pub(crate) async fn begin(repository: &Repository, wanted: Wanted) -> Result<SnapshotWriter, StoreError> {
    let backend = repository.backend();
    if let Some(folder) = backend.spool_folder() {
        sweep(folder).await?;
    }
    let history = repository.history().await?;
    history.check_writable()?;
    let entry = history.head().map_or(0, |head| head.number);
    let full = || Ok(SnapshotWriter::stored(backend.clone(), None, Basis { entry, parent: None }));
    let Wanted::Incremental(series) = wanted else { return full() };
    let candidate =
        history.snapshots().iter().rev().find(|snapshot| snapshot.body.series == series && snapshot.body.complete);
    let Some(parent) = candidate else { return full() };
    if !history.problems().is_empty()
        || limit_reached(&history, parent)
        || !packs_are_there(repository, &history, parent).await?
    {
        return full();
    }
    match verified_tree(repository, parent).await {
        Some(tree) => {
            Ok(SnapshotWriter::stored(backend.clone(), Some(tree), Basis { entry, parent: Some(parent.number) }))
        }
        None => full(),
    }
}

async fn sweep(folder: PathBuf) -> Result<(), StoreError> {
    let swept = tokio::task::spawn_blocking(move || sweep_spool(&folder)).await;
    swept
        .unwrap_or_else(|stopped| Err(std::io::Error::other(stopped)))
        .map_err(|source| StoreError::local("clean tmp/", source))
}

/// From log data alone, so that every writer decides alike.
fn limit_reached(history: &History, parent: &Snapshot) -> bool {
    let by_number: HashMap<u64, &Snapshot> = history.snapshots().iter().map(|s| (s.number, s)).collect();
    let mut full = parent;
    while let Some(above) = full.parent {
        let Some(snapshot) = by_number.get(&above) else {
            // The full was forgotten: its size is not known here any more.
            return true;
        };
        full = snapshot;
    }
    let own: std::collections::HashSet<&str> = full.packs.iter().map(|pack| pack.name.as_str()).collect();
    let content = |snapshot: &Snapshot| -> u64 {
        snapshot.packs.iter().filter(|pack| pack.kind == PackKind::Content).map(|pack| pack.size).sum()
    };
    let added = parent.packs.iter().filter(|pack| pack.kind == PackKind::Content && !own.contains(pack.name.as_str()));
    added.count() > MAX_ADDED_PACKS
        || content(parent) > content(full).saturating_mul(MAX_GROWTH)
        || Timestamp::now().duration_since(full.body.time) > EPOCH
}

async fn packs_are_there(repository: &Repository, history: &History, parent: &Snapshot) -> Result<bool, StoreError> {
    let listed = repository.backend().list("packs/").await?;
    let sizes: HashMap<&str, u64> = listed.iter().map(|file| (file.name.as_str(), file.size)).collect();
    let Some(given_up) = history.given_up(0, u64::MAX) else { return Ok(false) };
    Ok(parent
        .packs
        .iter()
        .all(|pack| sizes.get(pack.name.as_str()) == Some(&pack.size) && !given_up.contains(pack.name.as_str())))
}

/// Reads every tree of the parent: what a new snapshot inherits must be there.
async fn verified_tree(repository: &Repository, parent: &Snapshot) -> Option<SnapshotTree> {
    let tree = repository.tree(parent).await.ok()?;
    let mut waiting = vec![tree.root()];
    while let Some(hash) = waiting.pop() {
        for entry in tree.tree(&hash).await.ok()?.entries() {
            match entry.kind {
                EntryKind::Tree | EntryKind::Sub => waiting.push(entry.hash),
                EntryKind::Parts(list) => {
                    let segments = super::segments::SegmentList::parse(&tree.blob(&list).await.ok()?)?;
                    segments.iter().all(|(hash, _)| tree.reader().contains(MemberKind::Object, hash)).then_some(())?;
                }
                EntryKind::Blob | EntryKind::Exec | EntryKind::Link => {
                    tree.reader().contains(MemberKind::Object, &entry.hash).then_some(())?;
                }
            }
        }
    }
    Some(tree)
}
