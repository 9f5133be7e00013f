//! What can go wrong while a cluster is seeded.

use std::io;
use std::path::PathBuf;

use crate::api::ApiError;

/// Why a cluster could not be seeded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SeedError {
    /// The list of CRD files, or a file of it, cannot be read.
    #[error("cannot read `{}`; scripts/toolchain writes the list of CRD files and fetches them", path.display())]
    CrdList {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A CRD file is not what it should be.
    #[error("`{}` holds no CRD that can be loaded: {reason}", path.display())]
    CrdFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The API server refused a request or did not answer.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// Something did not come about in time.
    #[error("{what} after {seconds} s")]
    Timeout {
        /// What was still missing.
        what: String,
        /// How long was waited.
        seconds: u64,
    },
}
