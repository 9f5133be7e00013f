//! An etcd that starts from a snapshot file, as a person would start it: `etcdutl snapshot restore`, then etcd.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use rig::ports::{PortBlock, Purpose};
use serde_json::Value;

use crate::harness::control_plane::ControlPlane;

/// A running etcd without TLS on 127.0.0.1; it is killed when this is dropped, or when the test dies.
pub(super) struct RestoredEtcd {
    child: Child,
    _ports: PortBlock,
    client_url: String,
    etcdctl: std::path::PathBuf,
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

        let ports = PortBlock::take().unwrap();
        let client_url = format!("http://127.0.0.1:{}", ports.port(Purpose::Etcd));
        // No peer ever comes: any other port of the block will do.
        let peer_url = format!("http://127.0.0.1:{}", ports.port(Purpose::Charts));
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(cluster.program("etcd"))
            .arg(format!("--data-dir={}", data.display()))
            .arg(format!("--listen-client-urls={client_url}"))
            .arg(format!("--advertise-client-urls={client_url}"))
            .arg(format!("--listen-peer-urls={peer_url}"))
            .arg("--log-level=error")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, _ports: ports, client_url, etcdctl: cluster.program("etcdctl"), status }
    }

    /// The value of a key. Waits until etcd answers.
    pub(super) fn get(&self, key: &str) -> String {
        self.ask(&["get", "--print-value-only", key])
    }

    /// The keys below a prefix.
    pub(super) fn get_keys(&self, prefix: &str) -> String {
        self.ask(&["get", "--keys-only", "--prefix", prefix])
    }

    fn ask(&self, arguments: &[&str]) -> String {
        let mut said = String::new();
        for _ in 0..60 {
            let output = Command::new(&self.etcdctl)
                .arg(format!("--endpoints={}", self.client_url))
                .args(arguments)
                .output()
                .unwrap();
            if output.status.success() {
                return String::from_utf8(output.stdout).unwrap().trim_end().to_owned();
            }
            said = String::from_utf8_lossy(&output.stderr).into_owned();
            std::thread::sleep(std::time::Duration::from_millis(500));
        }
        panic!("the restored etcd does not answer: {said}");
    }
}

impl Drop for RestoredEtcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
