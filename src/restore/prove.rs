//! Proves a restore.

use crate::cluster::Cluster;
use crate::progress::Progress;
use crate::store::SnapshotTree;

use super::applied::Applied;
use super::error::RestoreError;
use super::options::{RestoreOptions, Wait};
use super::proof::Proof;

/// Captures the cluster again and compares it with what was wanted.
///
/// # Errors
/// The cluster cannot be captured, or a snapshot cannot be read.
pub async fn prove(
    _cluster: &Cluster,
    _applied: &Applied,
    _wanted: &SnapshotTree,
    _options: &RestoreOptions,
    _wait: Wait,
    _progress: &dyn Progress,
) -> Result<Proof, RestoreError> {
    todo!()
}
