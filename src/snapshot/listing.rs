//! Many types listed at once, written one after the other.
//!
//! In: a revision, and the types to list as they become known (which version of a custom resource is read is in its
//! CRD, and CRDs are listed here too). Out: each type's objects, canonical and hashed, in the order of the types, so
//! that a compressed frame holds one kind. A few listers run ahead of the one that writes; how far is bounded by a
//! permit a type and by two pages a type (one waits, one is in work), whatever a cluster holds.
//!
//! ```text
//!   queue ─> lister 1 ── page ─> canonical, hashed (a blocking thread) ─┐  one channel a type,
//!            lister 2 ── …                                              ├─ read in the order of the types ─> writer
//!            lister 4 ── …                                             ─┘
//! ```

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet};

use super::canonical::canonical_object;
use super::path::ObjectPath;
use super::selection::Selection;
use crate::cluster::{Cluster, ClusterError, CustomResourceDefinition, ListError, ListPage, ListReader, ServedType};
use crate::store::{Blob, FrameGroup};

/// How many types beyond the listers' own may wait to be written.
const WAITING_TYPES: usize = 4;

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
type Task = (ListJob, Arc<Selection>, mpsc::Sender<Word>);

/// The listers at work. Dropping it ends them.
pub(super) struct Listing {
    types: VecDeque<(ServedType, mpsc::Receiver<Word>)>,
    queue: mpsc::UnboundedSender<Task>,
    started: mpsc::UnboundedReceiver<OwnedSemaphorePermit>,
    _listers: JoinSet<()>,
}

/// A type's objects as they come.
pub(super) struct TypeListing {
    pub(super) served: ServedType,
    words: mpsc::Receiver<Word>,
    /// Lets another lister begin a type when this one is written.
    _permit: Option<OwnedSemaphorePermit>,
}

impl Listing {
    /// Starts `parallel` listers, with nothing to do yet.
    pub(super) fn start(cluster: &Cluster, revision: u64, parallel: usize) -> Self {
        let parallel = parallel.max(1);
        let (queue, tasks) = mpsc::unbounded_channel::<Task>();
        let tasks = Arc::new(Mutex::new(tasks));
        let permits = Arc::new(Semaphore::new(parallel + WAITING_TYPES));
        let (start, started) = mpsc::unbounded_channel();
        let mut listers = JoinSet::new();
        for _ in 0..parallel {
            let (cluster, tasks) = (cluster.clone(), Arc::clone(&tasks));
            let (permits, start) = (Arc::clone(&permits), start.clone());
            listers.spawn(async move {
                // A permit first and then the next type: so the type that is written next always has one.
                while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
                    let task = tasks.lock().await.recv().await;
                    let Some((job, selection, words)) = task else { return };
                    if start.send(permit).is_err() {
                        return;
                    }
                    let end = list(&cluster, &job, revision, &selection, &words).await;
                    if words.send(Word::End(end)).await.is_err() {
                        return;
                    }
                }
            });
        }
        Self { types: VecDeque::new(), queue, started, _listers: listers }
    }

    /// Puts types behind those that are there already.
    pub(super) fn add(&mut self, jobs: Vec<ListJob>, selection: &Arc<Selection>) {
        for job in jobs {
            // One page waits to be written while the next one is fetched.
            let (sender, receiver) = mpsc::channel(1);
            self.types.push_back((job.served.clone(), receiver));
            // Listers that have stopped are noticed where their words are missed.
            let _ = self.queue.send((job, Arc::clone(selection), sender));
        }
    }

    /// The next type, in their order; `None` when every one that was added has come.
    pub(super) async fn next_type(&mut self) -> Option<TypeListing> {
        let (served, words) = self.types.pop_front()?;
        Some(TypeListing { served, words, _permit: self.started.recv().await })
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
async fn list(
    cluster: &Cluster,
    job: &ListJob,
    revision: u64,
    selection: &Arc<Selection>,
    words: &mpsc::Sender<Word>,
) -> Result<(), ListFailure> {
    let mut in_work: Option<JoinHandle<Result<Batch, ListFailure>>> = None;
    for url in &job.urls {
        let mut reader = ListReader::exact(cluster, url.clone(), revision);
        while let Some(page) = next_page(cluster, &mut reader).await? {
            if page.is_empty() {
                continue;
            }
            if let Some(batch) = in_work.take() {
                say(batch, words).await?;
            }
            let (served, selection) = (job.served.clone(), Arc::clone(selection));
            in_work = Some(tokio::task::spawn_blocking(move || batch_of(&page, &served, &selection)));
        }
    }
    match in_work {
        Some(batch) => say(batch, words).await,
        None => Ok(()),
    }
}

async fn say(batch: JoinHandle<Result<Batch, ListFailure>>, words: &mpsc::Sender<Word>) -> Result<(), ListFailure> {
    let batch = batch.await.map_err(|error| ListFailure::Restart(error.to_string()))??;
    let unheard = |_| ListFailure::Restart("nobody listens any more".to_owned());
    words.send(Word::Batch(batch)).await.map_err(unheard)
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
    let mut batch = Batch { objects: Vec::with_capacity(page.len()), definitions: Vec::new() };
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
