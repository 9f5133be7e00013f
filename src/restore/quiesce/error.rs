//! What keeps something from being held still, or from being put back.

use crate::cluster::ClusterError;
use crate::journal::Held;

use super::super::error::RestoreError;
use super::super::requests::WriteError;

/// Something could not be stopped, set aside or put back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuiesceError {
    /// The cluster cannot be read or written.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A snapshot cannot be read.
    #[error(transparent)]
    Restore(RestoreError),
    /// Another transaction holds it.
    #[error("`{item}` is held by another transaction, `{holder}`")]
    HeldByOther {
        /// What.
        item: Held,
        /// The transaction, as the mark on the object says.
        holder: String,
    },
    /// It was stopped, but something of it still runs.
    #[error("`{item}` is scaled to 0 and does not come to rest within {seconds} s: {}", running.join(", "))]
    StillRunning {
        /// What.
        item: Held,
        /// How long was waited.
        seconds: u64,
        /// Its pods, each with what is known of why it does not end.
        running: Vec<String>,
    },
    /// It is started again as often as it is stopped.
    #[error("`{item}` is started again as often as it is stopped{}", by_whom(managers))]
    Resists {
        /// What.
        item: Held,
        /// Who wrote last what starts it, as its field managers say.
        managers: Vec<String>,
    },
    /// It is being deleted and does not go.
    #[error("`{item}` is being deleted and still there after {seconds} s{}", held_by(finalizers))]
    Ending {
        /// What.
        item: Held,
        /// How long was waited.
        seconds: u64,
        /// What holds it.
        finalizers: Vec<String>,
    },
    /// The API server refuses the write.
    #[error("`{item}` cannot be written: {problem}")]
    Refused {
        /// What.
        item: Held,
        /// The API server's answer.
        problem: String,
    },
}

impl From<RestoreError> for QuiesceError {
    fn from(error: RestoreError) -> Self {
        match error {
            RestoreError::Cluster(error) => Self::Cluster(error),
            other => Self::Restore(other),
        }
    }
}

impl QuiesceError {
    pub(super) fn of(item: &Held, error: WriteError) -> Self {
        match error {
            WriteError::Refused { problem, .. } => Self::Refused { item: item.clone(), problem },
            WriteError::Fatal(error) => error.into(),
        }
    }
}

fn by_whom(managers: &[String]) -> String {
    if managers.is_empty() { String::new() } else { format!(", by {}", managers.join(", ")) }
}

fn held_by(finalizers: &[String]) -> String {
    if finalizers.is_empty() { String::new() } else { format!(", held by {}", finalizers.join(", ")) }
}
