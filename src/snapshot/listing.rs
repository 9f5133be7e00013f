//! Many types listed at once, written one after the other.
//!
//! In: a revision, and the types to list as they become known (which version of a custom resource is read is in its
//! CRD, and CRDs are listed here too). Out: each type's objects, canonical and hashed, in the order of the types, so
//! that a compressed frame holds one kind. A few listers run ahead of the one that writes; how far is bounded by the bytes
//! that wait ([`Room`]) and by two pages a lister (one is fetched, one is in work), whatever a cluster holds.
//!
//! ```text
//!   queue ─> lister 1 ── page ─> canonical, hashed (a blocking thread) ─┐  one channel a type,
//!            lister 2 ── …                                              ├─ read in the order of the types ─> writer
//!            lister 4 ── …                                             ─┘
//! ```

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{AcquireError, Mutex, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::canonical::canonical_object;
use super::path::ObjectPath;
use super::selection::Selection;
use crate::cluster::{Cluster, ClusterError, CustomResourceDefinition, ListError, ListPage, ListReader, ServedType};
use crate::store::{Blob, FrameGroup};

/// Objects that may wait to be written, in KiB. The CRDs are written first, and listing them takes as long as half of all
/// else (measured at 12,000 objects with 200 CRDs): this is for what comes meanwhile. A capture of 100,000 objects takes
/// 100 MB with 8 MiB and 117 with this.
const WAITING_KIB: u32 = 24 << 10;

/// A type to list, and where.
#[derive(Clone, Debug)]
pub(super) struct ListJob {
    pub(super) served: ServedType,
    /// One, or one for each namespace that is selected.
    pub(super) urls: Vec<String>,
}

impl ListJob {
    /// All objects of a type.
    pub(super) fn whole(served: &ServedType) -> Self {
        Self { served: served.clone(), urls: vec![served.list_url(None)] }
    }
}

/// An object on its way to the store.
#[derive(Debug)]
pub(super) struct CapturedObject {
    pub(super) path: String,
    pub(super) blob: Blob,
    pub(super) group: FrameGroup,
}

/// What a page came to.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Those of its objects that are selected.
    pub(super) objects: Vec<CapturedObject>,
    /// Of a page of CRDs: what they define, selected or not.
    pub(super) definitions: Vec<CustomResourceDefinition>,
    /// Given back when the writer has taken it all.
    room: Option<OwnedSemaphorePermit>,
}

impl Batch {
    fn kib(&self) -> u32 {
        let bytes: usize = self.objects.iter().map(|object| object.path.len() + object.blob.bytes().len()).sum();
        u32::try_from(bytes >> 10).unwrap_or(u32::MAX).clamp(1, WAITING_KIB)
    }
}

/// Why a type could not be listed to its end.
#[derive(Debug)]
pub(super) enum ListFailure {
    /// The revision is lost: every type has to be listed anew at another one.
    Restart(String),
    /// This type cannot be read; others can.
    Unlistable { status: u16, reason: String },
    /// Nothing can be read.
    Fatal(ClusterError),
}

impl From<ListError> for ListFailure {
    fn from(error: ListError) -> Self {
        match error {
            ListError::Cluster(ClusterError::Api(answer)) => match answer.status {
                // It was there at discovery.
                404 => Self::Restart(format!("{} went away", answer.path)),
                status => Self::Unlistable { status, reason: answer.message },
            },
            ListError::Cluster(error) => Self::Fatal(error),
            lost => Self::Restart(lost.to_string()),
        }
    }
}

/// What a lister says.
#[derive(Debug)]
enum Word {
    Batch(Batch),
    End(Result<(), ListFailure>),
}

/// A type in the queue: what to list, what of it is selected, and where to say it.
struct Task {
    /// Its place in the order.
    number: u64,
    job: ListJob,
    selection: Arc<Selection>,
    words: mpsc::UnboundedSender<Word>,
}

/// How much may wait for the writer. The type that is being written needs none of the common room, which later types may
/// have filled: it has room of its own, for one batch at a time. So the writer never waits for itself.
#[derive(Clone)]
struct Room {
    common: Arc<Semaphore>,
    own: Arc<Semaphore>,
    /// The type that is being written.
    written: watch::Receiver<u64>,
}

impl Room {
    async fn take(&self, number: u64, kib: u32) -> Result<OwnedSemaphorePermit, AcquireError> {
        let mut written = self.written.clone();
        tokio::select! {
            biased;
            permit = Arc::clone(&self.common).acquire_many_owned(kib) => permit,
            permit = async {
                // An error means that nobody writes any more, which is noticed where the batch is sent.
                let _ = written.wait_for(|written| *written >= number).await;
                Arc::clone(&self.own).acquire_owned().await
            } => permit,
        }
    }
}

/// The listers at work. Dropping it ends them.
pub(super) struct Listing {
    types: VecDeque<(ServedType, mpsc::UnboundedReceiver<Word>)>,
    queue: mpsc::UnboundedSender<Task>,
    /// How many types were added.
    added: u64,
    written: watch::Sender<u64>,
    _listers: JoinSet<()>,
}

/// A type's objects as they come.
pub(super) struct TypeListing {
    pub(super) served: ServedType,
    words: mpsc::UnboundedReceiver<Word>,
}

impl Listing {
    /// Starts `parallel` listers, with nothing to do yet.
    pub(super) fn start(cluster: &Cluster, revision: u64, parallel: usize) -> Self {
        let (queue, tasks) = mpsc::unbounded_channel::<Task>();
        let tasks = Arc::new(Mutex::new(tasks));
        let written = watch::Sender::new(0);
        let room = Room {
            common: Arc::new(Semaphore::new(WAITING_KIB as usize)),
            own: Arc::new(Semaphore::new(1)),
            written: written.subscribe(),
        };
        let mut listers = JoinSet::new();
        for _ in 0..parallel.max(1) {
            let (cluster, tasks, room) = (cluster.clone(), Arc::clone(&tasks), room.clone());
            listers.spawn(async move {
                // They take the types in their order, so that the one that is written next is never behind others.
                loop {
                    let task = tasks.lock().await.recv().await;
                    let Some(task) = task else { return };
                    let end = list(&cluster, &task, revision, &room).await;
                    if task.words.send(Word::End(end)).is_err() {
                        return;
                    }
                }
            });
        }
        Self { types: VecDeque::new(), queue, added: 0, written, _listers: listers }
    }

    /// Puts types behind those that are there already.
    pub(super) fn add(&mut self, jobs: Vec<ListJob>, selection: &Arc<Selection>) {
        for job in jobs {
            // What waits in it is bounded by `Room`.
            let (words, receiver) = mpsc::unbounded_channel();
            self.types.push_back((job.served.clone(), receiver));
            self.added += 1;
            // Listers that have stopped are noticed where their words are missed.
            let _ = self.queue.send(Task { number: self.added, job, selection: Arc::clone(selection), words });
        }
    }

    /// The next type, in their order; `None` when every one that was added has come.
    pub(super) fn next_type(&mut self) -> Option<TypeListing> {
        let (served, words) = self.types.pop_front()?;
        self.written.send_modify(|written| *written += 1);
        Some(TypeListing { served, words })
    }
}

impl TypeListing {
    /// The next objects; `None` when all have come.
    pub(super) async fn next(&mut self) -> Result<Option<Batch>, ListFailure> {
        match self.words.recv().await {
            Some(Word::Batch(batch)) => Ok(Some(batch)),
            Some(Word::End(end)) => end.map(|()| None),
            None => Err(ListFailure::Restart(format!("the lister of {} stopped", self.served.full_name()))),
        }
    }
}

/// Lists a type. While one page is made canonical, the next one is fetched.
async fn list(cluster: &Cluster, task: &Task, revision: u64, room: &Room) -> Result<(), ListFailure> {
    let mut in_work: Option<JoinHandle<Result<Batch, ListFailure>>> = None;
    for url in &task.job.urls {
        let mut reader = ListReader::exact(cluster, url.clone(), revision);
        while let Some(page) = next_page(cluster, &mut reader).await? {
            if page.is_empty() {
                continue;
            }
            if let Some(batch) = in_work.take() {
                say(batch, task, room).await?;
            }
            let (served, selection) = (task.job.served.clone(), Arc::clone(&task.selection));
            in_work = Some(tokio::task::spawn_blocking(move || batch_of(&page, &served, &selection)));
        }
    }
    match in_work {
        Some(batch) => say(batch, task, room).await,
        None => Ok(()),
    }
}

async fn say(batch: JoinHandle<Result<Batch, ListFailure>>, task: &Task, room: &Room) -> Result<(), ListFailure> {
    let mut batch = batch.await.map_err(|error| ListFailure::Restart(error.to_string()))??;
    let unheard = || ListFailure::Restart("nobody listens any more".to_owned());
    batch.room = Some(room.take(task.number, batch.kib()).await.map_err(|_| unheard())?);
    task.words.send(Word::Batch(batch)).map_err(|_| unheard())
}

/// A server that is busy or away was asked again for a while already (`cluster::request`): if it is not even ready, then
/// this is no matter of one type, and asking for each of the others would take hours.
async fn next_page(cluster: &Cluster, reader: &mut ListReader<'_>) -> Result<Option<ListPage>, ListFailure> {
    match reader.next().await {
        Ok(page) => Ok(page),
        Err(ListError::Cluster(ClusterError::Api(answer))) if matches!(answer.status, 429 | 500..) => {
            cluster.ready().await.map_err(ListFailure::Fatal)?;
            Err(ListError::Cluster(ClusterError::Api(answer)).into())
        }
        Err(other) => Err(other.into()),
    }
}

/// A page's objects that are selected, canonical and hashed. Work for a blocking thread.
fn batch_of(page: &ListPage, served: &ServedType, selection: &Selection) -> Result<Batch, ListFailure> {
    let api_version = served.api_version();
    let mut batch = Batch { objects: Vec::with_capacity(page.len()), ..Batch::default() };
    for item in page.items() {
        if served.defines_types() {
            batch.definitions.push(CustomResourceDefinition::parse(item).map_err(ListFailure::Fatal)?);
        }
        let (identity, bytes) = canonical_object(item, &api_version, &served.kind)
            .map_err(|error| ListFailure::Unlistable { status: 0, reason: error.to_string() })?;
        let secret = served.group.is_empty() && served.resource == "secrets";
        let group = match &identity.namespace {
            Some(namespace) if secret => FrameGroup::Apart(namespace.clone()),
            _ => FrameGroup::Shared,
        };
        let path = ObjectPath {
            group: served.group.clone(),
            resource: served.resource.clone(),
            namespace: identity.namespace,
            name: identity.name,
        }
        .to_tree_path();
        if selection.includes_path(&path) {
            batch.objects.push(CapturedObject { path, blob: Blob::new(Bytes::from(bytes)), group });
        }
    }
    Ok(batch)
}
