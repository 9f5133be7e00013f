//! A repository: made, opened, read and appended to.

use std::sync::Arc;

use super::backend::Backend;
use super::error::StoreError;
use super::hash::ContentHash;
use super::history::{History, Snapshot};
use super::snapshot_body::SnapshotBody;
use super::snapshot_tree::SnapshotTree;
use super::snapshot_writer::{SnapshotWriter, WrittenSnapshot};

/// An open repository. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Repository {}

impl Repository {
    /// Makes a repository at a place that holds none.
    pub async fn init(_backend: Arc<dyn Backend>) -> Result<Self, StoreError> {
        todo!()
    }
    /// Opens an existing repository; never makes one.
    pub async fn open(_backend: Arc<dyn Backend>) -> Result<Self, StoreError> {
        todo!()
    }
    /// The random id given at `init`.
    pub fn id(&self) -> &str {
        todo!()
    }
    /// How a person names its place.
    pub fn place(&self) -> String {
        todo!()
    }
    /// Reads the whole log and checks its chain.
    pub async fn history(&self) -> Result<History, StoreError> {
        todo!()
    }
    /// A committed snapshot's content.
    pub async fn tree(&self, _snapshot: &Snapshot) -> Result<SnapshotTree, StoreError> {
        todo!()
    }
    /// Begins a snapshot of a series: chooses the parent, or decides to write in full.
    pub async fn begin(&self, _series: ContentHash) -> Result<SnapshotWriter, StoreError> {
        todo!()
    }
    /// Commits a written snapshot: `body.root` and `body.bytes` are filled in here. `Ok` means durable (I2).
    /// A commit check that fails asks for a full: [`StoreError`] says so and the caller captures again once.
    pub async fn commit(&self, _written: WrittenSnapshot, _body: SnapshotBody) -> Result<Snapshot, StoreError> {
        todo!()
    }
}
