//! Where a repository's files lie: the one trait behind which a folder, S3 or memory stands.
//!
//! In: names relative to the repository, such as `log/00000000000000000042.json`. Out: bytes, listings, typed errors.
//! Invariants (every backend runs the same conformance suite): a file appears whole or not at all; `create` never
//! replaces; once `create` returns `Ok` the file survives a crash (I1, I2); a listing shows what was created before.

mod local;
mod memory;
mod repository_place;
mod s3;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use async_trait::async_trait;

pub use local::LocalBackend;
pub(crate) use local::sweep_spool;
pub use memory::MemoryBackend;
pub use repository_place::RepositoryPlace;
pub use s3::{S3Backend, S3Keys, S3Options, S3Place, S3PlaceError};

/// One file in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFile {
    /// Name relative to the repository, with `/` between folders.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// When it was created, by the store's own clock.
    pub created: SystemTime,
}

/// What to store.
#[derive(Clone, Copy, Debug)]
pub enum Content<'a> {
    /// Bytes in memory.
    Bytes(&'a [u8]),
    /// A finished local file, for what is too big to hold in memory.
    File(&'a Path),
}

/// A storage operation that failed, by its meaning for the caller.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// `create` found a file under that name; nothing was changed.
    #[error("`{name}` exists already")]
    Exists {
        /// Name relative to the repository.
        name: String,
    },
    /// No file under that name.
    #[error("`{name}` is not there")]
    NotFound {
        /// Name relative to the repository.
        name: String,
    },
    /// The medium is full.
    #[error("no space left to write `{name}`")]
    Full {
        /// Name relative to the repository.
        name: String,
    },
    /// The medium cannot keep the promises of a repository.
    #[error("`{place}` cannot hold a repository: {reason}")]
    Unsuitable {
        /// The folder or bucket.
        place: String,
        /// What it lacks.
        reason: String,
    },
    /// A server said no, for good.
    #[error("cannot {operation} `{name}`: the server answers {status}{}{}", before(" ", code), before(": ", message))]
    Refused {
        /// `create`, `read`, `list` or `delete`.
        operation: &'static str,
        /// Name relative to the repository.
        name: String,
        /// HTTP status.
        status: u16,
        /// S3's code, such as `AccessDenied`; empty where the answer has none.
        code: String,
        /// What it says beside it.
        message: String,
    },
    /// No keys were found to sign a request with.
    #[error("cannot {operation} `{name}`: there are no credentials for the bucket")]
    NoCredentials {
        /// `create`, `read`, `list` or `delete`.
        operation: &'static str,
        /// Name relative to the repository.
        name: String,
        /// Where they were looked for.
        #[source]
        source: Unanswered,
    },
    /// A server gave no answer, however often it was asked. Whether a `create` took effect is not known.
    #[error("cannot {operation} `{name}`: the server does not answer")]
    Unreachable {
        /// `create`, `read`, `list` or `delete`.
        operation: &'static str,
        /// Name relative to the repository.
        name: String,
        /// What was seen instead.
        #[source]
        source: Unanswered,
    },
    /// Anything else. Whether a `create` took effect is not known.
    #[error("cannot {operation} `{name}`")]
    Failed {
        /// `create`, `read`, `list` or `delete`.
        operation: &'static str,
        /// Name relative to the repository.
        name: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// What was seen in place of an answer.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unanswered(pub String);

fn before(separator: &str, text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{separator}{text}") }
}

/// A place for a repository's files.
#[async_trait]
pub trait Backend: Send + Sync + std::fmt::Debug {
    /// How a person names this place, for messages.
    fn place(&self) -> String;

    /// Proves that the medium can create without replacing, and says how it does it. Run once, at `init`.
    async fn probe(&self) -> Result<String, BackendError>;

    /// A private folder on this machine for packs that are not finished; `None` when they stay in memory.
    fn spool_folder(&self) -> Option<PathBuf>;

    /// Creates a file under a name that must not exist yet. `Ok` means durable.
    async fn create(&self, name: &str, content: Content<'_>) -> Result<(), BackendError>;

    /// Reads a whole file.
    async fn read(&self, name: &str) -> Result<Vec<u8>, BackendError>;

    /// Reads `length` bytes from `offset` on; fewer only when the file ends before.
    async fn read_range(&self, name: &str, offset: u64, length: u64) -> Result<Vec<u8>, BackendError>;

    /// Lists every file whose name begins with `prefix` (a folder with its `/`, or empty), sorted by name. A folder
    /// that is not there is empty.
    async fn list(&self, prefix: &str) -> Result<Vec<StoredFile>, BackendError>;

    /// Makes a file durable that was seen after a `create` with an unclear outcome.
    async fn make_durable(&self, name: &str) -> Result<(), BackendError>;

    /// Deletes a file; one that is not there is no error.
    async fn delete(&self, name: &str) -> Result<(), BackendError>;
}
