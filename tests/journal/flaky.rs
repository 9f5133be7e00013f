//! A repository that cannot be written to for a while, as one machine sees it, and that looks at that machine's copy.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use snapback::store::backend::{Backend, BackendError, Content, StoredFile};

/// What happens to what is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Well,
    /// It fails, and nothing is done.
    Down,
    /// It is done, and answered with an error.
    Unclear,
}

#[derive(Debug)]
pub(super) struct Flaky {
    inner: Arc<dyn Backend>,
    mood: Mutex<Mood>,
    /// The file in which a line must be before it comes here.
    local: PathBuf,
}

impl Flaky {
    pub(super) fn new(inner: &Arc<dyn Backend>, local: PathBuf) -> Arc<Self> {
        Arc::new(Self { inner: Arc::clone(inner), mood: Mutex::new(Mood::Well), local })
    }

    pub(super) fn is(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }
}

#[async_trait]
impl Backend for Flaky {
    fn place(&self) -> String {
        self.inner.place()
    }

    async fn probe(&self) -> Result<String, BackendError> {
        self.inner.probe().await
    }

    fn spool_folder(&self) -> Option<PathBuf> {
        self.inner.spool_folder()
    }

    async fn create(&self, name: &str, content: Content<'_>) -> Result<(), BackendError> {
        let Content::Bytes(line) = content else { panic!("a record is a few bytes") };
        let local = std::fs::read(&self.local).unwrap_or_default();
        assert!(local.split_inclusive(|byte| *byte == b'\n').any(|here| here == line), "{name} came here first");
        let mood = *self.mood.lock().unwrap();
        if mood != Mood::Down {
            self.inner.create(name, content).await?;
        }
        if mood == Mood::Well {
            return Ok(());
        }
        let source = std::io::Error::other("the network is cut");
        Err(BackendError::Failed { operation: "create", name: name.to_owned(), source })
    }

    async fn read(&self, name: &str) -> Result<Vec<u8>, BackendError> {
        self.inner.read(name).await
    }

    async fn read_range(&self, name: &str, offset: u64, length: u64) -> Result<Vec<u8>, BackendError> {
        self.inner.read_range(name, offset, length).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<StoredFile>, BackendError> {
        self.inner.list(prefix).await
    }

    async fn make_durable(&self, name: &str) -> Result<(), BackendError> {
        self.inner.make_durable(name).await
    }

    async fn delete(&self, name: &str) -> Result<(), BackendError> {
        self.inner.delete(name).await
    }
}
