//! An etcd that starts from a snapshot file, as a person would start it: `etcdutl snapshot restore`, then etcd.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::etcd_process::{EtcdProcess, Place};
use crate::harness::control_plane::ControlPlane;

/// A running etcd with what the snapshot holds.
pub(super) struct RestoredEtcd {
    etcd: EtcdProcess,
    /// What `etcdutl snapshot status` says of the file.
    pub(super) status: Value,
}

impl RestoredEtcd {
    /// Checks the file with etcdutl, restores it with etcdutl, and starts etcd on the result.
    pub(super) fn start(cluster: &ControlPlane, snapshot: &Path, data: &Path) -> Self {
        let etcdutl = |arguments: &[&str]| {
            let output = Command::new(cluster.program("etcdutl")).args(arguments).output().unwrap();
            assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
            output.stdout
        };
        let file = snapshot.to_str().unwrap();
        let status = serde_json::from_slice(&etcdutl(&["snapshot", "status", file, "--write-out=json"])).unwrap();
        etcdutl(&["snapshot", "restore", file, "--data-dir", data.to_str().unwrap()]);
        Self { etcd: EtcdProcess::start(cluster, Place::take(), data, &[]), status }
    }

    /// The value of a key. Waits until etcd answers.
    pub(super) fn get(&self, key: &str) -> String {
        self.etcd.ask(&["get", "--print-value-only", key])
    }

    /// The keys below a prefix.
    pub(super) fn get_keys(&self, prefix: &str) -> String {
        self.etcd.ask(&["get", "--keys-only", "--prefix", prefix])
    }
}
