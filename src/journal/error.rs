//! Everything that can go wrong with a journal, as facts.

use std::fmt;
use std::path::PathBuf;

use super::mirror::mirror_folder;
use super::record::RecordError;
use super::transaction_id::TransactionId;
use super::transition::IllegalEvent;
use crate::store::backend::BackendError;

/// Where a copy of a journal lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A file on this machine.
    Local(PathBuf),
    /// A file or folder in the repository.
    Repository(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => path.display().fmt(f),
            Self::Repository(name) => f.write_str(name),
        }
    }
}

impl JournalError {
    /// A damaged copy, of which nobody has seen the other one yet.
    pub(super) fn unreliable(transaction: &TransactionId, place: Place, source: RecordError) -> Self {
        let (transaction, source) = (transaction.clone(), Box::new(source));
        Self::Unreliable { transaction, place, other_is_whole: false, source }
    }

    /// Of a damaged copy on this machine: what the one in the repository makes of it.
    pub(super) fn beside_the_repository(self, other_is_whole: bool) -> Self {
        match self {
            Self::Unreliable { transaction, place: Place::Local(local), source, .. } if !other_is_whole => {
                let mirror = mirror_folder(&transaction);
                Self::Lost { transaction, local, mirror, source }
            }
            Self::Unreliable { transaction, place, source, .. } => {
                Self::Unreliable { transaction, place, other_is_whole, source }
            }
            other => other,
        }
    }
}

/// A journal operation that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// A copy of a journal cannot be relied on, and the other one is not there, or not enough to do without.
    #[error("the journal `{place}` cannot be relied on")]
    Unreliable {
        /// The transaction.
        transaction: TransactionId,
        /// Which copy.
        place: Place,
        /// The other copy is whole, as far as it goes: it does not say that the transaction has ended.
        other_is_whole: bool,
        /// Which record, and why.
        #[source]
        source: Box<RecordError>,
    },
    /// Neither copy can be relied on, nor both together.
    #[error("neither copy of a journal can be relied on: `{local}` and `{mirror}`")]
    Lost {
        /// The transaction.
        transaction: TransactionId,
        /// The copy on this machine.
        local: PathBuf,
        /// The other one's folder in the repository.
        mirror: String,
        /// What is wrong with the one on this machine.
        #[source]
        source: Box<RecordError>,
    },
    /// The two copies go different ways from a record on.
    #[error("the copies of transaction {transaction} differ from record {number} on: `{local}` and `{mirror}`")]
    Conflict {
        /// The transaction.
        transaction: TransactionId,
        /// The first record that differs.
        number: u64,
        /// The copy on this machine.
        local: PathBuf,
        /// The other one's file in the repository.
        mirror: String,
    },
    /// Somebody else continued this transaction. Nothing more is written.
    #[error("somebody else continued transaction {transaction}: `{mirror}` is another record {number}")]
    Taken {
        /// The transaction.
        transaction: TransactionId,
        /// The record that is theirs.
        number: u64,
        /// Its file in the repository.
        mirror: String,
    },
    /// Another process on this machine works on this transaction.
    #[error("another process holds `{path}`")]
    Busy {
        /// The local file.
        path: PathBuf,
    },
    /// There is no such transaction.
    #[error("there is no transaction {transaction}")]
    Missing {
        /// The transaction.
        transaction: TransactionId,
    },
    /// There is such a transaction already.
    #[error("transaction {transaction} has begun already")]
    Begun {
        /// The transaction.
        transaction: TransactionId,
    },
    /// It is over, so that nobody can go on with it.
    #[error("transaction {transaction} has ended")]
    Ended {
        /// The transaction.
        transaction: TransactionId,
    },
    /// The event cannot follow. Nothing was written.
    #[error("the journal of transaction {transaction} does not take an event")]
    Illegal {
        /// The transaction.
        transaction: TransactionId,
        /// Why.
        #[source]
        source: IllegalEvent,
    },
    /// An earlier record could not be written, and nobody knows whether it was: only who reads it anew can go on.
    #[error("an earlier record of transaction {transaction} may be written or not; it has to be opened again")]
    Unsure {
        /// The transaction.
        transaction: TransactionId,
    },
    /// A record has no JSON form.
    #[error("a record cannot be written as JSON")]
    Unwritable(#[source] serde_json::Error),
    /// The copy on this machine failed.
    #[error("cannot {operation} `{path}`")]
    Local {
        /// What was tried.
        operation: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The repository failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
}
