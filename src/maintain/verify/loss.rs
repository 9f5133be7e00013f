//! What damage costs: paths in snapshots, and etcd files that are not what etcd sent.

use std::collections::{BTreeMap, HashSet};
use std::pin::Pin;
use std::task::{Context, Poll};

use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWrite;

use super::references::References;
use super::report::Damage;
use crate::store::{ContentHash, Snapshot, SnapshotTree, StoreError, TreeEntry, log_name};

/// Paths that a damage lists; more are counted.
const LISTED_OBJECTS: usize = 20;
/// etcd appends the SHA-256 of everything before it to a snapshot, whose size is then 32 more than a multiple of 512
/// (etcd: etcdutl/snapshot/v3_snapshot.go, `saveDB`).
const ETCD_HASH_BYTES: usize = 32;

/// Adds to each damage which paths of which snapshots it costs.
pub(super) fn describe_losses(
    references: &mut References,
    snapshots: &[Snapshot],
    damage: &mut BTreeMap<String, Damage>,
) {
    let mut seen: HashSet<(String, String)> = HashSet::new();
    for snapshot in snapshots {
        let number = snapshot.number;
        for loss in references.losses(snapshot) {
            let file = loss.file.unwrap_or_else(|| log_name(number));
            let what = "it refers to content that none of its packs holds";
            let entry = damage.entry(file.clone()).or_insert_with(|| Damage::new(file.as_str(), what, Vec::new()));
            if !entry.snapshots.contains(&number) {
                entry.snapshots.push(number);
            }
            if !seen.insert((file, loss.path.clone())) {
                continue;
            }
            entry.object_count += 1;
            if entry.objects.len() < LISTED_OBJECTS {
                entry.objects.push(loss.path);
            }
        }
    }
}

/// What is wrong with a file of several segments.
pub(super) async fn big_file_fault(
    tree: &SnapshotTree,
    path: &str,
    entry: &TreeEntry,
) -> Result<Option<String>, StoreError> {
    let mut tail = HashedTail::default();
    match tree.copy_file(entry, &mut tail).await {
        Ok(()) => {}
        Err(StoreError::Damaged { what, .. }) => return Ok(Some(what)),
        Err(error @ (StoreError::ContentMissing { .. } | StoreError::BadTree { .. })) => {
            return Ok(Some(error.to_string()));
        }
        Err(error) => return Err(error),
    }
    let is_etcd = path.starts_with("etcd/") && entry.size % 512 == ETCD_HASH_BYTES as u64;
    if is_etcd && ContentHash::from_hasher(tail.hasher).as_raw().as_slice() != tail.held {
        return Ok(Some("it does not end with the SHA-256 that etcd gave it".to_owned()));
    }
    Ok(None)
}

/// Hashes everything but the last 32 bytes, which it holds back.
#[derive(Default)]
struct HashedTail {
    hasher: Sha256,
    held: Vec<u8>,
}

impl AsyncWrite for HashedTail {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        let this = self.get_mut();
        this.held.extend_from_slice(bytes);
        let done = this.held.len().saturating_sub(ETCD_HASH_BYTES);
        this.hasher.update(this.held.get(..done).unwrap_or_default());
        this.held.drain(..done);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
