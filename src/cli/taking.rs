//! Taking a snapshot: capture, write, commit. `backup` does it, and `restore` before it changes anything.

use std::time::Instant;

use jiff::Timestamp;
use snapback::cluster::Cluster;
use snapback::snapshot::{CaptureOptions, ClusterCapture, Scope, Selection, UnlistableType, capture_cluster, series};
use snapback::source::{Sources, capture_sources};
use snapback::store::{
    ContentHash, Repository, Snapshot, SnapshotBody, SourceRecord, SourceState, StoreError, WrittenSnapshot,
};

use super::error::{Failure, Prefix};
use super::exit::Exit;
use super::progress::Shown;
use super::scope;
use super::session::{Opened, Session};
use super::snapshot_name::BEFORE_RESTORE;
use super::version::TOOL;

/// How many types are listed at once.
pub(crate) const PARALLEL: usize = 4;
/// How the cluster is called among the sources of a snapshot.
pub(crate) const CLUSTER: &str = "cluster";

/// What to take.
pub(crate) struct Request {
    /// Empty when none.
    pub(crate) label: String,
    /// Of the cluster and of the other sources.
    pub(crate) selection: Selection,
    /// Events and Leases too.
    pub(crate) with_events: bool,
    /// What there is beside the cluster.
    pub(crate) sources: Sources,
    /// What was left out of them, and why.
    pub(crate) left_out: Vec<SourceRecord>,
}

/// The whole cluster, whatever is restored of it: going back must be possible.
pub(crate) fn request_before() -> Result<Request, Failure> {
    Ok(Request {
        label: BEFORE_RESTORE.to_owned(),
        selection: Selection::new(&[], &[], Scope::Everything)?,
        with_events: false,
        sources: Sources::default(),
        left_out: Vec::new(),
    })
}

/// A snapshot that was taken.
pub(crate) struct Taken {
    /// As it was committed.
    pub(crate) snapshot: Snapshot,
    /// What of the cluster is in it.
    pub(crate) capture: ClusterCapture,
    /// Bytes that it added to the repository.
    pub(crate) new_bytes: u64,
    /// How long it took.
    pub(crate) seconds: f64,
}

/// Takes a snapshot. When what it builds on was given up meanwhile, it is taken once more, in full.
pub(crate) async fn take(
    session: &Session<'_>,
    opened: &Opened,
    cluster: &Cluster,
    request: &Request,
) -> Result<Taken, Failure> {
    let begun = Instant::now();
    let outcome = match attempt(session, opened, cluster, request, Mode::Incremental).await {
        Err(Stopped::MustBeFull(error)) => {
            session.output.message(Prefix::Note, &format!("{error}; taking it again"));
            attempt(session, opened, cluster, request, Mode::Full).await
        }
        outcome => outcome,
    };
    match outcome {
        Ok(taken) => Ok(Taken { seconds: begun.elapsed().as_secs_f64(), ..taken }),
        Err(stopped) => Err(with_repository_gone(session, stopped.into_failure()).await),
    }
}

/// A repository that went away shows as a file that cannot be made or a log that is empty: that says nothing to anyone.
async fn with_repository_gone(session: &Session<'_>, failure: Failure) -> Failure {
    let Ok(backend) = session.backend().await else { return failure };
    let place = backend.place();
    if !matches!(Repository::open(backend).await, Err(StoreError::Missing { .. } | StoreError::NotARepository { .. })) {
        return failure;
    }
    let text = format!("the repository at `{place}` went away while it was written to, and the snapshot with it");
    let mut gone = Failure::new(Exit::Failed, text)
        .hint("was its folder removed, or its disk unmounted? when it is back, run the command again")
        .hint(format!("what lies at `{place}` now is only what was written since, and of no use"));
    gone.causes = std::iter::once(failure.text).chain(failure.causes).collect();
    gone
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Incremental,
    Full,
}

enum Stopped {
    MustBeFull(StoreError),
    Failed(Failure),
}

impl Stopped {
    fn into_failure(self) -> Failure {
        match self {
            Self::MustBeFull(error) => error.into(),
            Self::Failed(failure) => failure,
        }
    }
}

impl<E: Into<Failure>> From<E> for Stopped {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

async fn attempt(
    session: &Session<'_>,
    opened: &Opened,
    cluster: &Cluster,
    request: &Request,
    mode: Mode,
) -> Result<Taken, Stopped> {
    let shown = Shown::new(session.output);
    let time = Timestamp::now();
    let series = series(&cluster.identity().await?, &request.selection);
    let mut writer = match mode {
        Mode::Incremental => opened.repository.begin(series).await?,
        Mode::Full => opened.repository.begin_full().await?,
    };
    let options = CaptureOptions {
        selection: request.selection.clone(),
        with_events: request.with_events,
        parallel: PARALLEL,
        ..CaptureOptions::default()
    };
    let capture = capture_cluster(cluster, &options, &mut writer, &shown).await?;
    let mut sources = vec![cluster_record(&capture)];
    let scratch = opened.repository.backend().spool_folder().unwrap_or_else(std::env::temp_dir);
    for record in capture_sources(&request.sources, &scratch, &mut writer, &shown).await? {
        let left_out = request.left_out.iter().find(|left_out| left_out.name == record.name);
        sources.push(left_out.cloned().unwrap_or(record));
    }
    for left_out in &request.left_out {
        if !sources.iter().any(|source| source.name == left_out.name) {
            sources.push(left_out.clone());
        }
    }
    let written = writer.finish().await?;
    let new_bytes = written.new_bytes();
    let body = body(cluster, request, time, series, &capture, sources, &written);
    // From here on Ctrl-C would leave it open whether the snapshot is there.
    session.interrupt.committing();
    let outcome = opened.repository.commit(written, body).await;
    session.interrupt.harmless();
    let snapshot = match outcome {
        Ok(snapshot) => snapshot,
        Err(error @ StoreError::MustBeFull { .. }) if mode == Mode::Incremental => {
            return Err(Stopped::MustBeFull(error));
        }
        Err(error) => return Err(error.into()),
    };
    session.interrupt.committed(snapshot.number);
    session.remember(&opened.repository, &opened.repository.history().await?);
    Ok(Taken { snapshot, capture, new_bytes, seconds: 0.0 })
}

fn body(
    cluster: &Cluster,
    request: &Request,
    time: Timestamp,
    series: ContentHash,
    capture: &ClusterCapture,
    sources: Vec<SourceRecord>,
    written: &WrittenSnapshot,
) -> SnapshotBody {
    let whole = |source: &SourceRecord| matches!(source.state, SourceState::Complete | SourceState::Unconfigured);
    SnapshotBody {
        series,
        time,
        cluster: capture.identity.clone(),
        context: cluster.context().to_owned(),
        revision: capture.revision,
        root: written.tree().root(),
        label: request.label.clone(),
        scope: request.selection.canonical_text(),
        complete: sources.iter().all(whole),
        sources,
        objects: capture.objects,
        types: capture.types,
        bytes: written.total_bytes(),
        kubernetes: capture.kubernetes.clone(),
        tool: TOOL.to_owned(),
    }
}

/// How much of the cluster is there.
fn cluster_record(capture: &ClusterCapture) -> SourceRecord {
    let missing = unlistable_lines(capture);
    let state = if missing.is_empty() { SourceState::Complete } else { SourceState::Partial };
    SourceRecord { name: CLUSTER.to_owned(), state, detail: missing.join("; ") }
}

/// What could not be read, a line a type.
pub(crate) fn unlistable_lines(capture: &ClusterCapture) -> Vec<String> {
    let line = |found: &UnlistableType| {
        scope::unreadable(&found.verb, &scope::type_name(&found.group, &found.resource), found.status, &found.reason)
    };
    capture.unlistable.iter().map(line).collect()
}
