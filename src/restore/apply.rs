//! Carries a plan out.

use crate::cluster::Cluster;
use crate::progress::Progress;
use crate::store::SnapshotTree;

use super::applied::Applied;
use super::error::RestoreError;
use super::options::RestoreOptions;
use super::plan::Plan;

/// Does every action of the plan, wave by wave.
///
/// # Errors
/// A snapshot cannot be read, or the cluster does not answer any more. What one object's write is refused for is part
/// of the result.
pub async fn apply(
    _cluster: &Cluster,
    _plan: &Plan,
    _live: &SnapshotTree,
    _wanted: &SnapshotTree,
    _options: &RestoreOptions,
    _progress: &dyn Progress,
) -> Result<Applied, RestoreError> {
    todo!()
}
