//! Writing a snapshot: blobs that the parent lacks go into new packs, the tree is built beside.

use bytes::Bytes;

use super::error::StoreError;
use super::hash::ContentHash;
use super::snapshot_tree::SnapshotTree;
use super::tree::{EntryKind, TreeEntry};

/// A content with its hash, so that hashing can be done where there is a core free.
#[derive(Clone, Debug)]
pub struct Blob {
    bytes: Bytes,
    hash: ContentHash,
}

impl Blob {
    /// Hashes the bytes.
    pub fn new(bytes: Bytes) -> Self {
        let hash = ContentHash::of(&bytes);
        Self { bytes, hash }
    }
    /// The content.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
    /// Its SHA-256.
    pub fn hash(&self) -> ContentHash {
        self.hash
    }
}

/// Which compressed frame a blob may share. A compressed size is a hint of the content beside it, so Secrets of
/// different namespaces never share one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum FrameGroup {
    /// Shares a frame with every other ordinary blob.
    #[default]
    Shared,
    /// Shares a frame only with blobs of the same name.
    Apart(String),
}

/// A snapshot being written. Dropping it commits nothing.
#[derive(Debug)]
pub struct SnapshotWriter {}

/// A snapshot whose packs and trees are stored, but which no log entry names yet.
#[derive(Debug)]
pub struct WrittenSnapshot {}

impl SnapshotWriter {
    /// A capture that is compared and thrown away: new blobs stay compressed in memory, nothing is ever written.
    /// What equals `base` at the same path is not kept a second time.
    pub fn scratch(_base: Option<SnapshotTree>) -> Self {
        todo!()
    }
    /// The snapshot that this one is compared with, if any.
    pub fn parent(&self) -> Option<&SnapshotTree> {
        todo!()
    }
    /// Adds a file. A path given twice is an error.
    pub async fn put(&mut self, _path: &str, _blob: Blob, _group: FrameGroup) -> Result<(), StoreError> {
        todo!()
    }
    /// Adds a file of another kind than `Blob`: `Exec`, or `Link` with the target as content.
    pub async fn put_as(
        &mut self,
        _path: &str,
        _kind: EntryKind,
        _blob: Blob,
        _group: FrameGroup,
    ) -> Result<(), StoreError> {
        todo!()
    }
    /// Adds a big file from a stream, in 64 MiB segments, never held in memory whole.
    pub async fn put_stream<R>(&mut self, _path: &str, _content: R) -> Result<TreeEntry, StoreError>
    where
        R: tokio::io::AsyncRead + Unpin + Send,
    {
        todo!()
    }
    /// Forgets every entry at or below a folder, so that its capture can begin anew. Blobs already packed are used
    /// again when the same content returns.
    pub fn discard(&mut self, _folder: &str) {
        todo!()
    }
    /// Builds the trees, stores the last packs.
    pub async fn finish(self) -> Result<WrittenSnapshot, StoreError> {
        todo!()
    }
}

impl WrittenSnapshot {
    /// The content, readable before (and without) a commit.
    pub fn tree(&self) -> SnapshotTree {
        todo!()
    }
    /// Bytes of the new packs, as stored.
    pub fn new_bytes(&self) -> u64 {
        todo!()
    }
    /// Bytes of all content below the root.
    pub fn total_bytes(&self) -> u64 {
        todo!()
    }
}
