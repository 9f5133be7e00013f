//! `rig.json`: what runs in a folder, for machines.

use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::RigError;
use crate::layout::{Layout, write_private};
use crate::process::ProcessState;

/// Everything about one throwaway cluster. Written again whenever a server is started or ended by request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// The cluster's folder.
    pub folder: PathBuf,
    /// The administrator's kubeconfig (group system:masters).
    pub kubeconfig: PathBuf,
    /// The API server's audit log, one JSON event a line.
    pub audit_log: PathBuf,
    /// The folder of the programs, kubectl and etcdctl among them.
    pub toolchain: PathBuf,
    /// Where the API server is.
    pub api_server: ApiServerEndpoint,
    /// Where etcd is, and what a client of it needs.
    pub etcd: EtcdEndpoint,
    /// How the supervisor is asked.
    pub supervisor: SupervisorEndpoint,
    /// The template the cluster was copied from.
    pub template: Option<String>,
    /// From the start of `up` until everything was ready; absent while it starts.
    pub ready_after_milliseconds: Option<u64>,
    /// The servers.
    pub servers: Vec<ServerStatus>,
}

/// Where the API server is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiServerEndpoint {
    /// Its URL.
    pub url: String,
    /// The authority of its certificate.
    pub ca: PathBuf,
}

/// Where etcd is, and what a client of it needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EtcdEndpoint {
    /// Its URL for clients.
    pub url: String,
    /// The authority of its certificate.
    pub ca: PathBuf,
    /// A client certificate it accepts.
    pub certificate: PathBuf,
    /// The key of that certificate.
    pub key: PathBuf,
}

/// How the supervisor is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupervisorEndpoint {
    /// Its process id.
    pub pid: u32,
    /// Its port on 127.0.0.1.
    pub port: u16,
    /// What a request must show: whoever can read this file may ask.
    pub token: String,
}

/// One server and what it is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerStatus {
    /// Its name in commands.
    pub name: String,
    /// What it is doing.
    pub state: ProcessState,
    /// Whether it answers: the API server's `/readyz`, etcd's `/health`. Absent for the others and where nobody looked.
    pub ready: Option<bool>,
    /// The port it listens on, where it does.
    pub port: Option<u16>,
    /// Its log.
    pub log: PathBuf,
}

impl Description {
    /// The description in a cluster's folder.
    ///
    /// # Errors
    /// [`RigError::NotARig`] when there is none, [`RigError::Json`] when it cannot be understood.
    pub fn read(layout: &Layout) -> Result<Self, RigError> {
        let path = layout.description();
        let text = fs::read(&path).map_err(|_| RigError::NotARig { folder: layout.folder().to_owned() })?;
        serde_json::from_slice(&text).map_err(|source| RigError::Json { what: format!("`{}`", path.display()), source })
    }

    /// Writes it into the cluster's folder.
    ///
    /// # Errors
    /// [`RigError::File`] when it cannot be written.
    pub fn write(&self, layout: &Layout) -> Result<(), RigError> {
        let text = serde_json::to_vec_pretty(self)
            .map_err(|source| RigError::Json { what: "the cluster's description".to_owned(), source })?;
        write_private(&layout.description(), &text)
    }
}
