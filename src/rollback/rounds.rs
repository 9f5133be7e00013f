//! Rounds: the cluster is captured, a plan is made and applied, until there is nothing left that does any good.
//!
//! Each round looks at the world first, so that it makes no difference whether the one before ended, was killed or was
//! fought by somebody. Records: `round` before the first write, `round-done` after the last one, `converged` at the end;
//! between the first two, the steps of types that are brought to another storage version.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::journal::{Event, Reason};
use crate::progress::ProgressEvent;
use crate::restore::helm::{Verdict, judge_plan};
use crate::restore::{Plan, SkipReason, apply, comparable_versions, plan, readable};
use crate::snapshot::{CaptureOptions, Selection, UnlistableType, capture_cluster};
use crate::store::{ContentHash, SnapshotTree, SnapshotWriter};

use super::driver::{ALLOW_HELM_UPGRADE, Driver, LOSE_FIELDS};
use super::error::RollbackError;
use super::recorded::Recorded;
use super::report::Round;

/// More rounds than this in one process mean that something fights that is not held.
const MOST_ROUNDS: usize = 12;
/// Before a plan that was applied without any effect is tried once more: what refused it may work with a delay.
const AGAIN: Duration = Duration::from_secs(3);

/// What a round set out to do, to see whether the next one sets out to do the same.
pub(super) type Intent = BTreeSet<(String, &'static str)>;

impl Driver<'_> {
    /// All rounds, until nothing is left, or nothing that helps.
    pub(super) async fn converge(&mut self) -> Result<(), RollbackError> {
        let mut before: Vec<Intent> = Vec::new();
        // A round that waited in vain for as long as anybody waits is not tried a second time.
        let mut waited_in_vain = false;
        loop {
            let look = self.look().await?;
            let options = self.options(look.readable.clone());
            let plan = plan(self.cluster, &look.live, &self.wanted, &options, self.progress).await?;
            let intent = intent(&plan);
            let repeated = before.iter().rev().take_while(|earlier| **earlier == intent).count();
            if plan.is_empty() || repeated >= 2 || repeated == 1 && waited_in_vain {
                // What no round can do is in the report, and in both proofs.
                self.say_what_is_unsaved(&plan);
                self.last_look = Some(look);
                return self.say(Event::Converged { rounds: self.journal.state().rounds() }).await;
            }
            if self.loses_what_nobody_agreed_to(&plan) || self.is_left_to_helm(&look.live, &plan).await? {
                return self.give_up(Reason::PlanStale {}).await;
            }
            if before.len() >= MOST_ROUNDS {
                let rounds = self.journal.state().rounds();
                return self.give_up(Reason::RoundsUsedUp { rounds }).await;
            }
            if repeated > 0 {
                tokio::time::sleep(AGAIN).await;
            }
            before.push(intent);

            let number = self.journal.state().rounds() + 1;
            let actions = plan.actions.len() as u64;
            self.progress.report(ProgressEvent::Stage(format!("round {number}")));
            self.say(Event::Round { number, plan: hash(&plan), actions }).await?;
            let started = Instant::now();
            let record = Recorded::new(self.journal);
            let applied =
                apply(self.cluster, &plan, &look.live, &self.wanted, &options, self.progress, &record).await?;
            waited_in_vain = started.elapsed() >= self.settings.patience;
            self.in_vain.clone_from(&applied.in_vain);
            let failures: Vec<_> = applied.failures().cloned().collect();
            let (done, failed) = ((applied.steps.len() - failures.len()) as u64, failures.len() as u64);
            let (writes, references_mapped) = (applied.writes, applied.references_mapped);
            self.report.rounds.push(Round { number, done, writes, failures, references_mapped });
            self.say(Event::RoundDone { number, done, failed }).await?;
            if let Some(crd) = self.settle().await? {
                return self.give_up(Reason::CrdStuck { crd }).await;
            }
        }
    }

    /// Objects that could be read too late: the next transaction's snapshot has them.
    fn say_what_is_unsaved(&self, plan: &Plan) {
        let unsaved = plan.skipped.iter().filter(|skipped| skipped.reason == SkipReason::Unsaved).count();
        if unsaved > 0 {
            let are =
                if unsaved == 1 { "1 object that differs is" } else { &format!("{unsaved} objects that differ are") };
            self.progress.report(ProgressEvent::Note(format!("{are} left alone: {}", SkipReason::Unsaved)));
        }
    }

    fn is_agreed(&self, name: &str) -> bool {
        self.journal.state().begun().force.iter().any(|agreed| agreed == name)
    }

    /// helm-controller would act by itself on what this plan leaves behind, and nobody was asked: the cluster, or a round
    /// before, is not what the plan that was shown was judged by.
    async fn is_left_to_helm(&self, live: &SnapshotTree, plan: &Plan) -> Result<bool, RollbackError> {
        if self.is_agreed(ALLOW_HELM_UPGRADE) {
            return Ok(false);
        }
        let verdicts = judge_plan(live, &self.wanted, plan).await?;
        for Verdict { release, after, .. } in verdicts.iter().filter(|verdict| verdict.is_refused()) {
            let then = after.then();
            let note = format!("helm-controller would {then} {release}, which would be {after}: nobody agreed to that");
            self.progress.report(ProgressEvent::Note(note));
        }
        Ok(verdicts.iter().any(Verdict::is_refused))
    }

    /// Objects outside the scope would lose fields with their type's older version, and nobody was asked.
    fn loses_what_nobody_agreed_to(&self, plan: &Plan) -> bool {
        !self.is_agreed(LOSE_FIELDS) && plan.conversions().any(|(_, storage)| storage.needs_its_own_consent())
    }

    /// The cluster as it is. As long as nothing was held or written, that is the snapshot of now, for the process that
    /// took it a moment ago.
    pub(super) async fn look(&self) -> Result<Look, RollbackError> {
        let state = self.journal.state();
        let untouched = state.resumed() == 0 && state.rounds() == 0 && state.held().is_empty();
        let versions = comparable_versions(&self.wanted).await?;
        if untouched && readable(&self.before).await?.is_everything() {
            // It has each type at its storage version. At another version than the wanted one every object would differ.
            let stored = comparable_versions(&self.before).await?;
            if stored.iter().all(|(of, version)| versions.get(of).is_none_or(|wanted| wanted == version)) {
                return Ok(Look { live: self.before.clone(), readable: self.scope.clone(), unlistable: Vec::new() });
            }
        }
        let mut writer = SnapshotWriter::scratch(Some(self.wanted.clone()));
        let options = CaptureOptions {
            selection: Selection::everything(),
            with_events: false,
            parallel: self.settings.parallel,
            versions,
        };
        let capture = capture_cluster(self.cluster, &options, &mut writer, self.progress).await?;
        let live = writer.finish().await?.tree();
        let readable = self.scope.clone().within(readable(&live).await?);
        Ok(Look { live, readable, unlistable: capture.unlistable })
    }
}

/// The cluster at one moment.
pub(super) struct Look {
    pub(super) live: SnapshotTree,
    /// What of the scope could be read: what could not is not missing.
    pub(super) readable: Selection,
    pub(super) unlistable: Vec<UnlistableType>,
}

fn intent(plan: &Plan) -> Intent {
    plan.actions.iter().map(|action| (action.path.clone(), action.operation.verb())).collect()
}

/// The plan's hash, by which a record names it.
fn hash(plan: &Plan) -> ContentHash {
    // A plan is made of strings and numbers, which have a JSON form.
    ContentHash::of(&serde_json::to_vec(plan).unwrap_or_default())
}
