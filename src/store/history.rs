//! The log, folded: which snapshots are live and which packs they name.

use super::hash::ContentHash;
use super::snapshot_body::SnapshotBody;

/// A pack that a snapshot needs.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PackRef {
    /// Name relative to the repository, `packs/ab/<sha256>.<8 random hex>.tar.zst`.
    pub name: String,
    /// Bytes.
    pub size: u64,
}

/// A committed snapshot.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Number of its log entry, shown as `#42`.
    pub number: u64,
    /// SHA-256 of its body.
    pub id: ContentHash,
    /// Every pack that holds something of it.
    pub packs: Vec<PackRef>,
    /// What was captured, when and of what.
    pub body: SnapshotBody,
}

/// The whole log, read and checked from entry 0 on.
#[derive(Clone, Debug)]
pub struct History {
    snapshots: Vec<Snapshot>,
}

impl History {
    /// Live snapshots (not forgotten), oldest first.
    pub fn snapshots(&self) -> &[Snapshot] {
        &self.snapshots
    }
}
