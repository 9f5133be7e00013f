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
use super::listing::{CapturedObject, ListFailure, ListJob, Listing, objects_of};
use super::outcome::{
    ClusterCapture, LIST, NOT_SELECTED, crd_type, folder, lost_record, remote_record, summary, unlistable,
};
use super::path::TYPES_PATH;
use super::selection::{Selection, SelectionError, TypeNames};
use super::types_document::{TypeRecord, TypeState, TypesDocument};
use crate::cluster::{CRDS_URL, Cluster, ClusterError, CustomResourceDefinition, ListReader, ServedType, TypeOrigin};
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
}

impl Default for CaptureOptions {
    fn default() -> Self {
        Self { selection: Selection::everything(), with_events: false, parallel: 4 }
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
        let mut records = Vec::new();

        // The CRDs first: they say which version of every custom resource is read.
        let crd_type = crd_type(&census);
        // A type that is named and not known yet is no error here: it may be in discovery a moment later.
        let names = self.resolve(&census.types(&BTreeMap::new())).unwrap_or_else(|_| self.options.selection.clone());
        let crds = match self.crds(&crd_type, census.revision, &Arc::new(names)).await {
            Ok((objects, crds)) => {
                records.push(self.record_crds(&crd_type, TypeState::Captured { objects }));
                Some(crds)
            }
            Err(CrdFailure::Unlistable { status, reason }) => {
                records.push(self.record_crds(&crd_type, unlistable(status, reason)));
                None
            }
            Err(CrdFailure::Lost(lost)) => return Err(lost),
        };
        let known_crds = crds.clone().unwrap_or_default();
        let lost = census.settle(self.cluster, &known_crds, self.parent).await?;
        let types = census.types(&known_crds);
        let selection = Arc::new(self.resolve(&types)?);

        let mut jobs = Vec::new();
        for served in types {
            if served.group == crd_type.group && served.resource == crd_type.resource {
                continue;
            }
            match self.fate(&served, &selection, &lost) {
                Fate::Silent => {}
                Fate::Recorded(state) => records.push(TypeRecord::new(&served, state)),
                Fate::Listed(urls) => jobs.push(ListJob { served, urls }),
            }
        }
        for lost in &lost {
            records.extend(lost_record(lost, &selection, &records, &jobs));
        }
        for ((group, version), service) in &census.services.remote {
            records.push(remote_record(group, version, service));
        }
        self.list(jobs, census.revision, &selection, &mut records).await?;

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
        if let Some(lost) = lost.iter().find(|lost| lost.group == served.group && lost.resource == served.resource) {
            return Fate::Recorded(unlistable(0, lost.reason.clone()));
        }
        let namespaces = selection.namespaces(&served.group, &served.resource).filter(|_| served.namespaced);
        Fate::Listed(match namespaces {
            Some(namespaces) => namespaces.iter().map(|namespace| served.list_url(Some(namespace))).collect(),
            None => vec![served.list_url(None)],
        })
    }

    async fn list(
        &mut self,
        jobs: Vec<ListJob>,
        revision: u64,
        selection: &Arc<Selection>,
        records: &mut Vec<TypeRecord>,
    ) -> Result<(), Lost> {
        let mut listing = Listing::start(self.cluster, jobs, revision, selection, self.options.parallel);
        while let Some(mut listed) = listing.next_type().await {
            let mut objects = 0;
            let state = loop {
                match listed.next().await {
                    Ok(Some(batch)) => objects += self.write(batch).await?,
                    Ok(None) => break TypeState::Captured { objects },
                    Err(ListFailure::Unlistable { status, reason }) => {
                        // A part of a type would look like all of it.
                        self.writer.discard(&folder(&listed.served));
                        self.progress.report(ProgressEvent::Note(format!(
                            "cannot list {}: {reason}",
                            listed.served.full_name()
                        )));
                        break unlistable(status, reason);
                    }
                    Err(ListFailure::Restart(reason)) => return Err(Lost::Restart(reason)),
                    Err(ListFailure::Fatal(error)) => return Err(error.into()),
                }
            };
            records.push(TypeRecord::new(&listed.served, state));
        }
        Ok(())
    }

    async fn write(&mut self, objects: Vec<CapturedObject>) -> Result<u64, StoreError> {
        let count = objects.len() as u64;
        for CapturedObject { path, blob, group } in objects {
            self.writer.put(&path, blob, group).await?;
        }
        self.progress.report(ProgressEvent::Done(count));
        Ok(count)
    }

    /// Lists and writes the CRDs, and keeps of each what decides how its objects are read.
    async fn crds(
        &mut self,
        crd_type: &ServedType,
        revision: u64,
        selection: &Arc<Selection>,
    ) -> Result<(u64, BTreeMap<String, CustomResourceDefinition>), CrdFailure> {
        let mut reader = ListReader::exact(self.cluster, CRDS_URL.to_owned(), revision);
        let mut crds = BTreeMap::new();
        let mut count = 0;
        while let Some(page) = reader.next().await.map_err(ListFailure::from)? {
            let (served, selection) = (crd_type.clone(), Arc::clone(selection));
            let work = tokio::task::spawn_blocking(move || {
                let known: Result<Vec<_>, _> = page.items().map(CustomResourceDefinition::parse).collect();
                Ok::<_, ListFailure>((known.map_err(ListFailure::Fatal)?, objects_of(&page, &served, &selection)?))
            });
            let (known, objects) = work.await.map_err(|error| ListFailure::Restart(error.to_string()))??;
            crds.extend(known.into_iter().map(|crd| (crd.name.clone(), crd)));
            count += self.write(objects).await.map_err(Lost::from)?;
        }
        Ok((count, crds))
    }

    fn record_crds(&self, crd_type: &ServedType, state: TypeState) -> TypeRecord {
        let selected = self.options.selection.may_include_type(&crd_type.group, &crd_type.resource);
        let skipped = TypeState::Skipped { reason: NOT_SELECTED.to_owned() };
        TypeRecord::new(crd_type, if selected { state } else { skipped })
    }
}

enum Fate {
    /// It holds no objects, or is recorded elsewhere.
    Silent,
    Recorded(TypeState),
    Listed(Vec<String>),
}

/// As [`ListFailure`], once a restart or worse is told apart from a type that is merely missing.
enum CrdFailure {
    Unlistable { status: u16, reason: String },
    Lost(Lost),
}

impl From<ListFailure> for CrdFailure {
    fn from(failure: ListFailure) -> Self {
        match failure {
            ListFailure::Unlistable { status, reason } => Self::Unlistable { status, reason },
            ListFailure::Restart(reason) => Self::Lost(Lost::Restart(reason)),
            ListFailure::Fatal(error) => Self::Lost(error.into()),
        }
    }
}

impl From<Lost> for CrdFailure {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}
