//! Everything that can go wrong with a source beside the cluster, as facts.

use super::etcd::EtcdError;
use super::files::FilesError;
use super::proxmox::ProxmoxError;
use crate::store::{SourceRecord, SourceState, StoreError};

/// A source that could not be captured.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The etcd snapshot.
    #[error(transparent)]
    Etcd(#[from] EtcdError),
    /// Proxmox.
    #[error(transparent)]
    Proxmox(#[from] ProxmoxError),
    /// A folder.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The repository.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A source that the configuration requires is not there as a whole.
    #[error("`{name}` is required by the configuration and is not complete: {detail}")]
    RequiredIncomplete {
        /// `etcd`, `proxmox` or `files/<label>`.
        name: String,
        /// What is missing.
        detail: String,
    },
}

impl SourceError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Etcd(error) => error.hint(),
            Self::Proxmox(error) => error.hint(),
            _ => None,
        }
    }

    /// The repository failed: nothing can go on, whatever the source is worth.
    pub fn is_of_the_store(&self) -> bool {
        matches!(
            self,
            Self::Store(_)
                | Self::Etcd(EtcdError::Store(_))
                | Self::Proxmox(ProxmoxError::Store(_))
                | Self::Files(FilesError::Store(_))
        )
    }

    /// The record of a source that is not in the snapshot, with the whole chain of causes on one line.
    pub fn missing(&self, name: &str) -> SourceRecord {
        let mut detail = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(inner) = cause {
            detail.push_str(": ");
            detail.push_str(&inner.to_string());
            cause = inner.source();
        }
        SourceRecord { name: name.to_owned(), state: SourceState::Missing, detail }
    }
}
