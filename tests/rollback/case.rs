//! A cluster, a repository with a snapshot of it, and rollbacks to that snapshot by this very process, which may die.

use std::sync::Arc;
use std::time::Duration;

use snapback::journal::{Begun, Event, JournalStore, OpenJournal, Purpose, SnapshotName, TransactionId, TwoCopies};
use snapback::progress::Silent;
use snapback::restore::{Tried, Wait};
use snapback::rollback::{Report, RollbackError, Settings, drive};
use snapback::store::backend::LocalBackend;
use snapback::store::{Repository, Snapshot};

use crate::harness::snapback::Snapback;
use crate::journal::countdown::{Countdown, Side, is_killed};
use crate::restore::site::Site;

const TOOL: &str = "snapback test";

pub(super) struct Case {
    pub(super) site: Site,
    pub(super) snapback: Snapback,
    pub(super) repository: Repository,
    pub(super) wanted: Snapshot,
    pub(super) scope: &'static str,
    /// What was agreed to apart.
    pub(super) force: Vec<String>,
}

impl Case {
    /// With a snapshot of the cluster as it is now.
    pub(super) async fn of(site: Site) -> Self {
        let snapback = Snapback::new().with_kubeconfig(&site.control_plane().kubeconfig());
        snapback.ok(&["init"]);
        let repository = Repository::open(Arc::new(LocalBackend::new(snapback.repository()))).await.unwrap();
        let wanted = backup(&snapback, &repository).await;
        Self { site, snapback, repository, wanted, scope: "platform", force: Vec::new() }
    }

    fn store(&self, transaction: &TransactionId) -> Box<dyn JournalStore> {
        let folder = self.snapback.home().join("journals");
        Box::new(TwoCopies::new(folder, Arc::clone(self.repository.backend()), transaction.clone()))
    }

    /// Begins a transaction up to its second record.
    async fn begin_in(&self, store: Box<dyn JournalStore>) -> Result<OpenJournal, RollbackError> {
        let begun = Begun {
            purpose: Purpose::Rollback,
            cluster: self.wanted.body.cluster.clone(),
            wanted: name(&self.wanted),
            scope: self.scope.to_owned(),
            force: self.force.clone(),
            reviewed: None,
            tool: TOOL.to_owned(),
            holder: "a".to_owned(),
        };
        // The command itself takes it once the first record stands; by hand that would be refused then.
        let before = name(&backup(&self.snapback, &self.repository).await);
        let mut journal = OpenJournal::begin(store, begun).await?;
        journal.append(Event::Saved { before }).await?;
        Ok(journal)
    }

    pub(super) async fn begin(&self) -> OpenJournal {
        self.begin_in(self.store(&new_id())).await.unwrap()
    }

    pub(super) async fn drive(&self, journal: &mut OpenJournal) -> Result<Report, RollbackError> {
        let tried = Tried::default();
        let settings =
            Settings { extra: Vec::new(), patience: Duration::from_secs(60), wait: Wait::Skip, parallel: 4, tried };
        drive(&self.repository, &self.site.cluster, journal, &settings, &Silent).await
    }

    /// A rollback whose process dies at this record.
    pub(super) async fn dies(&self, record: usize, side: Side) -> TransactionId {
        let id = new_id();
        let died = async {
            let mut journal = self.begin_in(Countdown::new(self.store(&id), record, side)).await?;
            self.drive(&mut journal).await
        };
        match died.await {
            Err(RollbackError::Journal(error)) if is_killed(&error) => id,
            other => panic!("killed {side:?} record {record}: {other:?}"),
        }
    }

    /// Another process goes on; `None` when the one that died had come to the end.
    pub(super) async fn resume(&self, id: &TransactionId) -> Option<OpenJournal> {
        match OpenJournal::resume(self.store(id), TOOL, "b").await {
            Ok(journal) => Some(journal),
            Err(snapback::journal::JournalError::Ended { .. }) => None,
            Err(error) => panic!("{error:?}"),
        }
    }

    /// The cluster is as the snapshot.
    pub(super) async fn check(&self, what: &str) {
        let wanted = self.repository.tree(&self.wanted).await.unwrap();
        let (_, plan) = self.site.plan(&wanted).await;
        assert!(plan.is_empty(), "{what}: {:#?}", plan.actions);
    }
}

/// The kinds of its records.
pub(super) fn kinds(journal: &OpenJournal) -> Vec<&'static str> {
    journal.records().iter().map(|record| record.event.kind()).collect()
}

fn new_id() -> TransactionId {
    TransactionId::new(jiff::Timestamp::now()).unwrap()
}

fn name(snapshot: &Snapshot) -> SnapshotName {
    SnapshotName { number: snapshot.number, id: snapshot.id }
}

async fn backup(snapback: &Snapback, repository: &Repository) -> Snapshot {
    snapback.ok(&["backup"]);
    repository.history().await.unwrap().snapshots().last().unwrap().clone()
}
