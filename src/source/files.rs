//! Folders that the user named: machine configurations, the platform folder, changelogs.
//!
//! In: a label and a folder. Out: `files/<label>/...`, every regular file with its executable bit, symbolic links as
//! links (never followed). Invariants: nothing is left out silently: what cannot be read, or has a name that a path
//! cannot hold, makes the source partial and is named; pipes, sockets and devices are named and left out. Times and
//! owners are not stored, so an unchanged folder is an unchanged tree. Folders without files are not stored.

use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::progress::{Progress, ProgressEvent};
use crate::store::{Blob, EntryKind, FrameGroup, SnapshotWriter, SourceRecord, SourceState, StoreError, encode_name};

/// Files up to this size are taken in one piece, as Kubernetes objects are; bigger ones are streamed.
const STREAM_ABOVE: u64 = 1024 * 1024;
/// A tree has no executable files in segments, so a big executable is held in memory, up to this size.
const EXECUTABLE_LIMIT: u64 = 256 * 1024 * 1024;
/// How many paths a record names before it only counts.
const NAMED: usize = 3;

/// A folder that could not be captured at all.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The folder is not there, or cannot be opened.
    #[error("cannot read the folder `{folder}` of `files/{label}`")]
    Folder {
        /// As configured.
        label: String,
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is a file.
    #[error("`{folder}` of `files/{label}` is not a folder")]
    NotAFolder {
        /// As configured.
        label: String,
        /// The path.
        folder: PathBuf,
    },
    /// The repository failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A folder to capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderSource {
    /// Its name inside a snapshot.
    pub label: String,
    /// Where it is.
    pub folder: PathBuf,
}

/// Takes a folder into `files/<label>/`. On an error nothing of it is in the snapshot.
///
/// # Errors
/// The folder cannot be opened, or the repository failed.
pub async fn capture_files(
    label: &str,
    folder: &Path,
    writer: &mut SnapshotWriter,
    progress: &dyn Progress,
) -> Result<SourceRecord, FilesError> {
    progress.report(ProgressEvent::Stage(format!("reading `{}`", folder.display())));
    let unreadable = |source| FilesError::Folder { label: label.to_owned(), folder: folder.to_owned(), source };
    let top = std::fs::metadata(folder).map_err(unreadable)?;
    if !top.is_dir() {
        return Err(FilesError::NotAFolder { label: label.to_owned(), folder: folder.to_owned() });
    }
    std::fs::read_dir(folder).map_err(unreadable)?;
    let root = format!("files/{}", encode_name(label));
    match walk(&root, folder, writer, progress).await {
        Ok(lost) => Ok(lost.record(format!("files/{label}"))),
        Err(error) => {
            writer.discard(&root);
            Err(error.into())
        }
    }
}

async fn walk(
    root: &str,
    folder: &Path,
    writer: &mut SnapshotWriter,
    progress: &dyn Progress,
) -> Result<Lost, StoreError> {
    // A machine configuration holds secrets: its compressed size must not mix with anything else's.
    let group = FrameGroup::Apart(root.to_owned());
    let mut lost = Lost::default();
    let mut entries = walkdir::WalkDir::new(folder).min_depth(1).sort_by_file_name().into_iter();
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let path = error.path().unwrap_or(folder);
                lost.unreadable(path.strip_prefix(folder).unwrap_or(path), progress);
                continue;
            }
        };
        let relative = entry.path().strip_prefix(folder).unwrap_or(entry.path());
        if entry.file_type().is_dir() {
            if is_repository(entry.path()) {
                progress.report(ProgressEvent::Note(format!(
                    "`{}` is a repository of snapshots and is left out",
                    entry.path().display()
                )));
                entries.skip_current_dir();
            }
            continue;
        }
        let Some(path) = tree_path(root, relative) else {
            lost.unreadable(relative, progress);
            continue;
        };
        let stored = if entry.file_type().is_symlink() {
            put_link(&path, entry.path(), &group, writer).await
        } else if entry.file_type().is_file() {
            put_file(&path, entry.path(), &group, writer).await
        } else {
            lost.special(relative, progress);
            continue;
        };
        match stored {
            Ok(()) => progress.report(ProgressEvent::Done(1)),
            Err(PutError::Unreadable) => lost.unreadable(relative, progress),
            Err(PutError::Store(error)) => return Err(error),
        }
    }
    Ok(lost)
}

enum PutError {
    Unreadable,
    Store(StoreError),
}

impl From<io::Error> for PutError {
    fn from(_: io::Error) -> Self {
        Self::Unreadable
    }
}

impl From<StoreError> for PutError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

async fn put_link(path: &str, file: &Path, group: &FrameGroup, writer: &mut SnapshotWriter) -> Result<(), PutError> {
    let target = tokio::fs::read_link(file).await?;
    let target = bytes::Bytes::copy_from_slice(target.as_os_str().as_bytes());
    writer.put_as(path, EntryKind::Link, Blob::new(target), group.clone()).await?;
    Ok(())
}

async fn put_file(path: &str, file: &Path, group: &FrameGroup, writer: &mut SnapshotWriter) -> Result<(), PutError> {
    let opened = tokio::fs::File::open(file).await?;
    let about: Metadata = opened.metadata().await?;
    let executable = about.permissions().mode() & 0o111 != 0;
    if about.len() > STREAM_ABOVE && !(executable && about.len() <= EXECUTABLE_LIMIT) {
        let mut watched = Watched { inner: opened, failed: false };
        let stored = writer.put_stream(path, &mut watched).await;
        if watched.failed {
            return Err(PutError::Unreadable);
        }
        stored?;
        return Ok(());
    }
    drop(opened);
    let blob = Blob::new(tokio::fs::read(file).await?.into());
    let kind = if executable { EntryKind::Exec } else { EntryKind::Blob };
    writer.put_as(path, kind, blob, group.clone()).await?;
    Ok(())
}

/// Remembers that reading failed, which the store's own error does not say.
struct Watched {
    inner: tokio::fs::File,
    failed: bool,
}

impl tokio::io::AsyncRead for Watched {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        let polled = std::pin::Pin::new(&mut self.inner).poll_read(context, buffer);
        if let std::task::Poll::Ready(Err(_)) = &polled {
            self.failed = true;
        }
        polled
    }
}

/// The path inside a snapshot; `None` for a name that is not UTF-8, or so long that it would be cut: nothing inside the
/// file tells its true name.
fn tree_path(root: &str, relative: &Path) -> Option<String> {
    let mut path = root.to_owned();
    for part in relative {
        let encoded = encode_name(part.to_str()?);
        if encoded.contains('~') {
            return None;
        }
        path.push('/');
        path.push_str(&encoded);
    }
    Some(path)
}

/// A repository inside a captured folder would put every snapshot into the next one.
fn is_repository(folder: &Path) -> bool {
    folder.join("repo.json").is_file() && folder.join("log").is_dir() && folder.join("packs").is_dir()
}

/// What is not in the snapshot.
#[derive(Default)]
struct Lost {
    unreadable: Vec<String>,
    special: Vec<String>,
}

impl Lost {
    fn unreadable(&mut self, path: &Path, progress: &dyn Progress) {
        let path = path.display().to_string();
        progress.report(ProgressEvent::Note(format!("`{path}` cannot be read, or has a name that cannot be kept")));
        self.unreadable.push(path);
    }

    fn special(&mut self, path: &Path, progress: &dyn Progress) {
        let path = path.display().to_string();
        progress.report(ProgressEvent::Note(format!("`{path}` is no regular file and is left out")));
        self.special.push(path);
    }

    fn record(&self, name: String) -> SourceRecord {
        let state = if self.unreadable.is_empty() { SourceState::Complete } else { SourceState::Partial };
        let mut detail = String::new();
        for (what, paths) in [("cannot be read", &self.unreadable), ("no regular file", &self.special)] {
            if paths.is_empty() {
                continue;
            }
            if !detail.is_empty() {
                detail.push_str("; ");
            }
            let named = paths.iter().take(NAMED).map(|path| format!("`{path}`")).collect::<Vec<_>>().join(", ");
            detail.push_str(&format!("{what}: {named}"));
            if paths.len() > NAMED {
                detail.push_str(&format!(" and {} more", paths.len() - NAMED));
            }
        }
        SourceRecord { name, state, detail }
    }
}
