//! A repository in a folder of this machine (or of a file server mounted here).
//!
//! In: names and contents. Out: files of mode 0400 in folders of mode 0700, whatever the umask is.
//! Invariants: a file is written and fsynced in `tmp/` before it gets its name, by a hard link, which never replaces
//! (a file system without hard links: `renameat2` with NOREPLACE); its folder and every folder above it are fsynced
//! before `create` returns `Ok`. After a failed fsync nobody knows what the disk holds, so the file is dropped.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use super::{Backend, BackendError, Content, StoredFile};

/// Where files are written before they get their name.
const SPOOL: &str = "tmp";
/// A leftover in `tmp/` is deleted only when nobody holds its lock and it is at least this old: a file exists for a
/// moment before its maker has locked it.
const LEFTOVER_AGE: Duration = Duration::from_secs(60);
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o400;

/// A folder.
#[derive(Clone, Debug)]
pub struct LocalBackend {
    root: Arc<Path>,
}

impl LocalBackend {
    /// Names a folder; nothing is read or made yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into().into() }
    }

    async fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        name: &str,
        work: impl FnOnce(&Path, &str) -> io::Result<T> + Send + 'static,
    ) -> Result<T, BackendError> {
        let root = Arc::clone(&self.root);
        let named = name.to_owned();
        let outcome = tokio::task::spawn_blocking(move || {
            check_name(&named)?;
            work(&root, &named)
        })
        .await
        .unwrap_or_else(|stopped| Err(io::Error::other(stopped)));
        outcome.map_err(|source| refine(operation, name, source))
    }
}

fn refine(operation: &'static str, name: &str, source: io::Error) -> BackendError {
    // The repository's own folder.
    let name = if name.is_empty() { "." } else { name }.to_owned();
    match (operation, source.kind()) {
        ("create", io::ErrorKind::AlreadyExists) => BackendError::Exists { name },
        (_, io::ErrorKind::NotFound) if operation != "create" => BackendError::NotFound { name },
        (_, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => BackendError::Full { name },
        _ => BackendError::Failed { operation, name, source },
    }
}

/// A name from a damaged or hostile log entry must not leave the repository.
fn check_name(name: &str) -> io::Result<()> {
    let plain = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    if plain { Ok(()) } else { Err(io::Error::new(io::ErrorKind::InvalidInput, "the name leaves the repository")) }
}

/// A repository begins with a file in its own folder. Where nothing is, one was unmounted or moved away: making the
/// folders anew would hide that, and put files where nobody looks for them.
fn refuse_if_gone(root: &Path, name: &str) -> io::Result<()> {
    let there = || fs::read_dir(root).is_ok_and(|mut entries| entries.next().is_some());
    if name.contains('/') && !there() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "nothing is at the repository's place any more"));
    }
    Ok(())
}

#[async_trait]
impl Backend for LocalBackend {
    fn place(&self) -> String {
        self.root.display().to_string()
    }

    async fn probe(&self) -> Result<String, BackendError> {
        let place = self.place();
        self.run("create", SPOOL, |root, _| probe(root))
            .await?
            .map_err(|reason| BackendError::Unsuitable { place, reason })
    }

    fn spool_folder(&self) -> Option<PathBuf> {
        Some(self.root.join(SPOOL))
    }

    async fn create(&self, name: &str, content: Content<'_>) -> Result<(), BackendError> {
        enum Owned {
            Bytes(Vec<u8>),
            File(PathBuf),
        }
        let content = match content {
            Content::Bytes(bytes) => Owned::Bytes(bytes.to_vec()),
            Content::File(path) => Owned::File(path.to_owned()),
        };
        self.run("create", name, move |root, name| {
            refuse_if_gone(root, name)?;
            let spool = root.join(SPOOL);
            make_folders(root, &spool)?;
            let target = root.join(name);
            let folder = target.parent().unwrap_or(root);
            make_folders(root, folder)?;
            match content {
                Owned::File(path) if path.parent() == Some(spool.as_path()) => {
                    let file = File::options().read(true).write(true).open(&path)?;
                    place_file(root, &file, &path, &target)
                }
                Owned::File(path) => {
                    let mut temporary = tempfile::Builder::new().prefix("copy-").tempfile_in(&spool)?;
                    temporary.as_file().lock()?;
                    io::copy(&mut File::open(path)?, temporary.as_file_mut())?;
                    place_file(root, temporary.as_file(), temporary.path(), &target)
                }
                Owned::Bytes(bytes) => {
                    let mut temporary = tempfile::Builder::new().prefix("file-").tempfile_in(&spool)?;
                    temporary.as_file().lock()?;
                    temporary.write_all(&bytes)?;
                    place_file(root, temporary.as_file(), temporary.path(), &target)
                }
            }
        })
        .await
    }

    async fn read(&self, name: &str) -> Result<Vec<u8>, BackendError> {
        self.run("read", name, |root, name| fs::read(root.join(name))).await
    }

    async fn read_range(&self, name: &str, offset: u64, length: u64) -> Result<Vec<u8>, BackendError> {
        self.run("read", name, move |root, name| {
            let file = File::open(root.join(name))?;
            let there = file.metadata()?.len().saturating_sub(offset).min(length);
            let mut bytes = vec![0; usize::try_from(there).map_err(io::Error::other)?];
            file.read_exact_at(&mut bytes, offset)?;
            Ok(bytes)
        })
        .await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<StoredFile>, BackendError> {
        let prefix = prefix.to_owned();
        self.run("list", &prefix.clone(), move |root, _| {
            // The folder in front of the prefix's last `/`: nothing outside it can match.
            let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
            let mut found = Vec::new();
            list_folder(root, &root.join(folder), &mut found)?;
            found.retain(|file| file.name.starts_with(&prefix));
            found.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(found)
        })
        .await
    }

    async fn make_durable(&self, name: &str) -> Result<(), BackendError> {
        self.run("create", name, |root, name| {
            let target = root.join(name);
            File::open(&target)?.sync_all()?;
            sync_folders(root, &target)
        })
        .await
    }

    async fn delete(&self, name: &str) -> Result<(), BackendError> {
        self.run("delete", name, |root, name| match fs::remove_file(root.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            outcome => outcome,
        })
        .await
    }
}

/// Gives a written file its name, durably.
fn place_file(root: &Path, file: &File, temporary: &Path, target: &Path) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(FILE_MODE))?;
    file.sync_all()?;
    link(file, temporary, target)?;
    if let Err(error) = sync_folders(root, target) {
        // The entry may or may not reach the disk; what was never promised must not be found later.
        let _ = fs::remove_file(target);
        return Err(error);
    }
    Ok(())
}

fn link(file: &File, temporary: &Path, target: &Path) -> io::Result<()> {
    let error = match fs::hard_link(temporary, target) {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    if error.kind() == io::ErrorKind::AlreadyExists {
        // A file server may have done it and lost the answer: the second attempt then finds our own file.
        let (ours, there) = (file.metadata()?, fs::symlink_metadata(target)?);
        return if (ours.dev(), ours.ino()) == (there.dev(), there.ino()) { Ok(()) } else { Err(error) };
    }
    if matches!(
        error.kind(),
        io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied | io::ErrorKind::TooManyLinks
    ) {
        // tempfile uses renameat2 with NOREPLACE where there is one.
        let path = tempfile::TempPath::try_from_path(temporary)?;
        return path.persist_noclobber(target).map_err(|refused| {
            let reason = refused.error;
            // The path is the caller's to delete.
            let _ = refused.path.keep();
            reason
        });
    }
    Err(error)
}

/// Makes the folders from `root` down to `folder`.
fn make_folders(root: &Path, folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if folder == root {
        // Folders above the repository are the user's own.
        if let Some(above) = root.parent() {
            fs::create_dir_all(above)?;
        }
    } else if let Some(above) = folder.parent() {
        make_folders(root, above)?;
    }
    match DirBuilder::new().mode(FOLDER_MODE).create(folder) {
        Ok(()) => fs::set_permissions(folder, Permissions::from_mode(FOLDER_MODE)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes a file's name durable: its folder and those above it, since any of them may be new (by us or by another
/// process that has not come so far yet).
fn sync_folders(root: &Path, target: &Path) -> io::Result<()> {
    let mut folder = target.parent();
    while let Some(path) = folder {
        File::open(path)?.sync_all()?;
        if path == root {
            break;
        }
        folder = path.parent();
    }
    // A repository folder that was just made needs the folder above it; nobody promises that we may open it.
    if let Some(Ok(above)) = root.parent().filter(|above| !above.as_os_str().is_empty()).map(File::open) {
        above.sync_all()?;
    }
    Ok(())
}

fn list_folder(root: &Path, folder: &Path, found: &mut Vec<StoredFile>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        let is_folder = entry.file_type()?.is_dir();
        if is_folder && path == root.join(SPOOL) {
            continue;
        }
        if is_folder {
            list_folder(root, &path, found)?;
            continue;
        }
        let metadata = match fs::symlink_metadata(&path) {
            // Deleted since the folder was read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            metadata => metadata?,
        };
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        found.push(StoredFile { name, size: metadata.len(), created: metadata.modified()? });
    }
    Ok(())
}

/// `Ok(Err(reason))`: the file system answers, but cannot hold a repository.
fn probe(root: &Path) -> io::Result<Result<String, String>> {
    let spool = root.join(SPOOL);
    make_folders(root, &spool)?;
    let temporary = || tempfile::Builder::new().prefix("probe-").tempfile_in(&spool);
    let (first, second) = (temporary()?, temporary()?);
    let target = spool.join(format!("{}-placed", first.path().file_name().unwrap_or_default().display()));
    let linked = fs::hard_link(first.path(), &target).is_ok();
    let placed = if linked { Ok(()) } else { link(first.as_file(), first.path(), &target) };
    let replaced = link(second.as_file(), second.path(), &target);
    let _ = fs::remove_file(&target);
    Ok(match (placed, replaced) {
        (Err(error), _) => {
            Err(format!("its file system has neither hard links nor renaming without replacing ({error})"))
        }
        (Ok(()), Ok(())) => Err("its file system replaced a file where it had to refuse".to_owned()),
        (Ok(()), Err(_)) if linked => Ok("hard links".to_owned()),
        (Ok(()), Err(_)) => Ok("renaming without replacing".to_owned()),
    })
}

/// Deletes what killed runs left in a spool folder. Who still works holds a lock on each of its files.
pub(crate) fn sweep_spool(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        let Ok(file) = File::open(&path) else { continue };
        let age = SystemTime::now().duration_since(file.metadata()?.modified()?).unwrap_or_default();
        if age >= LEFTOVER_AGE && file.try_lock().is_ok() {
            let _ = fs::remove_file(&path);
        }
    }
    Ok(())
}
