//! What can go wrong while a cluster is seeded.

use std::io;
use std::path::PathBuf;

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
    /// A request did not get an answer.
    #[error("cannot {method} `{url}`")]
    Request {
        /// The HTTP method.
        method: http::Method,
        /// The path and query.
        url: String,
        /// What the client said.
        #[source]
        source: Box<kube::Error>,
    },
    /// A request could not even be made.
    #[error("`{url}` is no URL that can be asked for")]
    Url {
        /// The path and query.
        url: String,
        /// What the HTTP library said.
        #[source]
        source: http::Error,
    },
    /// The API server refused what it should take.
    #[error("{method} `{url}` was answered with {status}: {message}")]
    Refused {
        /// The HTTP method.
        method: http::Method,
        /// The path and query.
        url: String,
        /// The HTTP status code.
        status: u16,
        /// The API server's own words.
        message: String,
    },
    /// Something did not come about in time.
    #[error("{what} after {seconds} s")]
    Timeout {
        /// What was still missing.
        what: String,
        /// How long was waited.
        seconds: u64,
    },
}
