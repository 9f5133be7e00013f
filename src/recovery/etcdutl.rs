//! The real `etcdutl`, which knows etcd's data folder.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use super::error::RecoveryError;
use super::verified_file::new_file;

/// How far a restored etcd is moved ahead: more writes than any cluster makes between a snapshot and its restore.
pub const REVISIONS_AHEAD: u64 = 1_000_000_000;
/// Where etcd keeps its database, below its data folder.
pub(super) const DATABASE: &str = "member/snap/db";
/// How much of stderr is told: its end says what went wrong.
const SAID_BYTES: usize = 1000;
const CHUNK_BYTES: usize = 1 << 20;

/// The program.
#[derive(Clone, Debug)]
pub struct Etcdutl {
    program: PathBuf,
}

/// The member that a data folder is made for, as etcd's own flags of the same names have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// `--name`.
    pub name: String,
    /// `--initial-advertise-peer-urls`.
    pub peer_urls: String,
    /// `--initial-cluster`; absent: this member alone.
    pub cluster: Option<String>,
    /// `--initial-cluster-token`.
    pub token: String,
}

impl Default for Member {
    /// What etcd takes when it is told nothing.
    fn default() -> Self {
        Self {
            name: "default".to_owned(),
            peer_urls: "http://localhost:2380".to_owned(),
            cluster: None,
            token: "etcd-cluster".to_owned(),
        }
    }
}

#[derive(Deserialize)]
struct Status {
    revision: u64,
}

impl Etcdutl {
    /// A path, or a name to be looked up in PATH.
    pub fn new(program: PathBuf) -> Self {
        Self { program }
    }

    /// The newest revision in a file.
    pub(super) async fn revision(&self, file: &Path) -> Result<u64, RecoveryError> {
        const TASK: &str = "snapshot status";
        let output = self.run(TASK, &[file.as_os_str(), OsStr::new("--write-out=json")]).await?;
        let status: Status = serde_json::from_slice(&output.stdout).map_err(|error| RecoveryError::Etcdutl {
            program: self.program.clone(),
            task: TASK,
            status: "an answer that is not understood".to_owned(),
            said: error.to_string(),
        })?;
        Ok(status.revision)
    }

    /// Makes a data folder out of a file, moved ahead.
    pub(super) async fn restore_ahead(
        &self,
        file: &Path,
        data: &Path,
        member: &Member,
        hashed: bool,
    ) -> Result<(), RecoveryError> {
        let alone = || format!("{}={}", member.name, member.peer_urls);
        let mut options = vec![
            format!("--bump-revision={REVISIONS_AHEAD}"),
            "--mark-compacted".to_owned(),
            format!("--name={}", member.name),
            format!("--initial-advertise-peer-urls={}", member.peer_urls),
            format!("--initial-cluster={}", member.cluster.clone().unwrap_or_else(alone)),
            format!("--initial-cluster-token={}", member.token),
        ];
        if !hashed {
            options.push("--skip-hash-check".to_owned());
        }
        let mut arguments = vec![file.as_os_str(), OsStr::new("--data-dir"), data.as_os_str()];
        arguments.extend(options.iter().map(OsStr::new));
        self.run("snapshot restore", &arguments).await.map(|_| ())
    }

    /// Writes the same content moved ahead, as a snapshot file with its hash at its end. It needs no options when it is
    /// restored, as Talos has none for this. `scratch` is a folder to be made and removed.
    pub(super) async fn write_ahead(
        &self,
        file: &Path,
        hashed: bool,
        scratch: &Path,
        out: &Path,
    ) -> Result<u64, RecoveryError> {
        // Whoever restores it says which member it becomes: nothing of this one stays.
        self.restore_ahead(file, scratch, &Member::default(), hashed).await?;
        append_hash(&scratch.join(DATABASE), out).await.map_err(RecoveryError::write(out))?;
        tokio::fs::remove_dir_all(scratch).await.map_err(RecoveryError::write(scratch))?;
        self.revision(out).await
    }

    /// An error where a revision is not as far ahead of another as it must be.
    pub(super) fn check_ahead(&self, before: u64, found: u64) -> Result<(), RecoveryError> {
        let wanted = before.saturating_add(REVISIONS_AHEAD);
        if found < wanted {
            return Err(RecoveryError::NotAhead { program: self.program.clone(), wanted, found });
        }
        Ok(())
    }

    async fn run(&self, task: &'static str, arguments: &[&OsStr]) -> Result<Output, RecoveryError> {
        let mut command = Command::new(&self.program);
        command.args(task.split(' ')).args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        let failed = |source| RecoveryError::NoEtcdutl { program: self.program.clone(), source };
        let output = command.output().await.map_err(failed)?;
        if output.status.success() {
            return Ok(output);
        }
        let said = output.stderr.get(output.stderr.len().saturating_sub(SAID_BYTES)..).unwrap_or_default();
        Err(RecoveryError::Etcdutl {
            program: self.program.clone(),
            task,
            status: output.status.to_string(),
            said: String::from_utf8_lossy(said).trim().to_owned(),
        })
    }
}

async fn append_hash(database: &Path, out: &Path) -> std::io::Result<()> {
    let mut source = File::open(database).await?;
    let mut file = new_file(out).await.map_err(std::io::Error::other)?;
    let mut hash = Sha256::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = source.read(&mut chunk).await?;
        let Some(bytes) = chunk.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        hash.update(bytes);
        file.write_all(bytes).await?;
    }
    file.write_all(&hash.finalize()).await?;
    file.flush().await?;
    file.sync_all().await
}
