//! Types that should be there and that discovery lacks: never forgotten, never listed by guess.

use serde_json::json;
use snapback::snapshot::TYPES_PATH;
use snapback::store::{Blob, FrameGroup, SnapshotTree, SnapshotWriter};

use super::taking::{connect, only, take_after};
use crate::harness::control_plane::ControlPlane;

/// A snapshot, taken of an API server of some version, that has a type which no API server serves.
async fn parent_with_ghosts(server: &str) -> SnapshotTree {
    let ghosts = json!({
        "group": "", "version": "v1", "resource": "ghosts", "singular": "ghost", "kind": "Ghost", "namespaced": true,
        "origin": "built-in", "state": {"captured": {"objects": 3}},
    });
    let types = json!({"format": 1, "server": server, "types": [ghosts]}).to_string();
    let mut writer = SnapshotWriter::scratch(None);
    writer.put(TYPES_PATH, Blob::new(types.into()), FrameGroup::Shared).await.unwrap();
    writer.finish().await.unwrap().tree()
}

#[tokio::test]
async fn a_built_in_type_that_the_snapshot_before_has_is_missing_and_not_forgotten() {
    let cluster = connect(ControlPlane::shared()).await;
    let options = only(&["cm/kube-public", "ghosts"]);
    let taken = take_after(&cluster, &options, Some(parent_with_ghosts("v1.37").await)).await.unwrap();
    let reason = "the snapshot before this one has it, but discovery does not";
    assert_eq!(taken.missing("ghosts"), Some((0, reason)));
    assert_eq!(taken.capture.unlistable.len(), 1);
    assert_eq!(taken.types().await.find("", "ghosts").unwrap().objects(), None);

    // Another minor version may have dropped it.
    let taken = take_after(&cluster, &options, Some(parent_with_ghosts("v1.36").await)).await.unwrap();
    assert_eq!(taken.capture.unlistable, []);
}
