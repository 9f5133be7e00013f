//! What makes the installer begin again.

use std::io;

/// Why the installer cannot go on. In a real cluster its container would end and be started again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallerError {
    /// The version is none that the stand-in knows.
    #[error("there is no release `{version}` here")]
    UnknownRelease {
        /// As it was given.
        version: String,
    },
    /// The cluster's counter is none that a migration of this release begins at.
    #[error("scripts/migrations/{number} is not in release {version}")]
    NoMigration {
        /// The counter.
        number: String,
        /// The release.
        version: &'static str,
    },
    /// The platform chart fails without this key.
    #[error("the ConfigMap cozy-system/cozystack has no `bundle-name`")]
    NoBundle,
    /// The API server refused a request or did not answer.
    #[error(transparent)]
    Api(#[from] crate::api::ApiError),
    /// The port of the chart repository is taken.
    #[error("cannot listen on 127.0.0.1:{port}")]
    Listen {
        /// The port.
        port: u16,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}
