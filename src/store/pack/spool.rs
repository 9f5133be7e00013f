//! Where a pack grows until its name is known: a private file, or memory.
//!
//! Invariants: the file has mode 0600, is locked as long as it is in use (so that a sweeper can tell a killed run's
//! leftover) and disappears with its last user, whether the pack was stored or not.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use tempfile::{NamedTempFile, TempPath};

/// Bytes that are appended to and read at the same time.
pub(crate) enum Spool {
    /// In the repository's `tmp/`.
    File {
        /// Open for appending and reading; stays readable when the name moves.
        file: File,
        /// Deletes the name at the end.
        path: TempPath,
    },
    /// In memory.
    Memory(Mutex<Vec<u8>>),
}

impl std::fmt::Debug for Spool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File { path, .. } => write!(f, "Spool({})", path.display()),
            Self::Memory(_) => f.write_str("Spool(memory)"),
        }
    }
}

/// A private locked file in a folder, which is made when it is missing.
pub(crate) fn private_file(folder: &Path) -> io::Result<NamedTempFile> {
    use std::os::unix::fs::DirBuilderExt as _;
    if !folder.is_dir() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    // tempfile creates with mode 0600.
    let file = tempfile::Builder::new().prefix("spool-").tempfile_in(folder)?;
    file.as_file().lock()?;
    Ok(file)
}

impl Spool {
    pub(crate) fn new(folder: Option<&Path>) -> io::Result<Self> {
        let Some(folder) = folder else { return Ok(Self::Memory(Mutex::default())) };
        let (file, path) = private_file(folder)?.into_parts();
        Ok(Self::File { file, path })
    }

    pub(crate) fn append(&self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::File { file, .. } => (&*file).write_all(bytes),
            Self::Memory(memory) => {
                memory.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    pub(crate) fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        match self {
            Self::File { file, .. } => {
                let mut bytes = vec![0; length];
                file.read_exact_at(&mut bytes, offset)?;
                Ok(bytes.into())
            }
            Self::Memory(memory) => {
                let start = usize::try_from(offset).map_err(io::Error::other)?;
                let memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
                let found = start.checked_add(length).and_then(|end| memory.get(start..end));
                found.map(Bytes::copy_from_slice).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
            }
        }
    }
}
