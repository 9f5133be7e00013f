//! The loop: what the journal says comes next is done, and said.
//!
//! In: an open journal. Out: a [`Report`], once the transaction has ended. An error leaves the transaction open: whoever
//! resumes the journal goes on with it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::cluster::Cluster;
use crate::journal::{Event, Held, OpenJournal, Reason, SnapshotName, Todo};
use crate::progress::{Progress, ProgressEvent};
use crate::restore::quiesce::{Holding, Quiesce};
use crate::restore::{
    AddedTypes, Applied, Proof, RestoreOptions, RollbackScope, Tried, Unsaved, Wait, compare, never_list, prove,
    readable,
};
use crate::snapshot::Selection;
use crate::store::{History, Repository, SnapshotTree};

use super::error::RollbackError;
use super::report::Report;
use super::rounds::Look;

/// In a journal's list of what was agreed to apart: objects outside the scope may lose fields.
pub const LOSE_FIELDS: &str = "lose-fields";
/// The same: types that were added since go, though objects outside the scope go with them.
pub const DELETE_ADDED_TYPES: &str = "delete-added-types";

/// The same: nothing is held still, neither by a restore nor by what undoes it.
pub const HOLD_NOTHING: &str = "hold-nothing";

/// The same: helm-controller may install, upgrade or roll back releases by itself afterwards.
pub const ALLOW_HELM_UPGRADE: &str = "allow-helm-upgrade";

/// Options of a restore of this selection, given what was agreed to apart, by the names that a journal has for it.
pub fn restore_options(selection: Selection, force: &[String]) -> RestoreOptions {
    let mut options = RestoreOptions::new(selection);
    let is_rule = |name: &&String| never_list().iter().any(|rule| rule.name == name.as_str());
    options.force_kinds = force.iter().filter(is_rule).cloned().collect();
    if force.iter().any(|name| name == DELETE_ADDED_TYPES) {
        options.added_types = AddedTypes::Delete;
    }
    options
}

/// What the person who rolls back may choose beyond what the journal says. It may be another choice after a kill.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the configuration names to be held still, too.
    pub extra: Vec<Held>,
    /// How long something that is being deleted or stopped, or a CRD that is being accepted, is waited for.
    pub patience: Duration,
    /// Whether the proof gives garbage collection its time.
    pub wait: Wait,
    /// How many types are listed at once.
    pub parallel: usize,
    /// What the API server said to the plan that was shown.
    pub tried: Tried,
}

/// A transaction being driven.
pub(super) struct Driver<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) journal: &'a mut OpenJournal,
    pub(super) settings: &'a Settings,
    pub(super) progress: &'a dyn Progress,
    /// What was there before the first change.
    pub(super) before: SnapshotTree,
    /// What is to be there.
    pub(super) wanted: SnapshotTree,
    /// What `before` does not hold.
    pub(super) unsaved: Unsaved,
    /// What of it. Told from the two snapshots, so that it is the same after a kill.
    pub(super) scope: Selection,
    /// What fights, from the top down: the same for the whole transaction, so it is looked for once in a process.
    pub(super) fighting: Option<Vec<Held>>,
    pub(super) report: Report,
    /// The look that found nothing left to do, until something is written again.
    pub(super) last_look: Option<Look>,
    /// What could not be started again by this process, with the reasons.
    pub(super) stuck: Vec<(Held, String)>,
    /// CRDs that are half-way and that this process could not bring to an end, with the reasons.
    pub(super) unsettled: BTreeMap<String, String>,
    /// What was waited for in vain by this process.
    pub(super) in_vain: BTreeSet<String>,
}

/// Brings a transaction to its end, from wherever it stands. The connection must be gated by the lease's guard.
///
/// # Errors
/// It cannot go on now. It is not over: resumed, it goes on.
pub async fn drive(
    repository: &Repository,
    cluster: &Cluster,
    journal: &mut OpenJournal,
    settings: &Settings,
    progress: &dyn Progress,
) -> Result<Report, RollbackError> {
    let Some(before) = journal.state().before().cloned() else {
        return Err(RollbackError::NotSaved { transaction: journal.transaction().clone() });
    };
    let history = repository.history().await?;
    let before = tree(repository, &history, journal, &before).await?;
    let wanted = tree(repository, &history, journal, journal.state().wanted()).await?;
    let scope: RollbackScope = journal.state().begun().scope.parse()?;
    // What the snapshot could not read is not to be deleted.
    let scope = scope.selection(&before, &wanted).await?.within(readable(&wanted).await?);
    let unsaved = Unsaved::of(&before).await?;
    let driver = Driver {
        cluster,
        journal,
        settings,
        progress,
        before,
        wanted,
        unsaved,
        scope,
        fighting: None,
        report: Report::default(),
        last_look: None,
        stuck: Vec::new(),
        unsettled: BTreeMap::new(),
        in_vain: BTreeSet::new(),
    };
    driver.run().await
}

/// Ends a transaction that has no snapshot of now: nothing was changed, and nobody is to go on with it. One whose process
/// was killed while it did so is ended for the reason that it gave.
///
/// # Errors
/// The journal cannot be written.
pub async fn abandon(journal: &mut OpenJournal, reason: Reason) -> Result<(), RollbackError> {
    if journal.state().given_up().is_none() {
        journal.append(Event::GivenUp { reason }).await?;
    }
    loop {
        let next = match journal.state().todo() {
            Todo::Run => Event::Running {},
            Todo::End(outcome) => Event::Ended { outcome },
            _ => return Ok(()),
        };
        journal.append(next).await?;
    }
}

/// The content of a snapshot that a journal names.
async fn tree(
    repository: &Repository,
    history: &History,
    journal: &OpenJournal,
    name: &SnapshotName,
) -> Result<SnapshotTree, RollbackError> {
    let Some(snapshot) = history.find(name.number, &name.id) else {
        let (transaction, snapshot) = (journal.transaction().clone(), name.clone());
        return Err(RollbackError::SnapshotMissing { transaction, snapshot });
    };
    Ok(repository.tree(snapshot).await?)
}

impl Driver<'_> {
    async fn run(mut self) -> Result<Report, RollbackError> {
        loop {
            match self.journal.state().todo() {
                Todo::Save => return Err(RollbackError::NotSaved { transaction: self.journal.transaction().clone() }),
                Todo::FinishStopping(held) => self.finish_stopping(held.item, &held.was).await?,
                Todo::Stop => self.stop_next().await?,
                Todo::SettleCrd { .. } => self.settle_or_go_on().await?,
                Todo::Converge => self.converge().await?,
                Todo::ProveQuiet => self.prove_quiet().await?,
                Todo::Start(_) => self.start_next().await?,
                Todo::Run => self.say(Event::Running {}).await?,
                Todo::Prove => self.prove_running().await?,
                Todo::End(outcome) => {
                    self.say(Event::Ended { outcome: outcome.clone() }).await?;
                    self.report.outcome = Some(outcome);
                }
                Todo::Nothing => return Ok(self.report),
            }
        }
    }

    /// Writes a record: what it announces may be done when this returns, and not before (I7).
    pub(super) async fn say(&mut self, event: Event) -> Result<(), RollbackError> {
        Ok(self.journal.append(event).await?)
    }

    /// The snapshot is not to be reached. What is held is put back all the same.
    pub(super) async fn give_up(&mut self, reason: Reason) -> Result<(), RollbackError> {
        self.progress.report(ProgressEvent::Note(format!("giving up: {reason}")));
        self.say(Event::GivenUp { reason }).await
    }

    pub(super) fn quiesce(&self) -> Quiesce<'_> {
        Quiesce {
            cluster: self.cluster,
            transaction: self.journal.transaction().as_str(),
            patience: self.settings.patience,
            progress: self.progress,
        }
    }

    /// Options of planning, writing and proving, with what is held now.
    pub(super) fn options(&self, selection: Selection) -> RestoreOptions {
        let state = self.journal.state();
        let mut options = restore_options(selection, &state.begun().force);
        options.patience = self.settings.patience;
        options.in_vain.clone_from(&self.in_vain);
        options.unsaved.clone_from(&self.unsaved);
        options.holding = Holding::new(self.journal.transaction().as_str(), state.held());
        // What a round failed at, and why, is asked anew by the next one.
        if state.rounds() == 0 {
            options.tried = self.settings.tried.clone();
        }
        options
    }

    /// Whoever decided on this transaction wanted nothing held still.
    pub(super) fn holds_nothing(&self) -> bool {
        self.journal.state().begun().force.iter().any(|name| name == HOLD_NOTHING)
    }

    /// What is proven. A restore leaves alone, and said so, what could not be read; a rollback proves all of its scope.
    fn proven(&self) -> Selection {
        match &self.last_look {
            Some(look) if self.holds_nothing() => look.readable.clone(),
            _ => self.scope.clone(),
        }
    }

    /// Compares while everything is still held. Whatever garbage collection does later is seen by the second proof.
    async fn prove_quiet(&mut self) -> Result<(), RollbackError> {
        let options = self.options(self.proven());
        let mut proof = None;
        if let Some(Look { live, unlistable, .. }) = &self.last_look {
            // Nothing was written since the look that found nothing left to do.
            let seen = compare(self.cluster, live, unlistable, &self.wanted, &options).await?;
            // With nothing held, controllers settle when they will: the second proof gives them the time.
            proof = (seen.holds() || self.holds_nothing()).then_some(seen);
        }
        let proof = match proof {
            Some(proof) => proof,
            None => {
                let nothing = Applied::default();
                prove(self.cluster, &nothing, &self.wanted, &options, Wait::Skip, self.progress).await?
            }
        };
        let unexplained = count(&proof);
        self.report.quiet = Some(proof);
        self.say(Event::ProvenQuiet { unexplained }).await
    }

    /// Compares with everything running.
    async fn prove_running(&mut self) -> Result<(), RollbackError> {
        // What an earlier process wrote is not known here: then garbage collection is watched in any case.
        let unknown = u64::from(self.journal.state().resumed() > 0 && self.journal.state().rounds() > 0);
        let references_mapped = self.report.rounds.iter().map(|round| round.references_mapped).sum::<u64>() + unknown;
        // Where nothing was held, nothing was started since the first proof.
        let quiet = self.report.quiet.clone().filter(Proof::holds);
        let proof = match quiet.filter(|_| self.holds_nothing() && references_mapped == 0) {
            Some(quiet) => quiet,
            None => {
                let mut options = self.options(self.proven());
                options.running = true;
                let applied = Applied { references_mapped, ..Applied::default() };
                prove(self.cluster, &applied, &self.wanted, &options, self.settings.wait, self.progress).await?
            }
        };
        let unexplained = count(&proof);
        self.report.proof = Some(proof);
        self.say(Event::Proven { unexplained }).await
    }
}

/// Differences, and types of which nothing is known.
fn count(proof: &Proof) -> u64 {
    (proof.unexplained.len() + proof.unlistable.len()) as u64
}
