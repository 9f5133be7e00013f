//! Computes a plan.

use crate::cluster::Cluster;
use crate::progress::Progress;
use crate::store::SnapshotTree;

use super::error::RestoreError;
use super::options::RestoreOptions;
use super::plan::Plan;

/// Compares the capture of the live cluster with the wanted snapshot and plans the way back.
///
/// # Errors
/// A snapshot cannot be read, or the cluster does not answer.
pub async fn plan(
    _cluster: &Cluster,
    _live: &SnapshotTree,
    _wanted: &SnapshotTree,
    _options: &RestoreOptions,
    _progress: &dyn Progress,
) -> Result<Plan, RestoreError> {
    todo!()
}
