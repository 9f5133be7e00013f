//! A repository in memory: for tests, and for captures that are compared and thrown away.
//!
//! In and out: as every backend. Nothing survives the process, so there is nothing to make durable.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;

use super::{Backend, BackendError, Content, StoredFile};

type Files = BTreeMap<String, (Arc<[u8]>, SystemTime)>;

/// Files in memory. A clone is the same place.
#[derive(Clone, Default)]
pub struct MemoryBackend {
    files: Arc<Mutex<Files>>,
}

impl std::fmt::Debug for MemoryBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MemoryBackend({} files)", self.lock().len())
    }
}

impl MemoryBackend {
    fn lock(&self) -> MutexGuard<'_, Files> {
        // A map of whole files is never half changed, so a panic elsewhere cannot have left it wrong.
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, name: &str) -> Result<Arc<[u8]>, BackendError> {
        match self.lock().get(name) {
            Some((bytes, _)) => Ok(Arc::clone(bytes)),
            None => Err(BackendError::NotFound { name: name.to_owned() }),
        }
    }
}

#[async_trait]
impl Backend for MemoryBackend {
    fn place(&self) -> String {
        "memory".to_owned()
    }

    async fn probe(&self) -> Result<String, BackendError> {
        Ok("memory".to_owned())
    }

    fn spool_folder(&self) -> Option<PathBuf> {
        None
    }

    async fn create(&self, name: &str, content: Content<'_>) -> Result<(), BackendError> {
        let bytes: Arc<[u8]> = match content {
            Content::Bytes(bytes) => bytes.into(),
            Content::File(path) => std::fs::read(path)
                .map_err(|source| BackendError::Failed { operation: "create", name: name.to_owned(), source })?
                .into(),
        };
        match self.lock().entry(name.to_owned()) {
            std::collections::btree_map::Entry::Occupied(_) => Err(BackendError::Exists { name: name.to_owned() }),
            std::collections::btree_map::Entry::Vacant(free) => {
                free.insert((bytes, SystemTime::now()));
                Ok(())
            }
        }
    }

    async fn read(&self, name: &str) -> Result<Vec<u8>, BackendError> {
        Ok(self.get(name)?.to_vec())
    }

    async fn read_range(&self, name: &str, offset: u64, length: u64) -> Result<Vec<u8>, BackendError> {
        let bytes = self.get(name)?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let end = start.saturating_add(usize::try_from(length).unwrap_or(usize::MAX)).min(bytes.len());
        Ok(bytes.get(start..end).unwrap_or_default().to_vec())
    }

    async fn list(&self, prefix: &str) -> Result<Vec<StoredFile>, BackendError> {
        let files = self.lock();
        let found = files.iter().filter(|(name, _)| name.starts_with(prefix));
        Ok(found
            .map(|(name, (bytes, created))| StoredFile {
                name: name.clone(),
                size: bytes.len() as u64,
                created: *created,
            })
            .collect())
    }

    async fn make_durable(&self, _name: &str) -> Result<(), BackendError> {
        Ok(())
    }

    async fn delete(&self, name: &str) -> Result<(), BackendError> {
        self.lock().remove(name);
        Ok(())
    }
}
