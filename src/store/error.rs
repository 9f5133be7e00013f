//! Everything that can go wrong with a repository, as facts.

use super::backend::BackendError;

/// A repository operation that failed.
#[derive(Debug, thiserror::Error)]
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
}
