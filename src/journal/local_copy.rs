//! The copy of a journal on this machine: `<folder>/<transaction>.jsonl`.
//!
//! In: lines. Out: whole lines; what a kill left half-written at the end is dropped, since nobody acted upon it.
//! Invariants: `append` returns `Ok` after the line is on the disk, and the file's name with it; while one process has
//! the file open for writing no other can; the file has mode 0600, and folders made for it 0700.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::{JournalError, Place};
use super::record::{RecordError, lines};
use super::transaction_id::TransactionId;

const SUFFIX: &str = ".jsonl";
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// One transaction's file.
#[derive(Debug)]
pub(super) struct LocalCopy {
    transaction: TransactionId,
    path: PathBuf,
    /// Locked as long as it is open; none until there is something to write.
    file: Option<Arc<File>>,
}

impl LocalCopy {
    /// Names it; nothing is read or made yet.
    pub(super) fn new(folder: &Path, transaction: &TransactionId) -> Self {
        Self { transaction: transaction.clone(), path: path(folder, transaction), file: None }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Its lines, for who is about to append: the file is this process's alone from here on, what a torn write left is
    /// cut off, and all the rest is durable, whoever wrote it and was killed before it was.
    pub(super) async fn open(&mut self) -> Result<Vec<Vec<u8>>, JournalError> {
        let opened = blocking("open", &self.path, |path| {
            let file = match File::options().read(true).append(true).open(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                file => file?,
            };
            file.try_lock()?;
            Ok(Some((file, fs::read(path)?)))
        });
        let Some((file, bytes)) = opened.await? else { return Ok(Vec::new()) };
        let (whole, torn) = lines(&bytes).map_err(|source| self.unreliable(source))?;
        let (length, torn) = (bytes.len() - torn.len(), !torn.is_empty());
        let file = Arc::new(file);
        self.file = Some(Arc::clone(&file));
        blocking("make durable", &self.path, move |path| {
            if torn {
                file.set_len(length as u64)?;
            }
            file.sync_all()?;
            sync_folder(path)
        })
        .await?;
        Ok(whole)
    }

    /// Adds lines, durably. The file is made with the first.
    pub(super) async fn append(&mut self, lines: &[u8]) -> Result<(), JournalError> {
        let lines = lines.to_vec();
        if let Some(file) = &self.file {
            let file = Arc::clone(file);
            return blocking("append to", &self.path, move |_| write(&file, &lines)).await;
        }
        let made = blocking("create", &self.path, move |path| {
            make_folder(path.parent().unwrap_or(path))?;
            let file = File::options().read(true).append(true).create(true).mode(FILE_MODE).open(path)?;
            file.try_lock()?;
            // Another process made it, and wrote to it, since this one saw that it was not there.
            if file.metadata()?.len() > 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            file.set_permissions(Permissions::from_mode(FILE_MODE))?;
            write(&file, &lines)?;
            sync_folder(path)?;
            Ok(file)
        });
        self.file = Some(Arc::new(made.await?));
        Ok(())
    }

    /// Takes so many bytes off its end: a line that turned out to be nobody's to write.
    pub(super) async fn take_back(&self, bytes: usize) -> Result<(), JournalError> {
        let Some(file) = self.file.as_ref().map(Arc::clone) else { return Ok(()) };
        blocking("shorten", &self.path, move |_| {
            file.set_len(file.metadata()?.len().saturating_sub(bytes as u64))?;
            file.sync_all()
        })
        .await
    }

    fn unreliable(&self, source: RecordError) -> JournalError {
        JournalError::unreliable(&self.transaction, Place::Local(self.path.clone()), source)
    }

    /// Its lines, for who only looks: nothing is locked or repaired.
    pub(super) async fn read(&self) -> Result<Vec<Vec<u8>>, JournalError> {
        let bytes = blocking("read", &self.path, |path| match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            bytes => bytes,
        });
        let bytes = bytes.await?;
        Ok(lines(&bytes).map_err(|source| self.unreliable(source))?.0)
    }
}

/// Every transaction that has a file in the folder, by name.
pub(super) async fn local_transactions(folder: &Path) -> Result<Vec<TransactionId>, JournalError> {
    blocking("list", folder, |folder| {
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            let transaction = name.to_str().and_then(|name| name.strip_suffix(SUFFIX)?.parse().ok());
            found.extend(transaction);
        }
        found.sort_unstable();
        Ok(found)
    })
    .await
}

fn path(folder: &Path, transaction: &TransactionId) -> PathBuf {
    folder.join(format!("{transaction}{SUFFIX}"))
}

fn write(mut file: &File, lines: &[u8]) -> io::Result<()> {
    file.write_all(lines)?;
    file.sync_all()
}

/// Makes the name of a file or folder durable.
fn sync_folder(path: &Path) -> io::Result<()> {
    let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match File::open(above) {
        // A folder far above that may be written to and not read.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        folder => folder?.sync_all(),
    }
}

/// Makes a folder and those above it, durably.
fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    if let Some(above) = folder.parent() {
        make_folder(above)?;
    }
    match DirBuilder::new().mode(FOLDER_MODE).create(folder) {
        Ok(()) => fs::set_permissions(folder, Permissions::from_mode(FOLDER_MODE))?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    sync_folder(folder)
}

/// Runs what waits for a disk where nobody else waits for it. A lock that is taken is `Busy`.
async fn blocking<T: Send + 'static>(
    operation: &'static str,
    path: &Path,
    work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> Result<T, JournalError> {
    let owned = path.to_owned();
    let outcome = tokio::task::spawn_blocking(move || work(&owned)).await;
    outcome.unwrap_or_else(|stopped| Err(io::Error::other(stopped))).map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => JournalError::Busy { path: path.to_owned() },
        _ => JournalError::Local { operation, path: path.to_owned(), source },
    })
}
