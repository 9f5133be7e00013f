//! Where a cluster's servers get their programs, paths and ports from.

use std::path::PathBuf;

use crate::certificates::{Validity, issue_client};
use crate::error::RigError;
use crate::kubeconfig;
use crate::layout::Layout;
use crate::ports::{PortBlock, Purpose};
use crate::process::ServerSpec;
use crate::toolchain::Toolchain;

/// The second API server's name in commands and in `rig.json`, where there is one.
pub const SECOND_API_SERVER: &str = "kube-apiserver-2";

/// Where a cluster's servers get their paths and ports from.
pub struct Site<'a> {
    /// The cluster's folder.
    pub layout: &'a Layout,
    /// The programs.
    pub toolchain: &'a Toolchain,
    /// The ports.
    pub ports: &'a PortBlock,
}

impl Site<'_> {
    /// How a program of the toolchain is started.
    pub fn spec(&self, name: &str, args: Vec<String>, port: Option<Purpose>) -> ServerSpec {
        ServerSpec {
            name: name.to_owned(),
            program: self.toolchain.program(name),
            args,
            env: Vec::new(),
            port: port.map(|purpose| self.ports.port(purpose)),
            log: self.layout.log(name),
        }
    }

    /// How a stand-in is started: this very program once more, as a process of its own with an identity of its own.
    pub fn stand_in(&self, name: &str, mut args: Vec<String>, port: Option<u16>) -> ServerSpec {
        let kubeconfig = format!("--kubeconfig={}", self.kubeconfig_of(name).display());
        args.splice(0..0, ["stand-in".to_owned(), name.to_owned(), kubeconfig]);
        ServerSpec {
            name: name.to_owned(),
            program: std::env::current_exe().unwrap_or_else(|_| PathBuf::from("rig")),
            args,
            env: Vec::new(),
            port,
            log: self.layout.log(name),
        }
    }

    /// The kubeconfig of a controller.
    pub fn kubeconfig_of(&self, name: &str) -> PathBuf {
        self.layout.config(&format!("{name}.kubeconfig"))
    }

    /// Writes the kubeconfig of a controller, which may do everything under its own name: the audit log tells it from
    /// the administrator.
    ///
    /// # Errors
    /// [`RigError`] when the certificate cannot be issued or the file cannot be written.
    pub fn write_kubeconfig(&self, name: &str, user: &str) -> Result<(), RigError> {
        let certificate = issue_client(self.layout, user, Some("system:masters"), Validity::Current)?;
        kubeconfig::write(self.layout, self.ports.port(Purpose::ApiServer), &certificate, &self.kubeconfig_of(name))
    }

    /// etcd's URL for clients.
    pub fn etcd_endpoint(&self) -> String {
        format!("https://127.0.0.1:{}", self.ports.port(Purpose::Etcd))
    }

    /// The port of one of the API servers.
    pub fn port_of(&self, api_server: &str) -> u16 {
        self.ports.port(if api_server == SECOND_API_SERVER { Purpose::SecondApiServer } else { Purpose::ApiServer })
    }

    /// The API server's URL.
    pub fn api_server_endpoint(&self) -> String {
        format!("https://127.0.0.1:{}", self.ports.port(Purpose::ApiServer))
    }
}
