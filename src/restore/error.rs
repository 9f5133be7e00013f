//! What stops a whole restore. What fails for one object is part of the result instead.

use crate::cluster::ClusterError;
use crate::journal::JournalError;
use crate::snapshot::{CaptureError, SelectionError, TYPES_PATH};
use crate::store::StoreError;

/// A restore that could not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The cluster cannot be read or written.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// What is about to be done cannot be written down, so it was not done.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A snapshot cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The selection names what there is not.
    #[error(transparent)]
    Selection(#[from] SelectionError),
    /// The proof's own capture failed.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// The list of a snapshot's types is not one.
    #[error("`{TYPES_PATH}` of the snapshot cannot be read")]
    Types(#[source] serde_json::Error),
    /// A file of a snapshot is no Kubernetes object.
    #[error("`{path}` is not a Kubernetes object: {problem}")]
    NotAnObject {
        /// Path inside the snapshot.
        path: String,
        /// Where it went wrong, without any content.
        problem: String,
    },
    /// An object lies at a path that is not its own: it would be written to a place that it does not name.
    #[error("`{path}` holds {found}, which does not belong there")]
    Misplaced {
        /// Path inside the snapshot.
        path: String,
        /// What the object says that it is.
        found: String,
    },
    /// A file that the plan names is not in the snapshot.
    #[error("`{path}` is in the plan but not in the snapshot")]
    Missing {
        /// Path inside the snapshot.
        path: String,
    },
    /// There is no rule of that name.
    #[error("the never-list has no rule `{name}`")]
    UnknownRule {
        /// As it was given.
        name: String,
    },
}
