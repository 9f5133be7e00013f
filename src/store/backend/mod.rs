//! Where a repository's files lie: the one trait behind which a folder, S3 or memory stands.
//!
//! In: names relative to the repository, such as `log/00000000000000000042.json`. Out: bytes, listings, typed errors.
//! Invariants (every backend runs the same conformance suite): a file appears whole or not at all; `create` never
//! replaces; once `create` returns `Ok` the file survives a crash (I1, I2); a listing shows what was created before.

use std::path::Path;
use std::time::SystemTime;

use async_trait::async_trait;

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

/// A place for a repository's files.
#[async_trait]
pub trait Backend: Send + Sync + std::fmt::Debug {
    /// How a person names this place, for messages.
    fn place(&self) -> String;

    /// Creates a file under a name that must not exist yet. `Ok` means durable.
    async fn create(&self, name: &str, content: Content<'_>) -> Result<(), BackendError>;

    /// Reads a whole file.
    async fn read(&self, name: &str) -> Result<Vec<u8>, BackendError>;

    /// Reads `length` bytes from `offset` on; fewer only when the file ends before.
    async fn read_range(&self, name: &str, offset: u64, length: u64) -> Result<Vec<u8>, BackendError>;

    /// Lists every file whose name begins with `prefix` (a folder with its `/`, or empty), sorted by name. A folder
    /// that is not there is empty.
    async fn list(&self, prefix: &str) -> Result<Vec<StoredFile>, BackendError>;

    /// Deletes a file; one that is not there is no error.
    async fn delete(&self, name: &str) -> Result<(), BackendError>;
}
