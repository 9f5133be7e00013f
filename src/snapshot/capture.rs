//! A cluster at one revision, into a snapshot.

use crate::cluster::{Cluster, ClusterError};
use crate::progress::Progress;
use crate::store::{ContentHash, SnapshotWriter, StoreError};

use super::canonical::CanonicalError;
use super::selection::{Selection, SelectionError};

/// What to capture, and how hard to press.
#[derive(Clone, Debug)]
pub struct CaptureOptions {
    /// Which objects.
    pub selection: Selection,
    /// Events and Leases too.
    pub with_events: bool,
    /// How many types are listed at once.
    pub parallel: usize,
}

/// A type whose objects are missing from the snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnlistableType {
    /// API group; empty for the core group.
    pub group: String,
    /// Plural name.
    pub resource: String,
    /// The verb that was refused, `list`.
    pub verb: String,
    /// HTTP status code, 0 when there was no answer to blame.
    pub status: u16,
    /// The server's words.
    pub reason: String,
}

/// A type that is left out on purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedType {
    /// API group; empty for the core group.
    pub group: String,
    /// Plural name; `*` when another API server answers for the whole group version.
    pub resource: String,
    /// Why.
    pub reason: String,
}

/// What was captured. Complete if `unlistable` is empty.
#[derive(Clone, Debug)]
pub struct ClusterCapture {
    /// The etcd revision of every object.
    pub revision: u64,
    /// UID of the namespace kube-system.
    pub identity: String,
    /// The API server's version.
    pub kubernetes: String,
    /// Objects.
    pub objects: u64,
    /// Types with at least one object.
    pub types: u64,
    /// What is missing.
    pub unlistable: Vec<UnlistableType>,
    /// What is left out on purpose.
    pub skipped: Vec<SkippedType>,
    /// How many revisions it took, 1 when all went well.
    pub attempts: u32,
}

/// A capture that gave nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// The cluster cannot be read.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The snapshot cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The selection names what the cluster does not have.
    #[error(transparent)]
    Selection(#[from] SelectionError),
    /// An object that is not one.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
    /// The cluster never held still.
    #[error("no single revision could be captured in {attempts} attempts: {reason}")]
    NeverStill {
        /// How many revisions were tried.
        attempts: u32,
        /// Why the last one was given up.
        reason: String,
    },
}

/// Lists every selected type at one revision and writes it below `cluster/`.
pub async fn capture_cluster(
    _cluster: &Cluster,
    _options: &CaptureOptions,
    _writer: &mut SnapshotWriter,
    _progress: &dyn Progress,
) -> Result<ClusterCapture, CaptureError> {
    todo!()
}

/// What makes snapshots comparable: the same cluster and the same filters.
pub fn series(identity: &str, selection: &Selection) -> ContentHash {
    ContentHash::of(format!("{identity}\n{}", selection.canonical_text()).as_bytes())
}
