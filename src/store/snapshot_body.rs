//! What a snapshot says of itself; its SHA-256 is the snapshot's id.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::hash::ContentHash;
use super::lines::Lines;

/// The description of a snapshot, stored one value a line in a fixed order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotBody {
    /// Hash of what makes snapshots comparable: the cluster's identity and the filters. Parent, `latest` and
    /// retention are per series.
    pub series: ContentHash,
    /// When the capture began, by this machine's clock.
    pub time: Timestamp,
    /// UID of the namespace kube-system, the cluster's identity; empty when no cluster was captured.
    pub cluster: String,
    /// The kubeconfig context's name, for people.
    pub context: String,
    /// The etcd revision that every object belongs to; 0 when no cluster was captured.
    pub revision: u64,
    /// The root tree.
    pub root: ContentHash,
    /// Given by `--label`; empty when none.
    pub label: String,
    /// The filters in their canonical text, empty for everything.
    pub scope: String,
    /// Every source asked for, and whether all of it is there.
    pub sources: Vec<SourceRecord>,
    /// Every source is complete.
    pub complete: bool,
    /// Kubernetes objects.
    pub objects: u64,
    /// Types with at least one object.
    pub types: u64,
    /// Bytes of all content below the root.
    pub bytes: u64,
    /// The API server's version, such as `v1.37.2`; empty when no cluster was captured.
    pub kubernetes: String,
    /// The program that captured it, such as `snapback 0.1.0`.
    pub tool: String,
}

/// How much of a source a snapshot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceState {
    /// All of it.
    Complete,
    /// Some of it; the detail names what is missing.
    Partial,
    /// Nothing: it failed.
    Missing,
    /// It was not asked for.
    Unconfigured,
}

/// One source of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRecord {
    /// `cluster`, `etcd`, `proxmox` or `files/<label>`.
    pub name: String,
    /// How much of it is there.
    pub state: SourceState,
    /// One line for people: what is missing and why, or empty.
    pub detail: String,
}

impl SnapshotBody {
    /// Complete, and of nothing: what tests fill in.
    #[cfg(test)]
    pub(crate) fn empty() -> Self {
        let nothing = ContentHash::of(b"");
        Self {
            series: nothing,
            time: Timestamp::UNIX_EPOCH,
            cluster: String::new(),
            context: String::new(),
            revision: 0,
            root: nothing,
            label: String::new(),
            scope: String::new(),
            sources: Vec::new(),
            complete: true,
            objects: 0,
            types: 0,
            bytes: 0,
            kubernetes: String::new(),
            tool: String::new(),
        }
    }

    /// The body as it is stored and hashed: one value a line, the fields always in this order.
    pub(crate) fn to_text(&self) -> String {
        let Self { series, time, cluster, context, revision, root, label, scope, sources, .. } = self;
        let Self { complete, objects, types, bytes, kubernetes, tool, .. } = self;
        let mut lines = Lines::default();
        lines.open("{");
        lines.value("series", series);
        lines.value("time", time);
        lines.value("cluster", cluster);
        lines.value("context", context);
        lines.value("revision", revision);
        lines.value("root", root);
        lines.value("label", label);
        lines.value("scope", scope);
        lines.open("\"sources\": [");
        for source in sources {
            lines.item(source);
        }
        lines.close("]");
        lines.value("complete", complete);
        lines.value("objects", objects);
        lines.value("types", types);
        lines.value("bytes", bytes);
        lines.value("kubernetes", kubernetes);
        lines.value("tool", tool);
        lines.close("}");
        lines.into_text()
    }
}
