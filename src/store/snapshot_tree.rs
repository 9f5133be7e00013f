//! Reading a snapshot: from its root down, every byte checked against its hash.

use bytes::Bytes;

use super::error::StoreError;
use super::hash::ContentHash;
use super::tree::{Tree, TreeEntry};

/// A snapshot's content, or that of a capture that was never committed. Cheap to clone. Paths are encoded names
/// joined by `/`, with no `/` in front; the empty path is the root.
#[derive(Clone, Debug)]
pub struct SnapshotTree {}

impl SnapshotTree {
    /// The root tree's hash; equal roots mean equal snapshots.
    pub fn root(&self) -> ContentHash {
        todo!()
    }
    /// Reads one stored tree as it is, `sub` entries included: what a comparison needs to skip equal parts.
    pub async fn tree(&self, _hash: &ContentHash) -> Result<Tree, StoreError> {
        todo!()
    }
    /// A folder's entries with its `sub` trees merged in, sorted by name; `None` when there is no such folder.
    pub async fn folder(&self, _path: &str) -> Result<Option<Vec<TreeEntry>>, StoreError> {
        todo!()
    }
    /// The entry at a path (not the root).
    pub async fn entry(&self, _path: &str) -> Result<Option<TreeEntry>, StoreError> {
        todo!()
    }
    /// A blob's content.
    pub async fn blob(&self, _hash: &ContentHash) -> Result<Bytes, StoreError> {
        todo!()
    }
    /// The content of the file at a path (not for `Parts`).
    pub async fn read(&self, _path: &str) -> Result<Option<Bytes>, StoreError> {
        todo!()
    }
    /// Writes a file of any size (`Parts` included) to `out`, segment by segment, checking the hash of the whole.
    pub async fn copy_file<W>(&self, _entry: &TreeEntry, _out: &mut W) -> Result<(), StoreError>
    where
        W: tokio::io::AsyncWrite + Unpin + Send,
    {
        todo!()
    }
    /// Every file at or below a path, as (path, entry), in path order, a folder at a time (bounded memory).
    pub fn walk(&self, _path: &str) -> futures::stream::BoxStream<'_, Result<(String, TreeEntry), StoreError>> {
        todo!()
    }
}
