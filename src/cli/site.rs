//! Where a transaction takes place: the repository, the cluster, and where this machine keeps its journals.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use snapback::cluster::Cluster;
use snapback::journal::{Held, Summary, TransactionId};
use snapback::restore::{Lease, LeaseError, LeaseOptions, Predecessor, Tried};
use snapback::store::Snapshot;

use super::error::{Failure, Prefix};
use super::exit::Exit;
use super::session::{Opened, Session};
use super::state;
use super::unfinished;

/// A person who waits longer is told what for.
const SOON: Duration = Duration::from_secs(2);

/// The repository, the cluster, and where this machine keeps its journals.
pub(crate) struct Site<'a> {
    pub(crate) session: &'a Session<'a>,
    pub(crate) opened: Opened,
    pub(crate) cluster: Cluster,
    pub(crate) identity: String,
    /// None without a home folder: then there is nothing but to look.
    pub(crate) folder: Option<PathBuf>,
    /// What the API server said it would take, to the plan that is shown.
    pub(crate) tried: Tried,
}

impl<'a> Site<'a> {
    /// Connects to the cluster of a repository that is open.
    pub(crate) async fn new(session: &'a Session<'a>, opened: Opened) -> Result<Self, Failure> {
        let cluster = session.connect().await?;
        let identity = cluster.identity().await?;
        let folder = state::place("journals", opened.repository.id());
        Ok(Self { session, opened, cluster, identity, folder, tried: Tried::default() })
    }

    /// Where the journal of what changes the cluster is kept.
    pub(crate) fn journals(&self) -> Result<&Path, Failure> {
        self.folder.as_deref().ok_or_else(|| {
            Failure::new(Exit::Usage, "there is no home folder to keep the journal in")
                .hint("set XDG_STATE_HOME to a folder that outlives this process")
        })
    }

    /// Says so, if a snapshot was taken of another cluster.
    pub(crate) fn of_another_cluster(&self, snapshot: &Snapshot) -> Option<String> {
        let taken_of = &snapshot.body;
        // A cluster that was made anew has its old context's name: the UID of `kube-system` tells the two apart.
        let named = |context: &str, uid: &str| format!("context `{context}`, kube-system {uid:.8}");
        (taken_of.cluster != self.identity).then(|| {
            format!(
                "snapshot #{} is of another cluster ({}), not of this one ({})",
                snapshot.number,
                named(&taken_of.context, &taken_of.cluster),
                named(self.cluster.context(), &self.identity)
            )
        })
    }

    /// Every transaction that the repository or this machine knows of, oldest first.
    pub(crate) async fn summaries(&self) -> Result<Vec<Summary>, Failure> {
        unfinished::summaries(self.session, self.folder.as_deref(), &self.opened).await
    }

    /// The transaction of this cluster that has to be finished first, if there is one.
    pub(crate) async fn unfinished(&self) -> Result<Option<Summary>, Failure> {
        Ok(self.summaries().await?.into_iter().find(|summary| summary.may_be_unfinished(&self.identity)))
    }

    /// What the configuration names to be held still.
    pub(crate) fn named(&self) -> Result<Vec<Held>, Failure> {
        let named = self.session.config.rollback.hold.iter().map(|text| text.parse::<Held>());
        named
            .collect::<Result<_, _>>()
            .map_err(|error| Failure::of(Exit::Usage, &error).hint("it stands in `rollback.hold` of the configuration"))
    }

    /// Nobody else may change the cluster meanwhile.
    pub(crate) async fn lease(&self, transaction: &TransactionId, predecessor: Predecessor) -> Result<Lease, Failure> {
        let options = LeaseOptions { predecessor, ..LeaseOptions::default() };
        let mut acquiring = pin!(Lease::acquire(&self.cluster, transaction.as_str(), &options));
        let acquired = tokio::select! {
            acquired = &mut acquiring => acquired,
            () = tokio::time::sleep(SOON) => {
                self.session.output.progress_line("making sure that whoever had the lease before is not at work");
                acquiring.await
            }
        };
        acquired.map_err(|error| match error {
            LeaseError::Cluster(error) => error.into(),
            error => Failure::of(Exit::Held, &error)
                .hint("wait until it has ended; a process that died gives the lease up within a minute"),
        })
    }

    /// Gives the lease back. One that is lost runs out by itself.
    pub(crate) async fn release(&self, lease: Lease) {
        if let Err(error) = lease.release().await {
            self.session.output.message(Prefix::Note, &format!("the lease was not given back: {error}"));
        }
    }
}
