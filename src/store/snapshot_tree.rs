//! Reading a snapshot: from its root down, every byte checked against its hash.
//!
//! In: a root's hash and the packs that hold what is below it. Out: folders, entries, contents.
//! Invariants: nothing is returned that does not have its hash (I1); `sub` trees never show outside [`SnapshotTree::tree`].

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::stream::BoxStream;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::error::StoreError;
use super::hash::ContentHash;
use super::pack::BlobReader;
use super::segments::SegmentList;
use super::tree::{EntryKind, Tree, TreeEntry};

/// Parsed trees kept: a walk down a path comes by the same ones again.
const CACHED_TREES: usize = 32;

/// A snapshot's content, or that of a capture that was never committed. Cheap to clone. Paths are encoded names
/// joined by `/`, with no `/` in front; the empty path is the root.
#[derive(Clone, Debug)]
pub struct SnapshotTree {
    root: ContentHash,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    reader: BlobReader,
    trees: Mutex<VecDeque<(ContentHash, Arc<Tree>)>>,
}

/// What a step of a walk still has to do.
struct Pending {
    prefix: String,
    entries: std::vec::IntoIter<TreeEntry>,
}

impl SnapshotTree {
    pub(crate) fn new(root: ContentHash, reader: BlobReader) -> Self {
        Self { root, shared: Arc::new(Shared { reader, trees: Mutex::default() }) }
    }

    pub(crate) fn reader(&self) -> &BlobReader {
        &self.shared.reader
    }

    /// The root tree's hash; equal roots mean equal snapshots.
    pub fn root(&self) -> ContentHash {
        self.root
    }

    /// Reads one stored tree as it is, `sub` entries included: what a comparison needs to skip equal parts.
    pub async fn tree(&self, hash: &ContentHash) -> Result<Tree, StoreError> {
        Ok(Tree::clone(&*self.shared_tree(hash).await?))
    }

    async fn shared_tree(&self, hash: &ContentHash) -> Result<Arc<Tree>, StoreError> {
        let lock = || self.shared.trees.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, tree)) = lock().iter().find(|(other, _)| other == hash) {
            return Ok(Arc::clone(tree));
        }
        let bytes = self.shared.reader.read(hash).await?;
        let tree = Tree::parse(&bytes).map_err(|source| StoreError::BadTree { hash: *hash, source })?;
        let tree = Arc::new(tree);
        let mut trees = lock();
        trees.truncate(CACHED_TREES - 1);
        trees.push_front((*hash, Arc::clone(&tree)));
        Ok(tree)
    }

    /// A folder's entries with its `sub` trees merged in, sorted by name; `None` when there is no such folder.
    pub async fn folder(&self, path: &str) -> Result<Option<Vec<TreeEntry>>, StoreError> {
        let hash = match path {
            "" => self.root,
            _ => match self.entry(path).await? {
                Some(TreeEntry { kind: EntryKind::Tree, hash, .. }) => hash,
                _ => return Ok(None),
            },
        };
        self.merged(&hash).await.map(Some)
    }

    async fn merged(&self, hash: &ContentHash) -> Result<Vec<TreeEntry>, StoreError> {
        let mut merged = Vec::new();
        let mut waiting = vec![*hash];
        while let Some(hash) = waiting.pop() {
            for entry in self.shared_tree(&hash).await?.entries() {
                if entry.kind == EntryKind::Sub {
                    waiting.push(entry.hash);
                } else {
                    merged.push(entry.clone());
                }
            }
        }
        merged.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(merged)
    }

    /// The entry at a path (not the root).
    pub async fn entry(&self, path: &str) -> Result<Option<TreeEntry>, StoreError> {
        let mut folder = self.root;
        let mut parts = path.split('/').peekable();
        while let Some(name) = parts.next() {
            let Some(entry) = self.find(&folder, name).await? else { return Ok(None) };
            if parts.peek().is_none() {
                return Ok(Some(entry));
            }
            if entry.kind != EntryKind::Tree {
                return Ok(None);
            }
            folder = entry.hash;
        }
        Ok(None)
    }

    async fn find(&self, folder: &ContentHash, name: &str) -> Result<Option<TreeEntry>, StoreError> {
        let mut tree = self.shared_tree(folder).await?;
        let digits = ContentHash::of(name.as_bytes()).to_string();
        let mut depth = 0;
        loop {
            let split = tree.entries().first().is_some_and(|entry| entry.kind == EntryKind::Sub);
            let wanted = if split { digits.get(depth..=depth).unwrap_or_default() } else { name };
            let at = tree.entries().binary_search_by(|entry| entry.name.as_str().cmp(wanted));
            let found = at.ok().and_then(|at| tree.entries().get(at)).cloned();
            match found {
                Some(sub) if split => {
                    tree = self.shared_tree(&sub.hash).await?;
                    depth += 1;
                }
                found => return Ok(found),
            }
        }
    }

    /// A blob's content.
    pub async fn blob(&self, hash: &ContentHash) -> Result<Bytes, StoreError> {
        self.shared.reader.read(hash).await
    }

    /// How large a blob really is, whatever the tree says of it; `None` when no pack holds it.
    pub fn blob_size(&self, hash: &ContentHash) -> Option<u64> {
        self.shared.reader.size(hash)
    }

    /// The content of the file at a path (not for `Parts`).
    pub async fn read(&self, path: &str) -> Result<Option<Bytes>, StoreError> {
        match self.entry(path).await? {
            None => Ok(None),
            Some(TreeEntry { kind: EntryKind::Tree | EntryKind::Sub, .. }) => Ok(None),
            Some(TreeEntry { kind: EntryKind::Parts(_), .. }) => Err(StoreError::TooBig { path: path.to_owned() }),
            Some(entry) => self.blob(&entry.hash).await.map(Some),
        }
    }

    /// Writes a file of any size (`Parts` included) to `out`, segment by segment, checking the hash of the whole.
    pub async fn copy_file<W>(&self, entry: &TreeEntry, out: &mut W) -> Result<(), StoreError>
    where
        W: AsyncWrite + Unpin + Send,
    {
        let failed = |source| StoreError::local("write the file", source);
        let segments = match entry.kind {
            EntryKind::Parts(list) => {
                let segments = SegmentList::parse(&self.blob(&list).await?);
                segments.ok_or_else(|| StoreError::Damaged {
                    file: entry.name.clone(),
                    what: "its list of segments is malformed".to_owned(),
                })?
            }
            _ => SegmentList::of_one(entry.hash, entry.size),
        };
        let mut whole = Sha256::new();
        for (hash, _) in segments.iter() {
            let bytes = self.blob(hash).await?;
            whole.update(&bytes);
            out.write_all(&bytes).await.map_err(failed)?;
        }
        out.flush().await.map_err(failed)?;
        if ContentHash::from_hasher(whole) == entry.hash {
            Ok(())
        } else {
            let what = format!("its segments together do not have the SHA-256 {}", entry.hash);
            Err(StoreError::Damaged { file: entry.name.clone(), what })
        }
    }

    /// Every file at or below a path, as (path, entry), in path order, a folder at a time (bounded memory).
    pub fn walk(&self, path: &str) -> BoxStream<'_, Result<(String, TreeEntry), StoreError>> {
        let start = path.to_owned();
        Box::pin(futures::stream::try_unfold(
            (Some(start), Vec::<Pending>::new()),
            move |(start, mut stack)| async move {
                if let Some(path) = start {
                    match self.folder(&path).await? {
                        Some(entries) => stack.push(Pending { prefix: path, entries: entries.into_iter() }),
                        None => match self.entry(&path).await? {
                            Some(entry) => return Ok(Some(((path, entry), (None, stack)))),
                            None => return Ok(None),
                        },
                    }
                }
                while let Some(top) = stack.last_mut() {
                    let Some(entry) = top.entries.next() else {
                        stack.pop();
                        continue;
                    };
                    let path = if top.prefix.is_empty() {
                        entry.name.clone()
                    } else {
                        format!("{}/{}", top.prefix, entry.name)
                    };
                    if entry.kind != EntryKind::Tree {
                        return Ok(Some(((path, entry), (None, stack))));
                    }
                    let entries = self.merged(&entry.hash).await?.into_iter();
                    stack.push(Pending { prefix: path, entries });
                }
                Ok(None)
            },
        ))
    }
}
