//! What stops a transaction in the middle. It is not over then: whoever runs it again goes on with it.

use crate::journal::{Held, JournalError, SnapshotName, TransactionId};
use crate::restore::quiesce::QuiesceError;
use crate::restore::{RestoreError, UnknownScope};
use crate::snapshot::CaptureError;
use crate::store::StoreError;

/// A transaction that could not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RollbackError {
    /// Its journal cannot be written or relied on.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The cluster or a snapshot cannot be read, or the cluster not be written.
    #[error(transparent)]
    Restore(RestoreError),
    /// What fights cannot be looked at.
    #[error(transparent)]
    Quiesce(QuiesceError),
    /// The scope in its journal is none that this program knows.
    #[error(transparent)]
    Scope(#[from] UnknownScope),
    /// A snapshot that it needs is not in the repository.
    #[error("transaction {transaction} needs snapshot {snapshot}, which the repository does not have")]
    SnapshotMissing {
        /// The transaction.
        transaction: TransactionId,
        /// The snapshot.
        snapshot: SnapshotName,
    },
    /// Nothing may be stopped before there is a snapshot of now.
    #[error("transaction {transaction} has no snapshot of now yet")]
    NotSaved {
        /// The transaction.
        transaction: TransactionId,
    },
    /// What was stopped could not be put back; everything else was.
    #[error("{} could not be put back", names(items))]
    Stuck {
        /// What, each with the reason.
        items: Vec<(Held, String)>,
    },
    /// A type could be brought neither to its wanted storage version nor back; everything else was put back.
    #[error("`{crd}` is half-way to another storage version and could be brought neither there nor back: {problem}")]
    HalfWay {
        /// The CRD.
        crd: String,
        /// What was in the way.
        problem: String,
    },
}

fn names(items: &[(Held, String)]) -> String {
    items.iter().map(|(item, reason)| format!("{item} ({reason})")).collect::<Vec<_>>().join(", ")
}

impl From<RestoreError> for RollbackError {
    fn from(error: RestoreError) -> Self {
        match error {
            RestoreError::Journal(error) => Self::Journal(error),
            other => Self::Restore(other),
        }
    }
}

impl From<StoreError> for RollbackError {
    fn from(error: StoreError) -> Self {
        Self::Restore(error.into())
    }
}

impl From<CaptureError> for RollbackError {
    fn from(error: CaptureError) -> Self {
        Self::Restore(error.into())
    }
}
