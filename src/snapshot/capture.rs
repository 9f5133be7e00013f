//! A cluster at one revision, into a snapshot.
//!
//! In: a connection, what is selected, a snapshot being written. Out: every selected object below `cluster/`, and
//! `cluster/_types.json`. Invariants: I4 (one revision, complete, or says exactly what is missing); an attempt that
//! cannot be finished at its revision leaves nothing of itself in the snapshot; memory does not grow with the cluster.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::canonical::CanonicalError;
use super::census::{Census, LostType};
use super::listing::{CapturedObject, ListFailure, ListJob, Listing, TypeListing};
use super::outcome::{
    ClusterCapture, LIST, NOT_SELECTED, crd_type, folder, lost_record, remote_record, summary, unlistable,
};
use super::path::TYPES_PATH;
use super::pattern::SelectionError;
use super::read_versions::choose_versions;
use super::selection::Selection;
use super::type_names::TypeNames;
use super::types_document::{TypeRecord, TypeState, TypesDocument};
use crate::cluster::{Cluster, ClusterError, CustomResourceDefinition, ServedType, TypeOrigin};
use crate::progress::{Progress, ProgressEvent};
use crate::store::{Blob, ContentHash, FrameGroup, SnapshotWriter, StoreError};

/// How often a capture begins anew before it gives up (the issue: three times).
const MOST_RESTARTS: u32 = 3;
/// Before an attempt that follows a lost one: types that come or go need a moment.
const RESTART_PAUSE: Duration = Duration::from_millis(500);

/// What to capture, and how hard to press.
#[derive(Clone, Debug)]
pub struct CaptureOptions {
    /// Which objects.
    pub selection: Selection,
    /// Events and Leases too.
    pub with_events: bool,
    /// How many types are listed at once.
    pub parallel: usize,
    /// Versions of custom types, by group and plural name, that are read instead of their storage versions where they
    /// can be: those of a snapshot that the capture is compared with.
    pub versions: BTreeMap<(String, String), String>,
}

impl Default for CaptureOptions {
    fn default() -> Self {
        Self { selection: Selection::everything(), with_events: false, parallel: 4, versions: BTreeMap::new() }
    }
}

/// A capture that gave nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// The cluster cannot be read.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The snapshot cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The selection names what the cluster does not have.
    #[error(transparent)]
    Selection(#[from] SelectionError),
    /// An object that is not one.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
    /// The parent snapshot's list of types is not one.
    #[error("`{TYPES_PATH}` of the snapshot before this one cannot be read")]
    ParentTypes(#[source] serde_json::Error),
    /// The list of types cannot be written as JSON.
    #[error("the list of types cannot be written")]
    Types(#[source] serde_json::Error),
    /// The cluster never held still.
    #[error("no single revision could be captured in {attempts} attempts: {reason}")]
    NeverStill {
        /// How many revisions were tried.
        attempts: u32,
        /// Why the last one was given up.
        reason: String,
    },
}

/// An attempt that did not end well.
enum Lost {
    /// Another revision may do.
    Restart(String),
    /// None will.
    Fatal(CaptureError),
}

impl<E: Into<CaptureError>> From<E> for Lost {
    fn from(error: E) -> Self {
        Self::Fatal(error.into())
    }
}

/// Lists every selected type at one revision and writes it below `cluster/`.
///
/// # Errors
/// The cluster cannot be read or never holds still, the snapshot cannot be written, or the selection names nothing.
/// A type that cannot be listed is no error: it is named in the result.
pub async fn capture_cluster(
    cluster: &Cluster,
    options: &CaptureOptions,
    writer: &mut SnapshotWriter,
    progress: &dyn Progress,
) -> Result<ClusterCapture, CaptureError> {
    progress.report(ProgressEvent::Stage("reading the cluster".to_owned()));
    let parent = match writer.parent() {
        Some(tree) => tree.read(TYPES_PATH).await?,
        None => None,
    };
    let parent = parent.map(|bytes| TypesDocument::parse(&bytes)).transpose().map_err(CaptureError::ParentTypes)?;
    let expected: u64 = parent.iter().flat_map(|parent| &parent.types).filter_map(TypeRecord::objects).sum();
    if expected > 0 {
        progress.report(ProgressEvent::Expect(expected));
    }
    let mut attempts = 1;
    loop {
        let mut attempt = Attempt { cluster, options, parent: parent.as_ref(), writer: &mut *writer, progress };
        match attempt.run().await {
            Ok(capture) => return Ok(ClusterCapture { attempts, ..capture }),
            Err(Lost::Fatal(error)) => return Err(error),
            Err(Lost::Restart(reason)) if attempts > MOST_RESTARTS => {
                return Err(CaptureError::NeverStill { attempts, reason });
            }
            Err(Lost::Restart(reason)) => {
                progress.report(ProgressEvent::Note(format!("beginning anew at another revision: {reason}")));
                writer.discard("cluster");
                attempts += 1;
                tokio::time::sleep(RESTART_PAUSE).await;
            }
        }
    }
}

/// What makes snapshots comparable: the same cluster and the same filters.
pub fn series(identity: &str, selection: &Selection) -> ContentHash {
    ContentHash::of(format!("{identity}\n{}", selection.canonical_text()).as_bytes())
}

/// One revision's try.
struct Attempt<'a> {
    cluster: &'a Cluster,
    options: &'a CaptureOptions,
    parent: Option<&'a TypesDocument>,
    writer: &'a mut SnapshotWriter,
    progress: &'a dyn Progress,
}

impl Attempt<'_> {
    async fn run(&mut self) -> Result<ClusterCapture, Lost> {
        let mut census = Census::take(self.cluster).await?;
        let mut listing = Listing::start(self.cluster, census.revision, self.options.parallel);
        let mut records = Vec::new();

        // The CRDs first: they say which version of every custom resource is read. Whatever does not depend on them is
        // listed meanwhile.
        let first_types = census.types(&BTreeMap::new());
        let crd_type = crd_type(&first_types);
        // A type that is named and not known yet is no error here: it may be in discovery a moment later.
        let early = self.resolve(&first_types).ok().map(Arc::new);
        let all_crds = early.clone().unwrap_or_else(|| Arc::new(self.options.selection.clone()));
        listing.add(vec![ListJob::whole(&crd_type)], &all_crds);
        let begun = early.map_or_else(Vec::new, |selection| {
            let jobs = self.early_jobs(&census, first_types, &selection);
            listing.add(jobs.clone(), &selection);
            jobs
        });
        let crds = self.crds(&mut listing, &crd_type, &mut records).await?;

        let mut known_crds = crds.clone().unwrap_or_default();
        choose_versions(self.cluster, &mut known_crds, &self.options.versions).await?;
        let lost = census.settle(self.cluster, &known_crds, self.parent).await?;
        let types = census.types(&known_crds);
        let selection = Arc::new(self.resolve(&types)?);
        let Fates { jobs, kept } = self.fates(&types, &selection, &lost, &begun, &mut records);
        for ((group, version), service) in &census.services.remote {
            records.push(remote_record(group, version, service));
        }
        listing.add(jobs, &selection);
        let mut early = begun.len();
        while let Some(mut listed) = listing.next_type() {
            let (state, _) = self.write_type(&mut listed).await?;
            let is_it = |other: &&ServedType| is_listed_alike(other, &listed.served);
            if early > 0 {
                early -= 1;
                match kept.iter().find(is_it) {
                    Some(served) => records.push(TypeRecord::new(served, state)),
                    // The CRDs, or discovery read again, have it otherwise: it is recorded already, or in the queue once
                    // more.
                    None => self.writer.discard(&folder(&listed.served)),
                }
            } else {
                records.push(TypeRecord::new(&listed.served, state));
            }
        }

        if let Some(reason) = census.changed_since(self.cluster, crds.as_ref()).await? {
            return Err(Lost::Restart(reason));
        }
        let document = TypesDocument::new(&census.kubernetes, records);
        let bytes = document.to_bytes().map_err(CaptureError::Types)?;
        self.writer.put(TYPES_PATH, Blob::new(Bytes::from(bytes)), FrameGroup::Shared).await?;
        Ok(summary(&census, &document))
    }

    /// Kinds, short names and categories, as the cluster has them, or the parent snapshot where the cluster lost them.
    fn resolve(&self, types: &[ServedType]) -> Result<Selection, SelectionError> {
        let mut names: Vec<TypeNames> = types.iter().map(TypeNames::from).collect();
        for record in self.parent.iter().flat_map(|parent| &parent.types) {
            if !names.iter().any(|known| known.group == record.group && known.resource == record.resource) {
                names.push(TypeNames::from(record));
            }
        }
        self.options.selection.resolve(&names)
    }

    /// What becomes of every type but the CRDs, some of which are being listed already. What is not listed is recorded.
    fn fates(
        &self,
        types: &[ServedType],
        selection: &Selection,
        lost: &[LostType],
        begun: &[ListJob],
        records: &mut Vec<TypeRecord>,
    ) -> Fates {
        let mut fates = Fates::default();
        for served in types.iter().filter(|served| !served.defines_types()) {
            match self.fate(served, selection, lost) {
                Fate::Silent => {}
                Fate::Recorded(state) => records.push(TypeRecord::new(served, state)),
                Fate::Listed(urls) if is_begun(begun, served, &urls) => fates.kept.push(served.clone()),
                Fate::Listed(urls) => fates.jobs.push(ListJob { served: served.clone(), urls }),
            }
        }
        for lost in lost {
            let mut listed = fates.jobs.iter().map(|job| &job.served).chain(&fates.kept);
            let known = listed.any(|served| lost.is(&served.group, &served.resource))
                || records.iter().any(|record| lost.is(&record.group, &record.resource));
            if !known {
                records.extend(lost_record(lost, selection));
            }
        }
        fates
    }

    /// What becomes of a type.
    fn fate(&self, served: &ServedType, selection: &Selection, lost: &[LostType]) -> Fate {
        let skipped = |reason: &str| Fate::Recorded(TypeState::Skipped { reason: reason.to_owned() });
        if !served.can(LIST) {
            // What can neither be listed nor read holds no objects: TokenReviews, Bindings.
            return if served.can("get") { skipped("the API server cannot list it") } else { Fate::Silent };
        }
        if let TypeOrigin::Remote { .. } = served.origin {
            // Its group version is recorded as a whole, so that a backend that comes and goes changes nothing.
            return Fate::Silent;
        }
        match (served.group.as_str(), served.resource.as_str()) {
            ("", "componentstatuses") => return skipped("a view that is not stored"),
            ("events.k8s.io", "events") => return skipped("the same objects as core events"),
            ("", "events") | ("coordination.k8s.io", "leases") if !self.options.with_events => {
                return skipped("not asked for");
            }
            _ => {}
        }
        if !selection.may_include_type(&served.group, &served.resource) {
            return skipped(NOT_SELECTED);
        }
        if let Some(lost) = lost.iter().find(|lost| lost.is(&served.group, &served.resource)) {
            return Fate::Recorded(unlistable(0, lost.reason.clone()));
        }
        let namespaces = selection.namespaces(&served.group, &served.resource).filter(|_| served.namespaced);
        Fate::Listed(match namespaces {
            Some(namespaces) => namespaces.iter().map(|namespace| served.list_url(Some(namespace))).collect(),
            None => vec![served.list_url(None)],
        })
    }

    /// What is listed of the types whose version no CRD decides about.
    fn early_jobs(&self, census: &Census, types: Vec<ServedType>, selection: &Selection) -> Vec<ListJob> {
        let mut jobs = Vec::new();
        for served in types {
            if census.has_one_reading(&served)
                && !served.defines_types()
                && let Fate::Listed(urls) = self.fate(&served, selection, &[])
            {
                jobs.push(ListJob { served, urls });
            }
        }
        jobs
    }

    /// Writes the CRDs, which come first, and keeps of each what decides how its objects are read; `None` when they
    /// cannot be listed.
    async fn crds(
        &mut self,
        listing: &mut Listing,
        crd_type: &ServedType,
        records: &mut Vec<TypeRecord>,
    ) -> Result<Option<BTreeMap<String, CustomResourceDefinition>>, Lost> {
        let Some(mut listed) = listing.next_type() else { return Ok(None) };
        let (state, definitions) = self.write_type(&mut listed).await?;
        let captured = matches!(state, TypeState::Captured { .. });
        let selected = self.options.selection.may_include_type(&crd_type.group, &crd_type.resource);
        let skipped = TypeState::Skipped { reason: NOT_SELECTED.to_owned() };
        records.push(TypeRecord::new(crd_type, if selected { state } else { skipped }));
        Ok(captured.then(|| definitions.into_iter().map(|crd| (crd.name.clone(), crd)).collect()))
    }

    /// Writes a type's objects as they come.
    async fn write_type(
        &mut self,
        listed: &mut TypeListing,
    ) -> Result<(TypeState, Vec<CustomResourceDefinition>), Lost> {
        let mut objects = 0;
        let mut definitions = Vec::new();
        loop {
            match listed.next().await {
                Ok(Some(mut batch)) => {
                    objects += self.write(std::mem::take(&mut batch.objects)).await?;
                    definitions.extend(batch.definitions);
                }
                Ok(None) => return Ok((TypeState::Captured { objects }, definitions)),
                Err(ListFailure::Unlistable { status, reason }) => {
                    // A part of a type would look like all of it.
                    self.writer.discard(&folder(&listed.served));
                    return Ok((unlistable(status, reason), Vec::new()));
                }
                Err(ListFailure::Restart(reason)) => return Err(Lost::Restart(reason)),
                Err(ListFailure::Fatal(error)) => return Err(error.into()),
            }
        }
    }

    async fn write(&mut self, objects: Vec<CapturedObject>) -> Result<u64, StoreError> {
        let count = objects.len() as u64;
        for CapturedObject { path, blob, group } in objects {
            self.writer.put(&path, blob, group).await?;
        }
        self.progress.report(ProgressEvent::Done(count));
        Ok(count)
    }
}

/// A list of either gives the same objects: what else is known of the type comes from its CRD.
fn is_listed_alike(one: &ServedType, other: &ServedType) -> bool {
    (&one.group, &one.version, &one.resource, &one.kind) == (&other.group, &other.version, &other.resource, &other.kind)
}

fn is_begun(begun: &[ListJob], served: &ServedType, urls: &[String]) -> bool {
    begun.iter().any(|job| is_listed_alike(&job.served, served) && job.urls == urls)
}

#[derive(Default)]
struct Fates {
    /// To be listed.
    jobs: Vec<ListJob>,
    /// What was begun early, and is as it was then.
    kept: Vec<ServedType>,
}

enum Fate {
    /// It holds no objects, or is recorded elsewhere.
    Silent,
    Recorded(TypeState),
    Listed(Vec<String>),
}
