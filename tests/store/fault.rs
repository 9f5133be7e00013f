//! A backend that fails, dies or is interfered with at one chosen operation.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use snapback::store::ContentHash;
use snapback::store::Repository;
use snapback::store::backend::{Backend, BackendError, Content, StoredFile};
use tokio::sync::Mutex;

use super::sample::{back_up, files};

/// What happens at an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It fails, and nothing is done.
    NotApplied,
    /// It is done, and answered with an error.
    AppliedButError,
    /// It fails, and a half-written file is left in `tmp/`.
    Torn,
    /// It fails now, and is done after everything else.
    Late,
    /// The medium is full.
    Full,
    /// The process dies before it.
    CrashBefore,
    /// The process dies after it.
    CrashAfter,
    /// Another machine commits a snapshot of the same series first.
    OtherBackup,
    /// Another machine forgets every snapshot and marks every pack that is not needed any more.
    ForgetAndMark,
    /// Another machine deletes every marked pack.
    Sweep,
}

/// Counts operations and applies the plan.
#[derive(Debug)]
pub(super) struct FaultBackend {
    inner: Arc<dyn Backend>,
    plan: Vec<(usize, Fault)>,
    count: AtomicUsize,
    dead: AtomicBool,
    late: Mutex<Vec<(String, Vec<u8>)>>,
}

/// What is left to do at an operation.
enum Step {
    Go,
    Fail,
    GoThenFail,
    Late,
    Torn,
    Full,
}

impl FaultBackend {
    pub(super) fn new(inner: Arc<dyn Backend>, plan: Vec<(usize, Fault)>) -> Arc<Self> {
        Arc::new(Self { inner, plan, count: AtomicUsize::new(0), dead: AtomicBool::new(false), late: Mutex::default() })
    }

    /// Operations so far.
    pub(super) fn operations(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// Does what was put off.
    pub(super) async fn land_late_writes(&self) {
        for (name, bytes) in self.late.lock().await.drain(..) {
            let _ = self.inner.create(&name, Content::Bytes(&bytes)).await;
        }
    }

    async fn step(&self) -> Step {
        let number = self.count.fetch_add(1, Ordering::SeqCst);
        if self.dead.load(Ordering::SeqCst) {
            return Step::Fail;
        }
        let mut step = Step::Go;
        for (_, fault) in self.plan.iter().filter(|(at, _)| *at == number) {
            match fault {
                Fault::NotApplied => step = Step::Fail,
                Fault::AppliedButError => step = Step::GoThenFail,
                Fault::Torn => step = Step::Torn,
                Fault::Late => step = Step::Late,
                Fault::Full => step = Step::Full,
                Fault::CrashBefore | Fault::CrashAfter => {
                    self.dead.store(true, Ordering::SeqCst);
                    step = if *fault == Fault::CrashAfter { Step::GoThenFail } else { Step::Fail };
                }
                Fault::OtherBackup => {
                    let content = files(&[("cluster/other.json", &format!("of {number}"))]);
                    Box::pin(back_up(Arc::clone(&self.inner), &content)).await.unwrap();
                }
                Fault::ForgetAndMark => forget_and_mark(&self.inner).await,
                Fault::Sweep => sweep(&self.inner).await,
            }
        }
        step
    }

    fn error(operation: &'static str, name: &str) -> BackendError {
        BackendError::Failed { operation, name: name.to_owned(), source: std::io::Error::other("injected") }
    }

    async fn simple<T: Send>(
        &self,
        operation: &'static str,
        name: &str,
        work: impl Future<Output = Result<T, BackendError>> + Send,
    ) -> Result<T, BackendError> {
        match self.step().await {
            Step::Go => work.await,
            Step::GoThenFail => {
                let _ = work.await;
                Err(Self::error(operation, name))
            }
            Step::Fail | Step::Late | Step::Torn | Step::Full => Err(Self::error(operation, name)),
        }
    }
}

#[async_trait]
impl Backend for FaultBackend {
    fn place(&self) -> String {
        self.inner.place()
    }

    async fn probe(&self) -> Result<String, BackendError> {
        self.simple("create", "probe", self.inner.probe()).await
    }

    fn spool_folder(&self) -> Option<PathBuf> {
        self.inner.spool_folder()
    }

    async fn create(&self, name: &str, content: Content<'_>) -> Result<(), BackendError> {
        let bytes = || match content {
            Content::Bytes(bytes) => bytes.to_vec(),
            Content::File(path) => std::fs::read(path).unwrap(),
        };
        match self.step().await {
            Step::Go => self.inner.create(name, content).await,
            Step::GoThenFail => {
                self.inner.create(name, content).await?;
                Err(Self::error("create", name))
            }
            Step::Full => Err(BackendError::Full { name: name.to_owned() }),
            Step::Fail => Err(Self::error("create", name)),
            Step::Late => {
                self.late.lock().await.push((name.to_owned(), bytes()));
                Err(Self::error("create", name))
            }
            Step::Torn => {
                if let Some(folder) = self.inner.spool_folder() {
                    let bytes = bytes();
                    std::fs::write(folder.join("file-torn"), &bytes[..bytes.len() / 2]).unwrap();
                }
                Err(Self::error("create", name))
            }
        }
    }

    async fn read(&self, name: &str) -> Result<Vec<u8>, BackendError> {
        self.simple("read", name, self.inner.read(name)).await
    }

    async fn read_range(&self, name: &str, offset: u64, length: u64) -> Result<Vec<u8>, BackendError> {
        self.simple("read", name, self.inner.read_range(name, offset, length)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<StoredFile>, BackendError> {
        self.simple("list", prefix, self.inner.list(prefix)).await
    }

    async fn make_durable(&self, name: &str) -> Result<(), BackendError> {
        self.simple("create", name, self.inner.make_durable(name)).await
    }

    async fn delete(&self, name: &str) -> Result<(), BackendError> {
        self.simple("delete", name, self.inner.delete(name)).await
    }
}

/// Appends an entry as another program would, `lines` being those of its operation.
pub(super) async fn append(backend: &Arc<dyn Backend>, op: &str, lines: &str) {
    let history = Repository::open(Arc::clone(backend)).await.unwrap().history().await.unwrap();
    let head = history.head().unwrap();
    let number = head.number + 1;
    let text = format!(
        "{{\n\"format\": 1,\n\"number\": {number},\n\"previous\": \"{}\",\n\"op\": \"{op}\",\n\"time\": \"2026-01-01T00:00:00Z\",\n\
         \"nonce\": \"{number:032x}\",\n\"writer\": 1,\n{lines}\"signature\": null,\n\"recipients\": null,\n",
        head.hash
    );
    let text = format!("{text}\"sha256\": \"{}\"}}\n", ContentHash::of(text.as_bytes()));
    backend.create(&format!("log/{number:020}.json"), Content::Bytes(text.as_bytes())).await.unwrap();
}

async fn forget_and_mark(backend: &Arc<dyn Backend>) {
    let history = Repository::open(Arc::clone(backend)).await.unwrap().history().await.unwrap();
    let live: Vec<u64> = history.snapshots().iter().map(|snapshot| snapshot.number).collect();
    append(backend, "forget", &format!("\"snapshots\": {live:?},\n")).await;
    let dead: Vec<String> = backend.list("packs/").await.unwrap().into_iter().map(|file| file.name).collect();
    append(backend, "mark", &format!("\"names\": {dead:?},\n")).await;
}

async fn sweep(backend: &Arc<dyn Backend>) {
    for file in backend.list("log/").await.unwrap() {
        let text = String::from_utf8(backend.read(&file.name).await.unwrap()).unwrap();
        for line in text.lines().filter_map(|line| line.strip_prefix("\"names\": [")) {
            for name in line.trim_end_matches("],").split(", ").filter(|name| !name.is_empty()) {
                backend.delete(name.trim_matches('"')).await.unwrap();
            }
        }
    }
}
