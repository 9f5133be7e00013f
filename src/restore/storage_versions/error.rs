//! Why the objects of a type could not be brought to another storage version.

use crate::cluster::{ApiError, ClusterError};
use crate::journal::JournalError;
use crate::restore::refuser::Refuser;

use super::step::Step;

/// An object that the API server did not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedObject {
    /// Path inside a snapshot.
    pub path: String,
    /// Who refused it.
    pub by: Refuser,
    /// The server's words.
    pub reason: String,
}

/// A type whose objects are not stored as they should be. Whatever it says, the type can be read unless it is
/// [`StorageError::Unreadable`], and the same run again goes on where this one stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The cluster cannot be read or written.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A step cannot be written down, so it was not taken.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// There is no such CRD.
    #[error("the CRD `{crd}` is gone")]
    Gone {
        /// Its name.
        crd: String,
    },
    /// It is being deleted: a write onto it would leave its objects behind in etcd.
    #[error("the CRD `{crd}` is being deleted")]
    Ending {
        /// Its name.
        crd: String,
    },
    /// Another CRD of this name is there.
    #[error("the CRD `{crd}` was made anew meanwhile")]
    Replaced {
        /// Its name.
        crd: String,
    },
    /// The API server refused a write onto the CRD.
    #[error("the API server refused the CRD `{crd}` ({step:?}): {} {}: {}", .answer.status, .answer.reason, .answer.message)]
    Refused {
        /// Its name.
        crd: String,
        /// The step.
        step: Step,
        /// What it said.
        answer: Box<ApiError>,
    },
    /// An API server still has the CRD as it was.
    #[error("not every API server took the CRD `{crd}` over within {seconds} s: {problem}")]
    NotEverywhere {
        /// Its name.
        crd: String,
        /// How long it was waited for.
        seconds: u64,
        /// What the last one said.
        problem: String,
    },
    /// Objects that cannot be written keep their old storage version, so nothing can be taken off the CRD.
    #[error("{count} objects of `{crd}` could not be written at {version}, first {}: {}", .first.path, .first.reason)]
    ObjectsRefused {
        /// The CRD's name.
        crd: String,
        /// The version.
        version: String,
        /// How many.
        count: u64,
        /// One of them.
        first: RefusedObject,
    },
    /// Objects were stored at another version again and again.
    #[error("objects of `{crd}` are still stored at other versions after {passes} passes over all of them")]
    NeverStill {
        /// The CRD's name.
        crd: String,
        /// How many.
        passes: u32,
    },
    /// Somebody else writes the CRD as often as this does.
    #[error("the CRD `{crd}` is changed by somebody else again and again")]
    Contended {
        /// Its name.
        crd: String,
    },
    /// The type could not be read with the wanted CRD, so the union was put back.
    #[error(
        "with its wanted CRD the objects of `{crd}` could not be read, so the versions it had were put back: {problem}"
    )]
    PutBack {
        /// Its name.
        crd: String,
        /// The server's words.
        problem: String,
    },
    /// It is to be again what it was, and nobody knows what that is.
    #[error("nobody knows what the CRD `{crd}` was before its storage version was moved")]
    NothingEarlier {
        /// Its name.
        crd: String,
    },
    /// Objects are stored at a version of which nothing is known.
    #[error("the objects of `{crd}` cannot be read: {problem}")]
    Unreadable {
        /// The CRD's name.
        crd: String,
        /// The server's words.
        problem: String,
    },
}

impl StorageError {
    /// Who refused a write, when somebody did.
    pub(in crate::restore) fn refuser(&self) -> Option<Refuser> {
        match self {
            Self::ObjectsRefused { first, .. } => Some(first.by.clone()),
            Self::Refused { answer, .. } => Some(Refuser::of(answer)),
            _ => None,
        }
    }
}
