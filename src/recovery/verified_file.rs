//! The etcd file out of a snapshot: streamed, and checked twice on the way.

use std::path::Path;

use tokio::fs::{File, OpenOptions};

use super::error::RecoveryError;
use crate::source::etcd::{ETCD_SNAPSHOT_PATH, EtcdError, HashedReader, Trailer};
use crate::store::SnapshotTree;

/// Bytes between the repository and the file.
const PIPE_BYTES: usize = 1 << 20;

/// Writes the etcd file of a snapshot to a new file. The repository's hash of it and etcd's own must agree.
pub(super) async fn write_verified(tree: &SnapshotTree, path: &Path) -> Result<Trailer, RecoveryError> {
    let entry = tree.entry(ETCD_SNAPSHOT_PATH).await?.ok_or(RecoveryError::NoEtcdFile)?;
    let mut file = new_file(path).await?;
    let (sink, stream) = tokio::io::duplex(PIPE_BYTES);
    // Without a hash of its own at its end it passes too: the repository's hash says that it is what was captured.
    let mut reader = HashedReader::new(stream, true);
    let pour = async {
        let mut sink = sink;
        tree.copy_file(&entry, &mut sink).await.map_err(RecoveryError::from)
    };
    let write = async {
        tokio::io::copy(&mut reader, &mut file).await?;
        file.sync_all().await
    };
    // Whoever fails first ends the other one, which would wait for ever.
    let both = tokio::try_join!(pour, async { write.await.map_err(RecoveryError::write(path)) });
    match (reader.into_outcome(), both) {
        (Some(Err(error)), _) => Err(RecoveryError::Damaged(error)),
        (Some(Ok(trailer)), Ok(_)) => Ok(trailer),
        (_, Err(error)) => Err(error),
        // Copied without being read to its end.
        (None, Ok(_)) => Err(RecoveryError::Damaged(EtcdError::NotASnapshot { size: 0 })),
    }
}

/// A file that nobody else may read.
pub(super) async fn new_file(path: &Path) -> Result<File, RecoveryError> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).await.map_err(RecoveryError::write(path))
}
