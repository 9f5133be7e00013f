//! Many types listed at once, written one after the other.
//!
//! In: the types to list, and a revision. Out: each type's objects, canonical and hashed, in the order of the types, so
//! that a compressed frame holds one kind. A few listers run ahead of the one that writes; how far is bounded by a
//! permit a type and by one waiting page a type, whatever a cluster holds.
//!
//! ```text
//!   lister 1 ── page ─> canonical, hashed (a blocking thread) ─┐  one channel a type,
//!   lister 2 ── …                                              ├─ read in the order of the types ─> writer
//!   lister 4 ── …                                             ─┘
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;

use super::canonical::canonical_object;
use super::path::ObjectPath;
use super::selection::Selection;
use crate::cluster::{Cluster, ClusterError, ListError, ListPage, ListReader, ServedType};
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

/// An object on its way to the store.
#[derive(Debug)]
pub(super) struct CapturedObject {
    pub(super) path: String,
    pub(super) blob: Blob,
    pub(super) group: FrameGroup,
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
    Objects(Vec<CapturedObject>),
    End(Result<(), ListFailure>),
}

/// The listers at work. Dropping it ends them.
pub(super) struct Listing {
    types: std::vec::IntoIter<(ServedType, mpsc::Receiver<Word>)>,
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
    /// Starts `parallel` listers.
    pub(super) fn start(
        cluster: &Cluster,
        jobs: Vec<ListJob>,
        revision: u64,
        selection: &Arc<Selection>,
        parallel: usize,
    ) -> Self {
        let parallel = parallel.max(1);
        let mut types = Vec::with_capacity(jobs.len());
        let mut work = Vec::with_capacity(jobs.len());
        for job in jobs {
            let (sender, receiver) = mpsc::channel(1);
            types.push((job.served.clone(), receiver));
            work.push((job, sender));
        }
        let work = Arc::new(work);
        let next = Arc::new(AtomicUsize::new(0));
        let permits = Arc::new(Semaphore::new(parallel + WAITING_TYPES));
        let (start, started) = mpsc::unbounded_channel();
        let mut listers = JoinSet::new();
        for _ in 0..parallel {
            let (cluster, selection) = (cluster.clone(), Arc::clone(selection));
            let (work, next, permits, start) =
                (Arc::clone(&work), Arc::clone(&next), Arc::clone(&permits), start.clone());
            listers.spawn(async move {
                // A permit first and then the next type: so the type that is written next always has one.
                while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
                    let Some((job, words)) = work.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
                    if start.send(permit).is_err() {
                        return;
                    }
                    let end = list(&cluster, job, revision, &selection, words).await;
                    if words.send(Word::End(end)).await.is_err() {
                        return;
                    }
                }
            });
        }
        Self { types: types.into_iter(), started, _listers: listers }
    }

    /// The next type, in their order.
    pub(super) async fn next_type(&mut self) -> Option<TypeListing> {
        let (served, words) = self.types.next()?;
        Some(TypeListing { served, words, _permit: self.started.recv().await })
    }
}

impl TypeListing {
    /// The next objects; `None` when all have come.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<CapturedObject>>, ListFailure> {
        match self.words.recv().await {
            Some(Word::Objects(objects)) => Ok(Some(objects)),
            Some(Word::End(end)) => end.map(|()| None),
            None => Err(ListFailure::Restart(format!("the lister of {} stopped", self.served.full_name()))),
        }
    }
}

async fn list(
    cluster: &Cluster,
    job: &ListJob,
    revision: u64,
    selection: &Arc<Selection>,
    words: &mpsc::Sender<Word>,
) -> Result<(), ListFailure> {
    for url in &job.urls {
        let mut reader = ListReader::exact(cluster, url.clone(), revision);
        while let Some(page) = next_page(cluster, &mut reader).await? {
            if page.is_empty() {
                continue;
            }
            let (served, selection) = (job.served.clone(), Arc::clone(selection));
            let objects = tokio::task::spawn_blocking(move || objects_of(&page, &served, &selection)).await;
            let objects = objects.map_err(|error| ListFailure::Restart(error.to_string()))??;
            if words.send(Word::Objects(objects)).await.is_err() {
                return Err(ListFailure::Restart("nobody listens any more".to_owned()));
            }
        }
    }
    Ok(())
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
pub(super) fn objects_of(
    page: &ListPage,
    served: &ServedType,
    selection: &Selection,
) -> Result<Vec<CapturedObject>, ListFailure> {
    let api_version = served.api_version();
    let mut objects = Vec::with_capacity(page.len());
    for item in page.items() {
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
            objects.push(CapturedObject { path, blob: Blob::new(Bytes::from(bytes)), group });
        }
    }
    Ok(objects)
}
