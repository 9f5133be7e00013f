//! Everything that can go wrong with a repository, as facts.

use super::backend::BackendError;
use super::hash::ContentHash;
use super::tree::TreeError;

/// A repository operation that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store below failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// There is no repository at that place.
    #[error("there is no repository at `{place}`")]
    Missing {
        /// The folder or bucket.
        place: String,
    },
    /// `init` was interrupted there: `repo.json` exists, but the log has no entry 0.
    #[error("the repository at `{place}` is half-written: its log has no entry 0")]
    HalfWritten {
        /// The folder or bucket.
        place: String,
    },
    /// It was written by a later program.
    #[error("`{file}` has format {found}, and this program reads format {known}")]
    NewerFormat {
        /// The file that says so.
        file: String,
        /// The format it has.
        found: u64,
        /// The format this program knows.
        known: u32,
    },
    /// Something is there, but it is not a repository.
    #[error("`{place}` is not a repository: {reason}")]
    NotARepository {
        /// The folder or bucket.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// `init` needs an empty place.
    #[error("`{place}` is not empty: it holds `{name}`")]
    NotEmpty {
        /// The folder or bucket.
        place: String,
        /// One of the files there.
        name: String,
    },
    /// A file of the repository is not what was written.
    #[error("`{file}` is damaged: {what}")]
    Damaged {
        /// Name relative to the repository.
        file: String,
        /// What was found.
        what: String,
    },
    /// A log entry needs a later program; reading goes on, writing does not.
    #[error("log entry {number} needs a later program: {what}; nothing is written")]
    NewerEntry {
        /// Its number.
        number: u64,
        /// What is unknown about it.
        what: String,
    },
    /// No readable pack of the snapshot holds a content that it refers to.
    #[error("no pack of the snapshot holds the content {hash}")]
    ContentMissing {
        /// The content's SHA-256.
        hash: ContentHash,
    },
    /// A tree is not what this program writes.
    #[error("the tree {hash} cannot be read")]
    BadTree {
        /// Its SHA-256.
        hash: ContentHash,
        /// What is wrong with it.
        #[source]
        source: TreeError,
    },
    /// A path that cannot be in a snapshot.
    #[error("`{path}` cannot be a path in a snapshot: {reason}")]
    BadPath {
        /// The path.
        path: String,
        /// Why.
        reason: &'static str,
    },
    /// A file of several segments was asked for as one piece.
    #[error("`{path}` is too big to be read in one piece")]
    TooBig {
        /// Its path.
        path: String,
    },
    /// What the new snapshot builds on is about to be deleted or is damaged: capture again, in full.
    #[error("the snapshot cannot build on `{pack}`: {reason}; it must be written in full")]
    MustBeFull {
        /// The pack.
        pack: String,
        /// Why it is not to be relied on.
        reason: &'static str,
    },
    /// Other writers were faster, again and again.
    #[error("other writers took every log entry up to {number}; nothing was committed")]
    Contended {
        /// The last number tried.
        number: u64,
    },
    /// The store would not say whether the log entry was written.
    #[error("it is not known whether log entry {number} was written")]
    Unclear {
        /// Its number.
        number: u64,
        /// What the store said last.
        #[source]
        source: BackendError,
    },
    /// The log does not hold what this machine saw in it earlier.
    #[error("log entry {number} is not the one that this machine saw: {what}")]
    HeadLost {
        /// The remembered entry's number.
        number: u64,
        /// What is there instead.
        what: String,
    },
    /// A file or stream on this machine failed.
    #[error("cannot {operation}")]
    Local {
        /// What was tried.
        operation: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl StoreError {
    /// A failure on this machine; a full disk is one thing wherever it is met.
    pub(crate) fn local(operation: &'static str, source: std::io::Error) -> Self {
        match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                Self::Backend(BackendError::Full { name: "tmp/".to_owned() })
            }
            _ => Self::Local { operation, source },
        }
    }
}
