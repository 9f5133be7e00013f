//! Everything that can go wrong with a recovery, as facts.

use std::io;
use std::path::{Path, PathBuf};

use crate::source::etcd::EtcdError;
use crate::store::StoreError;

/// A kit or a data folder that was not made; nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The backup took no etcd snapshot.
    #[error("the snapshot holds no etcd file")]
    NoEtcdFile,
    /// The file in the repository is not what etcd wrote.
    #[error("the etcd file of the snapshot is damaged")]
    Damaged(#[source] EtcdError),
    /// Something would be overwritten.
    #[error("`{folder}` is not an empty folder")]
    Taken {
        /// What is there.
        folder: PathBuf,
    },
    /// There is no such program.
    #[error("cannot run `{program}`")]
    NoEtcdutl {
        /// What was run.
        program: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// etcdutl ended with an error.
    #[error("`{program} {task}` failed ({status}): {said}")]
    Etcdutl {
        /// What was run.
        program: PathBuf,
        /// Its subcommand.
        task: &'static str,
        /// How it ended.
        status: String,
        /// The end of what it wrote to stderr.
        said: String,
    },
    /// etcdutl said that all went well, and the result is something else.
    #[error("`{program}` did not move the file ahead: it has revision {found}, not at least {wanted}")]
    NotAhead {
        /// What was run.
        program: PathBuf,
        /// The revision that the file was to have.
        wanted: u64,
        /// The one that it has.
        found: u64,
    },
    /// A file or folder of the result.
    #[error("cannot write `{path}`")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The repository failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RecoveryError {
    /// For `map_err`: writing this path failed.
    pub(super) fn write(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Write { path, source }
    }
}
