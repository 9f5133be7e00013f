//! Captures an etcd snapshot from whichever source is configured.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use tokio::io::AsyncRead;

use super::command::{Finished, Running, takes_path};
use super::endpoint::{self, Member};
use super::error::EtcdError;
use super::hashed_reader::{HashedReader, Trailer};
use super::tls::EtcdTls;
use crate::progress::{Progress, ProgressEvent};
use crate::store::{Blob, ContentHash, FrameGroup, SnapshotWriter, SourceRecord, SourceState};

/// The source's name, and the folder it has in a snapshot.
const NAME: &str = "etcd";
/// Where the file lies in a snapshot.
pub const ETCD_SNAPSHOT_PATH: &str = "etcd/snapshot.db";
const STATUS_PATH: &str = "etcd/status.json";

/// Where an etcd snapshot comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EtcdSource {
    /// A member's own stream.
    Endpoints {
        /// `https://10.0.0.1:2379`, one or more; the member that has applied most is taken.
        endpoints: Vec<String>,
        /// What the members and this client show each other; `None` for plain HTTP.
        tls: Option<EtcdTls>,
    },
    /// A file that another tool made.
    File {
        /// The file.
        path: PathBuf,
        /// Takes a copy of a database file too, which has no hash at its end.
        allow_unhashed: bool,
    },
    /// A command that writes a snapshot to the path that stands for `{}`, or to stdout.
    Command {
        /// The program and its arguments; no shell is involved.
        argv: Vec<String>,
        /// How long it may take.
        timeout: Duration,
    },
}

/// `etcd/status.json`: what is known of the file beside it, and nothing that depends on when it was taken.
#[derive(Debug, Serialize)]
struct Status {
    /// `endpoint`, `file` or `command`.
    source: &'static str,
    size: u64,
    /// The server's SHA-256 of everything before it; absent for a copy of a database file.
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<ContentHash>,
    #[serde(flatten)]
    member: Option<MemberStatus>,
}

#[derive(Debug, Serialize)]
struct MemberStatus {
    cluster: String,
    member: String,
    version: String,
    /// The member said so just before: the file holds this revision, and may hold later ones.
    revision: i64,
}

/// Takes an etcd snapshot into `etcd/snapshot.db`, with `etcd/status.json` beside it. A command's file is made in a
/// private folder inside `scratch`, which must belong to the repository. On an error nothing of it is in the snapshot.
///
/// # Errors
/// The snapshot cannot be had, is not whole, or cannot be stored.
pub async fn capture_etcd(
    source: &EtcdSource,
    scratch: &Path,
    writer: &mut SnapshotWriter,
    progress: &dyn Progress,
) -> Result<SourceRecord, EtcdError> {
    progress.report(ProgressEvent::Stage("taking the etcd snapshot".to_owned()));
    let taken = match source {
        EtcdSource::Endpoints { endpoints, tls } => from_endpoints(endpoints, tls.as_ref(), writer, progress).await,
        EtcdSource::File { path, allow_unhashed } => from_file(path, *allow_unhashed, writer).await,
        EtcdSource::Command { argv, timeout } if takes_path(argv) => {
            from_command_file(argv, *timeout, scratch, writer).await
        }
        EtcdSource::Command { argv, timeout } => from_command_output(argv, *timeout, writer).await,
    };
    let status = match taken {
        Ok(status) => status,
        Err(error) => {
            writer.discard(NAME);
            return Err(error);
        }
    };
    // A struct of numbers and strings always serializes; an empty document would be seen by the tests.
    let document = serde_json::to_vec(&status).unwrap_or_default();
    writer.put(STATUS_PATH, Blob::new(document.into()), FrameGroup::Shared).await?;
    let detail = match status.hash {
        Some(_) => String::new(),
        None => "a copy of a database file: it has no hash, so nothing shows that it is whole".to_owned(),
    };
    Ok(SourceRecord { name: NAME.to_owned(), state: SourceState::Complete, detail })
}

async fn from_endpoints(
    endpoints: &[String],
    tls: Option<&EtcdTls>,
    writer: &mut SnapshotWriter,
    progress: &dyn Progress,
) -> Result<Status, EtcdError> {
    let (member, messages) = endpoint::open(endpoints, tls, progress).await?;
    progress.report(ProgressEvent::Note(format!(
        "etcd {} member {:x} at `{}`, {} bytes",
        member.version, member.member, member.endpoint, member.database_bytes
    )));
    let mut reader = HashedReader::new(messages, false);
    let stored = writer.put_stream(ETCD_SNAPSHOT_PATH, &mut reader).await;
    if let Some(fault) = reader.inner_mut().take_fault() {
        return Err(fault);
    }
    let size = reader.size();
    let hash = verdict(reader, stored.map(|_| ()))?;
    let Member { member, cluster, version, revision, .. } = member;
    let member = MemberStatus { cluster: format!("{cluster:x}"), member: format!("{member:x}"), version, revision };
    Ok(Status { source: "endpoint", size, hash, member: Some(member) })
}

async fn from_file(path: &Path, allow_unhashed: bool, writer: &mut SnapshotWriter) -> Result<Status, EtcdError> {
    let failed = |source| EtcdError::File { path: path.to_owned(), source };
    // Asked before it is opened: opening a pipe that nobody writes to would wait for ever.
    if !tokio::fs::metadata(path).await.map_err(failed)?.is_file() {
        return Err(EtcdError::NotAFile { path: path.to_owned() });
    }
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    store("file", file, allow_unhashed, writer).await
}

async fn from_command_file(
    argv: &[String],
    limit: Duration,
    scratch: &Path,
    writer: &mut SnapshotWriter,
) -> Result<Status, EtcdError> {
    let failed = |source| EtcdError::Scratch { folder: scratch.to_owned(), source };
    // Nobody else may look inside, whatever mode the command gives its file. Removed when it goes out of scope.
    let private = std::fs::Permissions::from_mode(0o700);
    let folder = tempfile::Builder::new().prefix("etcd-").permissions(private).tempdir_in(scratch).map_err(failed)?;
    // The command may change its folder.
    let path = std::path::absolute(folder.path().join("snapshot.db")).map_err(failed)?;
    let finished = Running::start(argv, Some(&path), limit)?.finish().await?;
    let written = tokio::fs::metadata(&path).await.is_ok_and(|file| file.is_file() && file.len() > 0);
    if !written {
        return Err(finished.wrote_nothing());
    }
    let file = tokio::fs::File::open(&path).await.map_err(failed)?;
    store("command", file, false, writer).await
}

async fn from_command_output(
    argv: &[String],
    limit: Duration,
    writer: &mut SnapshotWriter,
) -> Result<Status, EtcdError> {
    let mut running = Running::start(argv, None, limit)?;
    let Some(stdout) = running.stdout() else { return Err(EtcdError::NoCommand) };
    let mut reader = HashedReader::new(stdout, false);
    let storing = tokio::time::timeout_at(running.deadline(), writer.put_stream(ETCD_SNAPSHOT_PATH, &mut reader)).await;
    let Ok(stored) = storing else { return Err(running.overdue().await) };
    let stored = match stored {
        // The store gave up: the command would wait to be rid of its bytes, so it dies here, with `running`.
        Err(error) if !reader.is_finished() => return Err(error.into()),
        stored => stored,
    };
    // What the command says of itself comes first: bytes that are cut off are only the consequence.
    let size = reader.size();
    let finished: Finished = running.finish().await?;
    if size == 0 {
        return Err(finished.wrote_nothing());
    }
    let hash = verdict(reader, stored.map(|_| ()))?;
    Ok(Status { source: "command", size, hash, member: None })
}

async fn store<R: AsyncRead + Unpin + Send>(
    source: &'static str,
    content: R,
    allow_unhashed: bool,
    writer: &mut SnapshotWriter,
) -> Result<Status, EtcdError> {
    let mut reader = HashedReader::new(content, allow_unhashed);
    let stored = writer.put_stream(ETCD_SNAPSHOT_PATH, &mut reader).await;
    let size = reader.size();
    let hash = verdict(reader, stored.map(|_| ()))?;
    Ok(Status { source, size, hash, member: None })
}

/// What the reader found comes before what the store made of it, which is only that a read failed.
fn verdict<R>(
    reader: HashedReader<R>,
    stored: Result<(), crate::store::StoreError>,
) -> Result<Option<ContentHash>, EtcdError> {
    let outcome = reader.into_outcome().transpose()?;
    stored?;
    match outcome {
        Some(Trailer::Verified(hash)) => Ok(Some(hash)),
        Some(Trailer::Absent) => Ok(None),
        // The store took the bytes without reading to their end, so nothing was checked.
        None => Err(EtcdError::NotASnapshot { size: 0 }),
    }
}
