//! Makes a recovery kit, or a data folder for etcd: in a private folder first, under its name when it is whole.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;

use super::error::RecoveryError;
use super::etcdutl::{DATABASE, Etcdutl, Member};
use super::runbook::{Facts, LiveRevision, runbook};
use super::site::{Installation, Site};
use super::verified_file::{new_file, write_verified};
use crate::progress::{Progress, ProgressEvent};
use crate::source::etcd::Trailer;
use crate::store::{Snapshot, SnapshotTree};

/// The file as etcd gave it.
pub const ORIGINAL_NAME: &str = "etcd-snapshot.db";
/// The same content, moved ahead.
pub const AHEAD_NAME: &str = "etcd-moved-ahead.db";
/// What to do with them.
pub const RUNBOOK_NAME: &str = "RUNBOOK.md";
/// Below etcd's data folder, all there is.
const MEMBER_FOLDER: &str = "member";

/// What was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kit {
    /// Who runs etcd, as far as the snapshot tells.
    pub installation: Installation,
    /// The newest revision in the file of the snapshot.
    pub revision: u64,
    /// The newest one in the file that is moved ahead.
    pub revision_ahead: u64,
    /// The file had etcd's hash at its end, which agrees.
    pub hashed: bool,
}

/// Writes a recovery kit into a folder that is new or empty.
///
/// # Errors
/// The snapshot has no etcd file or a damaged one, etcdutl fails, or the folder cannot be written. Nothing is left.
pub async fn prepare(
    tree: &SnapshotTree,
    snapshot: &Snapshot,
    live: &LiveRevision,
    etcdutl: &Etcdutl,
    folder: &Path,
    progress: &dyn Progress,
) -> Result<Kit, RecoveryError> {
    check_free(folder)?;
    let parent = match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let making = private_folder(parent, ".recovery-kit-")?;
    let original = making.path().join(ORIGINAL_NAME);
    progress.report(ProgressEvent::Stage("writing and checking the etcd file".to_owned()));
    let hashed = matches!(write_verified(tree, &original).await?, Trailer::Verified(_));
    let revision = etcdutl.revision(&original).await?;
    progress.report(ProgressEvent::Stage("moving a copy ahead in revisions".to_owned()));
    let (scratch, ahead) = (making.path().join("moving"), making.path().join(AHEAD_NAME));
    let revision_ahead = etcdutl.write_ahead(&original, hashed, &scratch, &ahead).await?;
    etcdutl.check_ahead(revision, revision_ahead)?;
    let site = Site::of(tree).await?;
    let kit = Kit { installation: site.installation, revision, revision_ahead, hashed };
    let text = runbook(&Facts { snapshot, site: &site, kit: &kit, live, now: jiff::Timestamp::now() });
    let path = making.path().join(RUNBOOK_NAME);
    let mut file = new_file(&path).await?;
    let written = async {
        file.write_all(text.as_bytes()).await?;
        file.sync_all().await
    };
    written.await.map_err(RecoveryError::write(&path))?;
    // Onto an empty folder too; one that got something meanwhile refuses.
    std::fs::rename(making.path(), folder).map_err(RecoveryError::write(folder))?;
    let _ = making.keep();
    Ok(kit)
}

/// Makes etcd's data folder, new or empty, out of a snapshot's etcd file, moved ahead. Gives the revision of the file.
///
/// # Errors
/// As with [`prepare`]; an empty folder may be left.
pub async fn restore(
    tree: &SnapshotTree,
    etcdutl: &Etcdutl,
    member: &Member,
    data: &Path,
    progress: &dyn Progress,
) -> Result<u64, RecoveryError> {
    check_free(data)?;
    std::fs::create_dir_all(data).map_err(RecoveryError::write(data))?;
    // Inside of it, since it may be a file system of its own.
    let making = private_folder(data, ".restoring-")?;
    let file = making.path().join(ORIGINAL_NAME);
    progress.report(ProgressEvent::Stage("writing and checking the etcd file".to_owned()));
    let hashed = matches!(write_verified(tree, &file).await?, Trailer::Verified(_));
    let revision = etcdutl.revision(&file).await?;
    progress.report(ProgressEvent::Stage("making the data folder with etcdutl".to_owned()));
    let made = making.path().join("data");
    etcdutl.restore_ahead(&file, &made, member, hashed).await?;
    etcdutl.check_ahead(revision, etcdutl.revision(&made.join(DATABASE)).await?)?;
    // etcd warns of a data folder that others may look into.
    let private = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(data, private).map_err(RecoveryError::write(data))?;
    let place = data.join(MEMBER_FOLDER);
    std::fs::rename(made.join(MEMBER_FOLDER), &place).map_err(RecoveryError::write(&place))?;
    Ok(revision)
}

/// Nothing is ever overwritten.
fn check_free(folder: &Path) -> Result<(), RecoveryError> {
    let free = match std::fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    if free { Ok(()) } else { Err(RecoveryError::Taken { folder: PathBuf::from(folder) }) }
}

/// Removed with everything in it when it goes out of scope.
fn private_folder(parent: &Path, prefix: &str) -> Result<TempDir, RecoveryError> {
    let private = std::fs::Permissions::from_mode(0o700);
    let made = tempfile::Builder::new().prefix(prefix).permissions(private).tempdir_in(parent);
    made.map_err(RecoveryError::write(parent))
}
