//! An etcd of its own beside the control plane's, without TLS, on 127.0.0.1.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use rig::ports::{PortBlock, Purpose};

use crate::harness::control_plane::ControlPlane;

/// Where an etcd is to listen; the ports are its own until this is dropped.
pub(super) struct Place {
    _ports: PortBlock,
    pub(super) client_url: String,
    pub(super) peer_url: String,
}

impl Place {
    pub(super) fn take() -> Self {
        let ports = PortBlock::take().unwrap();
        let client_url = format!("http://127.0.0.1:{}", ports.port(Purpose::Etcd));
        // Nothing else of the block is used: any of its ports will do.
        let peer_url = format!("http://127.0.0.1:{}", ports.port(Purpose::Charts));
        Self { _ports: ports, client_url, peer_url }
    }
}

/// A running etcd; it is killed when this is dropped, or when the test dies.
pub(super) struct EtcdProcess {
    child: Child,
    place: Place,
    etcdctl: std::path::PathBuf,
}

impl EtcdProcess {
    /// Starts the program of a cluster's toolchain on a data folder.
    pub(super) fn start(cluster: &ControlPlane, place: Place, data: &Path, further: &[String]) -> Self {
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(cluster.program("etcd"))
            .arg(format!("--data-dir={}", data.display()))
            .arg(format!("--listen-client-urls={}", place.client_url))
            .arg(format!("--advertise-client-urls={}", place.client_url))
            .arg(format!("--listen-peer-urls={}", place.peer_url))
            .args(["--log-level=error", "--unsafe-no-fsync"])
            .args(further)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, place, etcdctl: cluster.program("etcdctl") }
    }

    /// Where its clients reach it.
    pub(super) fn url(&self) -> &str {
        &self.place.client_url
    }

    /// Keeps it from running, as a machine that hangs would: it takes connections and never answers.
    pub(super) fn freeze(&self) {
        let frozen = Command::new("kill").args(["-STOP", &self.child.id().to_string()]).status().unwrap();
        assert!(frozen.success());
    }

    /// Ends it; its ports stay its own, so that nobody else answers there.
    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// What etcdctl says, once it is answered.
    pub(super) fn ask(&self, arguments: &[&str]) -> String {
        let mut said = String::new();
        for _ in 0..300 {
            let endpoint = format!("--endpoints={}", self.url());
            let output = Command::new(&self.etcdctl).arg(endpoint).args(arguments).output().unwrap();
            if output.status.success() {
                return String::from_utf8(output.stdout).unwrap().trim_end().to_owned();
            }
            said = String::from_utf8_lossy(&output.stderr).into_owned();
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("etcd at {} does not answer: {said}", self.url());
    }
}

impl Drop for EtcdProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
