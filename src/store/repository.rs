//! A repository: made, opened, read and appended to.
//!
//! In: a backend. Out: the history, snapshots' trees, writers, committed snapshots.
//! Invariants: opening never makes or repairs anything; a repository of a later format is not touched.

use std::sync::Arc;

use super::backend::{Backend, BackendError};
use super::commit;
use super::copy::{Copied, copy};
use super::error::StoreError;
use super::hash::ContentHash;
use super::history::{Head, History, Snapshot};
use super::init::{REPO_FILE, RepoFile, init};
use super::log_entry::entry_name;
use super::pack::{BlobReader, PackIndex};
use super::parent::{Wanted, begin};
use super::read_log::read_log;
use super::snapshot_body::SnapshotBody;
use super::snapshot_tree::SnapshotTree;
use super::snapshot_writer::{SnapshotWriter, WrittenSnapshot};

/// An open repository. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Repository {
    backend: Arc<dyn Backend>,
    id: Arc<str>,
}

impl Repository {
    /// Makes a repository at a place that holds none.
    pub async fn init(backend: Arc<dyn Backend>) -> Result<Self, StoreError> {
        let id = init(&*backend).await?.into();
        Ok(Self { backend, id })
    }

    /// Opens an existing repository; never makes one.
    pub async fn open(backend: Arc<dyn Backend>) -> Result<Self, StoreError> {
        let place = backend.place();
        let bytes = match backend.read(REPO_FILE).await {
            Ok(bytes) => bytes,
            Err(BackendError::NotFound { .. }) => {
                let mut there = backend.list("").await?.into_iter();
                return Err(match there.find(|file| !super::init::is_harmless(&file.name)) {
                    None => StoreError::Missing { place },
                    Some(file) => {
                        let reason = format!("it holds `{}`, but no `{REPO_FILE}`", file.name);
                        StoreError::NotARepository { place, reason }
                    }
                });
            }
            Err(error) => return Err(error.into()),
        };
        let file = RepoFile::parse(&bytes)?;
        match backend.read_range(&entry_name(0), 0, 1).await {
            Ok(_) => {}
            Err(BackendError::NotFound { .. }) if backend.list("log/").await?.is_empty() => {
                return Err(StoreError::HalfWritten { place });
            }
            // Damage: whatever is whole stays readable.
            Err(BackendError::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Self { backend, id: file.id.into() })
    }

    /// The same without looking at `repo.json`, for who wants to know what is damaged.
    pub(crate) fn over(backend: Arc<dyn Backend>) -> Self {
        Self { backend, id: "".into() }
    }

    /// Reads a log wherever it is.
    pub(crate) async fn read_history(backend: &dyn Backend) -> Result<History, StoreError> {
        read_log(backend).await
    }

    /// A file that may lie in a repository's folder.
    pub(crate) fn is_harmless(name: &str) -> bool {
        super::init::is_harmless(name)
    }

    /// The random id given at `init`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How a person names its place.
    pub fn place(&self) -> String {
        self.backend.place()
    }

    /// Where its files lie.
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    /// Reads the whole log and checks its chain. Damage is in [`History::problems`]; what is whole stays readable.
    pub async fn history(&self) -> Result<History, StoreError> {
        read_log(&*self.backend).await
    }

    /// The same, checked against the head that this machine remembers.
    ///
    /// # Errors
    /// `HeadLost`: the log's tail was taken away, or the log is another one.
    pub async fn history_since(&self, remembered: Option<&Head>) -> Result<History, StoreError> {
        let history = self.history().await?;
        if let Some(head) = remembered {
            history.check_remembered(head)?;
        }
        Ok(history)
    }

    /// A committed snapshot's content.
    pub async fn tree(&self, snapshot: &Snapshot) -> Result<SnapshotTree, StoreError> {
        let index = PackIndex::load(&self.backend, &snapshot.packs).await?;
        Ok(SnapshotTree::new(snapshot.body.root, BlobReader::new(vec![Arc::new(index)])))
    }

    /// Begins a snapshot of a series: chooses the parent, or decides to write in full.
    pub async fn begin(&self, series: ContentHash) -> Result<SnapshotWriter, StoreError> {
        begin(self, Wanted::Incremental(series)).await
    }

    /// Begins a snapshot that depends on nothing: what [`StoreError::MustBeFull`] asks for.
    pub async fn begin_full(&self) -> Result<SnapshotWriter, StoreError> {
        begin(self, Wanted::Full).await
    }

    /// Puts a snapshot of this repository into another one that does not have it, with the same id.
    ///
    /// # Errors
    /// `Damaged`: a pack here is not what it was, or is missing; one of the repositories fails. What was sent lies there
    /// unnamed, as after a backup that failed.
    pub async fn copy_to(&self, snapshot: &Snapshot, other: &Self) -> Result<Copied, StoreError> {
        copy(&*self.backend, &*other.backend, snapshot).await
    }

    /// Commits a written snapshot: `body.root` and `body.bytes` are filled in here. `Ok` means durable (I2).
    ///
    /// # Errors
    /// `MustBeFull`: what it builds on was given up meanwhile; capture again once with [`Self::begin_full`].
    pub async fn commit(&self, written: WrittenSnapshot, body: SnapshotBody) -> Result<Snapshot, StoreError> {
        commit::commit(&*self.backend, written, body).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only compiled: whoever calls these must be able to do so in a task of its own.
    #[expect(dead_code)]
    fn every_future_can_be_spawned(
        repository: &'static Repository,
        snapshot: &'static Snapshot,
        tree: &'static SnapshotTree,
        entry: &'static crate::store::TreeEntry,
        options: &'static crate::maintain::verify::VerifyOptions,
    ) {
        fn spawnable<F: Future + Send + 'static>(_: F) {}
        spawnable(repository.begin(snapshot.id));
        spawnable(repository.begin_full());
        spawnable(repository.history());
        spawnable(repository.tree(snapshot));
        spawnable(async move { tree.copy_file(entry, &mut Vec::new()).await });
        spawnable(async move {
            let mut writer = repository.begin(snapshot.id).await?;
            writer.put_stream("a", [0_u8].as_slice()).await?;
            repository.commit(writer.finish().await?, snapshot.body.clone()).await
        });
        let backend = Arc::clone(repository.backend());
        spawnable(crate::maintain::verify::verify(backend, options, &crate::progress::Silent));
        spawnable(async move { futures::StreamExt::next(&mut tree.walk("")).await });
    }
}
