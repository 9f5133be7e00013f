//! At which versions the live cluster is read to be compared with a snapshot.

use std::collections::BTreeMap;

use crate::restore::error::RestoreError;
use crate::restore::recorded_types::recorded_types;
use crate::store::SnapshotTree;

/// What a capture that is compared with this snapshot should have for
/// [`versions`](crate::snapshot::CaptureOptions::versions): the version of each custom type in the snapshot. Where the
/// cluster cannot be read at it, the objects are compared after their type was converted.
///
/// # Errors
/// The snapshot's list of types cannot be read.
pub async fn comparable_versions(snapshot: &SnapshotTree) -> Result<BTreeMap<(String, String), String>, RestoreError> {
    Ok(recorded_types(snapshot).await?.map(|document| document.custom_versions()).unwrap_or_default())
}
