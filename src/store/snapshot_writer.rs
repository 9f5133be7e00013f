//! Writing a snapshot: blobs that the parent lacks go into new packs, the tree is built beside.
//!
//! In: paths with contents, in any order, from any source. Out: stored packs and a root that no log entry names yet.
//! Invariants: a content is in the packs that the snapshot will name, or was in the parent's; nothing is kept of a
//! content but its hash once it is packed, so memory is bounded by the number of paths.

use std::collections::BTreeSet;
use std::io::{Read as _, Seek as _};
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::backend::Backend;
use super::error::StoreError;
use super::hash::ContentHash;
use super::pack::{BlobReader, FrameGroup, MemberKind, PackRef, PackStream, private_file};
use super::segments::{SEGMENT_BYTES, SegmentList};
use super::snapshot_tree::SnapshotTree;
use super::tree::{EntryKind, TreeEntry};
use super::tree_builder::TreeBuilder;

/// Read from a stream at once.
const READ_BYTES: usize = 1 << 20;
/// The frames of trees; no caller's group has this name.
const TREES: &str = "\u{0}trees";
/// The frames of big files' segments.
const SEGMENTS: &str = "\u{0}segments";

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

/// What a snapshot in a repository builds on.
#[derive(Clone, Debug)]
pub(crate) struct Basis {
    /// The newest entry when it began.
    pub(crate) entry: u64,
    /// The parent's number; none for a full.
    pub(crate) parent: Option<u64>,
}

/// A snapshot being written. Dropping it commits nothing.
#[derive(Debug)]
pub struct SnapshotWriter {
    parent: Option<SnapshotTree>,
    basis: Option<Basis>,
    packs: PackStream,
    files: TreeBuilder,
    /// Contents that only a list of segments refers to.
    segments: Vec<ContentHash>,
    /// Lists of segments, until the trees are written.
    lists: Vec<(ContentHash, Vec<u8>)>,
}

/// A snapshot whose packs and trees are stored, but which no log entry names yet.
#[derive(Debug)]
pub struct WrittenSnapshot {
    pub(crate) tree: SnapshotTree,
    pub(crate) basis: Option<Basis>,
    pub(crate) packs: PackStream,
    /// The parent's packs that hold something of it.
    pub(crate) inherited: Vec<PackRef>,
    total_bytes: u64,
    new_bytes: u64,
}

impl SnapshotWriter {
    /// A capture that is compared and thrown away: new blobs stay compressed in memory, nothing is ever written.
    /// What equals `base` at the same path is not kept a second time.
    pub fn scratch(base: Option<SnapshotTree>) -> Self {
        Self::build(base, None, PackStream::scratch())
    }

    pub(crate) fn stored(backend: Arc<dyn Backend>, parent: Option<SnapshotTree>, basis: Basis) -> Self {
        Self::build(parent, Some(basis), PackStream::new(backend))
    }

    fn build(parent: Option<SnapshotTree>, basis: Option<Basis>, packs: PackStream) -> Self {
        let files = TreeBuilder::default();
        Self { parent, basis, packs, files, segments: Vec::new(), lists: Vec::new() }
    }

    /// The snapshot that this one is compared with, if any.
    pub fn parent(&self) -> Option<&SnapshotTree> {
        self.parent.as_ref()
    }

    /// A content that need not be written.
    fn is_known(&self, hash: &ContentHash) -> bool {
        let kind = MemberKind::Object;
        self.packs.contains(kind, hash)
            || self.parent.as_ref().is_some_and(|parent| parent.reader().contains(kind, hash))
    }

    /// Adds a file. A path given twice is an error.
    pub async fn put(&mut self, path: &str, blob: Blob, group: FrameGroup) -> Result<(), StoreError> {
        self.put_as(path, EntryKind::Blob, blob, group).await
    }

    /// Adds a file of another kind than `Blob`: `Exec`, or `Link` with the target as content.
    pub async fn put_as(
        &mut self,
        path: &str,
        kind: EntryKind,
        blob: Blob,
        group: FrameGroup,
    ) -> Result<(), StoreError> {
        self.files.add_blob(path, kind, blob.hash, blob.bytes.len() as u64)?;
        if !self.is_known(&blob.hash) {
            self.packs.add(MemberKind::Object, blob.hash, &blob.bytes, &group).await?;
        }
        Ok(())
    }

    /// Adds a big file from a stream, in 64 MiB segments, never held in memory whole.
    pub async fn put_stream<R>(&mut self, path: &str, mut content: R) -> Result<TreeEntry, StoreError>
    where
        R: AsyncRead + Unpin + Send,
    {
        let mut whole = Sha256::new();
        let mut list = SegmentList::default();
        let mut size = 0;
        loop {
            let segment = self.put_segment(&mut content, &mut whole).await?;
            let Some((hash, length)) = segment else { break };
            size += length;
            list.push(hash, length);
            if length < SEGMENT_BYTES {
                break;
            }
        }
        let bytes = list.to_bytes();
        let (hash, list_hash) = (ContentHash::from_hasher(whole), ContentHash::of(&bytes));
        self.files.add_parts(path, hash, size, list_hash)?;
        self.segments.extend(list.iter().map(|(hash, _)| *hash));
        self.lists.push((list_hash, bytes));
        let name = path.rsplit('/').next().unwrap_or(path).to_owned();
        Ok(TreeEntry { kind: EntryKind::Parts(list_hash), hash, size, name })
    }

    /// Reads one segment aside (its hash, the member's name, is known at its end only) and packs it.
    async fn put_segment<R>(
        &mut self,
        content: &mut R,
        whole: &mut Sha256,
    ) -> Result<Option<(ContentHash, u64)>, StoreError>
    where
        R: AsyncRead + Unpin + Send,
    {
        let read = |source| StoreError::local("read the stream", source);
        let spool = |source| StoreError::local("write a spool file", source);
        let mut aside = match self.packs.spool_folder() {
            Some(folder) => Aside::File(private_file(folder).map_err(spool)?),
            None => Aside::Memory(std::io::Cursor::default()),
        };
        let mut hasher = Sha256::new();
        let mut size = 0;
        let mut buffer = vec![0; READ_BYTES];
        while size < SEGMENT_BYTES {
            let room = usize::try_from(SEGMENT_BYTES - size).unwrap_or(READ_BYTES).min(READ_BYTES);
            let count = content.read(buffer.get_mut(..room).unwrap_or_default()).await.map_err(read)?;
            let bytes = buffer.get(..count).unwrap_or_default();
            if bytes.is_empty() {
                break;
            }
            hasher.update(bytes);
            whole.update(bytes);
            aside.write(bytes).map_err(spool)?;
            size += bytes.len() as u64;
        }
        if size == 0 {
            return Ok(None);
        }
        let hash = ContentHash::from_hasher(hasher);
        if !self.is_known(&hash) {
            let group = FrameGroup::Apart(SEGMENTS.to_owned());
            self.packs.begin_member(MemberKind::Object, hash, size, &group).await?;
            aside.rewind().map_err(spool)?;
            loop {
                let count = aside.read(&mut buffer).map_err(spool)?;
                let bytes = buffer.get(..count).unwrap_or_default();
                if bytes.is_empty() {
                    break;
                }
                self.packs.append(bytes).await?;
            }
            self.packs.end_member().await?;
        }
        Ok(Some((hash, size)))
    }

    /// Forgets every entry at or below a folder, so that its capture can begin anew. Blobs already packed are used
    /// again when the same content returns.
    pub fn discard(&mut self, folder: &str) {
        self.files.discard(folder);
    }

    /// Builds the trees, stores the last packs.
    pub async fn finish(mut self) -> Result<WrittenSnapshot, StoreError> {
        let mut used: BTreeSet<usize> = BTreeSet::new();
        let parents = self.parent.as_ref().map(|parent| parent.reader().layers()).unwrap_or_default();
        let mut inherit =
            |kind, hash: &ContentHash| used.extend(parents.first().and_then(|layer| layer.pack_of(kind, hash)));
        for hash in self.files.contents().chain(self.segments.iter().copied()) {
            if !self.packs.contains(MemberKind::Object, &hash) {
                inherit(MemberKind::Object, &hash);
            }
        }
        let built = self.files.build()?;
        let group = FrameGroup::Apart(TREES.to_owned());
        for (hash, bytes) in self.lists.into_iter().chain(built.trees) {
            let in_parent = parents.iter().any(|layer| layer.contains(MemberKind::Tree, &hash));
            if in_parent {
                inherit(MemberKind::Tree, &hash);
            } else if !self.packs.contains(MemberKind::Tree, &hash) {
                self.packs.add(MemberKind::Tree, hash, &bytes, &group).await?;
            }
        }
        self.packs.flush().await?;
        let new_bytes = self.packs.bytes()?;
        let inherited = parents.first().map(|layer| {
            let named = layer.packs().filter(|(number, _)| used.contains(number));
            named.map(|(_, pack)| pack.clone()).collect()
        });
        let mut layers = vec![Arc::new(self.packs.take_index())];
        layers.extend(parents.iter().cloned());
        Ok(WrittenSnapshot {
            tree: SnapshotTree::new(built.root, BlobReader::new(layers)),
            basis: self.basis,
            packs: self.packs,
            inherited: inherited.unwrap_or_default(),
            total_bytes: built.bytes,
            new_bytes,
        })
    }
}

/// A segment that waits for its hash.
enum Aside {
    File(tempfile::NamedTempFile),
    Memory(std::io::Cursor<Vec<u8>>),
}

impl Aside {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::File(file) => std::io::Write::write_all(file, bytes),
            Self::Memory(memory) => std::io::Write::write_all(memory, bytes),
        }
    }

    fn rewind(&mut self) -> std::io::Result<()> {
        match self {
            Self::File(file) => file.rewind(),
            Self::Memory(memory) => memory.rewind(),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::File(file) => file.read(buffer),
            Self::Memory(memory) => std::io::Read::read(memory, buffer),
        }
    }
}

impl WrittenSnapshot {
    /// The content, readable before (and without) a commit.
    pub fn tree(&self) -> SnapshotTree {
        self.tree.clone()
    }

    /// Bytes of the new packs, as stored (but for the snapshot's own description, which is not known yet).
    pub fn new_bytes(&self) -> u64 {
        self.new_bytes
    }

    /// Bytes of all content below the root.
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }
}
