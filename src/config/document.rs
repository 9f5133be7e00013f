//! The file's schema. Every key has its default and the reason for it here.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::duration;
use super::s3::S3Config;
use super::secret::SecretRef;

/// How long an etcd snapshot command may take: a database of 8 GiB, etcd's largest advised size, over 100 Mbit/s.
const COMMAND_LIMIT: Duration = Duration::from_secs(30 * 60);

/// A configuration. The default is that of an absent file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The repository's folder, or `s3://BUCKET/PREFIX`. Absent: the command line decides.
    pub repository: Option<PathBuf>,
    /// How to reach a bucket.
    pub s3: S3Config,
    /// Which cluster.
    pub cluster: ClusterConfig,
    /// What of it.
    pub capture: CaptureConfig,
    /// Rollbacks.
    pub rollback: RollbackConfig,
    /// The etcd snapshot.
    pub etcd: Option<EtcdConfig>,
    /// Proxmox.
    pub proxmox: Option<ProxmoxConfig>,
    /// Folders.
    pub files: Vec<FolderConfig>,
    /// The folder of the file: relative paths begin there, so that a configuration works from everywhere.
    #[serde(skip)]
    pub(super) folder: PathBuf,
}

/// Which cluster.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterConfig {
    /// A context of the kubeconfig. Absent: its current one.
    pub context: Option<String>,
    /// The kubeconfig. Absent: what kubectl would take.
    pub kubeconfig: Option<PathBuf>,
}

/// What of the cluster.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CaptureConfig {
    /// Takes only what matches one of these. Empty: everything.
    pub only: Vec<String>,
    /// Leaves out what matches one of these.
    pub exclude: Vec<String>,
    /// Takes Events and Leases too. They change every few seconds and nobody restores them, so: false.
    pub events: bool,
}

/// Rollbacks.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RollbackConfig {
    /// Whatever else re-applies the platform, as `deployment/NAMESPACE/NAME` or `statefulset/NAMESPACE/NAME`, from the top
    /// down: a person's own GitOps tool, say. It is stopped first and started last. CozyStack and Flux need not be named.
    pub hold: Vec<String>,
}

/// The etcd snapshot: exactly one of `endpoints`, `file` and `command`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EtcdConfig {
    /// A backup without it fails. etcd is often out of reach of the machine that runs backups, so: false.
    pub required: bool,
    /// Takes it only when the last one in the repository is at least this old. An etcd file is stored almost whole every
    /// time, so a timer that runs every few minutes wants hours here. Zero, the default, takes it with every backup: who
    /// asks for a backup by hand means all of it.
    #[serde(deserialize_with = "duration::deserialize")]
    pub interval: Duration,
    /// Members, as `https://HOST:2379`.
    pub endpoints: Vec<String>,
    /// The CA that signed the members' certificates.
    pub ca: Option<PathBuf>,
    /// The client's certificate.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// The name in the members' certificates, where it is not the endpoint's (a tunnel).
    pub server_name: Option<String>,
    /// A snapshot that another tool makes.
    pub file: Option<PathBuf>,
    /// Takes a copy of a member's database too, which has no hash at its end. Nothing shows that such a copy is whole,
    /// so: false.
    pub allow_unhashed: bool,
    /// A command that writes a snapshot to the path put in place of `{}`, or to stdout.
    pub command: Vec<String>,
    /// How long the command may take. 30 minutes: 8 GiB, etcd's largest advised size, at 5 MB/s.
    #[serde(deserialize_with = "duration::deserialize")]
    pub timeout: Duration,
}

impl Default for EtcdConfig {
    fn default() -> Self {
        Self {
            required: false,
            interval: Duration::ZERO,
            endpoints: Vec::new(),
            ca: None,
            cert: None,
            key: None,
            server_name: None,
            file: None,
            allow_unhashed: false,
            command: Vec::new(),
            timeout: COMMAND_LIMIT,
        }
    }
}

/// Proxmox.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxmoxConfig {
    /// A backup without it fails. Its backup jobs are not needed to restore the cluster, so: false.
    #[serde(default)]
    pub required: bool,
    /// A node, as `https://HOST[:8006]`.
    pub url: String,
    /// The API token, `USER@REALM!TOKENID=SECRET`.
    pub token: SecretRef,
    /// The CA that signed the node's certificate, a copy of /etc/pve/pve-root-ca.pem. Absent: the system's CAs.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// The SHA-256 of the node's certificate, in place of a CA.
    #[serde(default)]
    pub fingerprint: Option<String>,
    /// Takes any certificate. Whoever is in between can then read the token, so: false.
    #[serde(default)]
    pub insecure_skip_tls_verify: bool,
}

/// A folder.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FolderConfig {
    /// Its name inside a snapshot: `files/LABEL/...`.
    pub label: String,
    /// Where it is.
    pub path: PathBuf,
    /// A backup without all of it fails. A folder may lie on another machine's disk, so: false.
    #[serde(default)]
    pub required: bool,
}
