//! What can go wrong with the throwaway servers.

use std::io;
use std::path::PathBuf;

/// Why a throwaway cluster could not be started, asked or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RigError {
    /// A file or folder could not be read or written.
    #[error("cannot {action} `{}`", path.display())]
    File {
        /// What was tried, as a verb: `read`, `write`, `create`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The folder already holds something.
    #[error("`{}` is not empty; take what is there down first: scripts/control-plane down {}", folder.display(), folder.display())]
    FolderInUse {
        /// The folder that was given to `up`.
        folder: PathBuf,
    },
    /// The folder holds no throwaway cluster.
    #[error("`{}` holds no throwaway cluster (it has no rig.json)", folder.display())]
    NotARig {
        /// The folder that was given.
        folder: PathBuf,
    },
    /// The cluster in the folder has no living supervisor.
    #[error("nothing is running in `{}`: its supervisor is gone", folder.display())]
    NotRunning {
        /// The folder that was given.
        folder: PathBuf,
    },
    /// The programs are not there.
    #[error("the toolchain is not complete ({reason}); build it with scripts/toolchain")]
    Toolchain {
        /// What is missing.
        reason: String,
    },
    /// No block of ports was free.
    #[error("no free block of {size} ports on 127.0.0.1 between {first} and {last}")]
    Ports {
        /// Ports in a block.
        size: u16,
        /// Lowest port tried.
        first: u16,
        /// Highest port tried.
        last: u16,
    },
    /// A certificate could not be made.
    #[error("cannot make the certificate of {subject}")]
    Certificate {
        /// Whose certificate.
        subject: String,
        /// What the certificate library said.
        #[source]
        source: rcgen::Error,
    },
    /// A program could not be started.
    #[error("cannot start `{program}`")]
    Spawn {
        /// The program.
        program: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A signal could not be sent.
    #[error("cannot signal {server}")]
    Signal {
        /// The server that should have had it.
        server: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A server ended while it was waited for.
    #[error("{server} ended ({status}) before it was ready; the end of its log:\n{log}")]
    Ended {
        /// The server.
        server: String,
        /// How it ended.
        status: String,
        /// The last lines of its log.
        log: String,
    },
    /// A server did not become ready in time.
    #[error("{server} was not ready after {seconds} s ({last}); the end of its log:\n{log}")]
    Timeout {
        /// The server or condition that was waited for.
        server: String,
        /// How long was waited.
        seconds: u64,
        /// What the last look at it gave.
        last: String,
        /// The last lines of its log.
        log: String,
    },
    /// No such server in this cluster.
    #[error("there is no server `{name}` here; there are: {known}")]
    UnknownServer {
        /// The name that was given.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// No such template.
    #[error("there is no template `{name}`; there are: {known}")]
    UnknownTemplate {
        /// The name that was given.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// A template could not be seeded.
    #[error("cannot seed template `{name}`")]
    Template {
        /// The template.
        name: String,
        /// What went wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A YAML file of the toolchain could not be read.
    #[error("cannot understand `{}`: {reason}", path.display())]
    Yaml {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        reason: String,
    },
    /// The supervisor refused a request or failed at it.
    #[error("{message}")]
    Supervisor {
        /// What the supervisor said.
        message: String,
    },
    /// A JSON text could not be read.
    #[error("cannot understand {what}")]
    Json {
        /// What was read.
        what: String,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// A kubeconfig or a certificate cannot be used.
    #[error("cannot make a client from `{}`: {reason}", config.display())]
    Client {
        /// The kubeconfig, or the folder of certificates.
        config: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A request to the throwaway API server failed.
    #[error("cannot {action}")]
    Api {
        /// What was tried.
        action: String,
        /// What the client said.
        #[source]
        source: Box<kube::Error>,
    },
    /// Flux could not be brought to work.
    #[error("cannot run Flux")]
    Flux(#[from] crate::flux::FluxError),
    /// The installer cannot be played.
    #[error("cannot play the installer")]
    Installer(#[from] crate::installer::InstallerError),
    /// The cluster could not be seeded.
    #[error("cannot seed the cluster")]
    Seed(#[from] crate::seed::SeedError),
}

impl RigError {
    /// A function for `map_err` on file operations.
    pub fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> RigError {
        let path = path.into();
        move |source| RigError::File { action, path, source }
    }

    /// A function for `map_err` on requests to the API server.
    pub fn api(action: impl Into<String>) -> impl FnOnce(kube::Error) -> RigError {
        let action = action.into();
        move |source| RigError::Api { action, source: Box::new(source) }
    }

    /// The text with everything that led to it, in one line unless a log is part of it.
    pub fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        text
    }
}
