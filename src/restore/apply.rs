//! Carries a plan out.
//!
//! In: a plan and both trees. Out: what was done, one entry an action. Invariants: a wave begins when the one before it
//! has ended; what an action needs and did not get keeps it from being tried; what was refused is tried again once the
//! rest is done, since what refused it may be gone or changed by then. Objects need no record of their own, since whoever
//! goes on looks at them first; the steps of a type's conversion are written down by whoever asks for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;

use crate::cluster::Cluster;
use crate::progress::{Progress, ProgressEvent};
use crate::store::SnapshotTree;

use super::applied::{Applied, Outcome, Step};
use super::error::RestoreError;
use super::options::RestoreOptions;
use super::plan::{Action, Operation, Plan};
use super::requests::{Known, Requests, WriteError};
use super::storage_versions::StorageRecord;

/// Before each further round: at once, and then for what works with a delay (facts/apiserver-tried.md: a second for the
/// bindings of policies; a quota is counted again by its controller).
const AGAIN: [Duration; 3] = [Duration::ZERO, Duration::from_secs(2), Duration::from_secs(5)];

/// Does every action of the plan, wave by wave, with each step of a type's conversion written down before it is taken.
///
/// # Errors
/// A snapshot cannot be read, the cluster does not answer any more, or a step could not be written down. What one
/// object's write is refused for is part of the result.
pub async fn apply(
    cluster: &Cluster,
    plan: &Plan,
    live: &SnapshotTree,
    wanted: &SnapshotTree,
    options: &RestoreOptions,
    progress: &dyn Progress,
    record: &dyn StorageRecord,
) -> Result<Applied, RestoreError> {
    progress.report(ProgressEvent::Stage("restoring".to_owned()));
    progress.report(ProgressEvent::Expect(plan.actions.len() as u64));
    let requests = Requests::new(cluster, options.patience, progress);
    let coming = plan.actions.iter().flat_map(|action| action.replaces.iter().cloned()).collect();
    let in_vain = options.in_vain.clone();
    let state = State { uids: plan.uids.clone(), coming, in_vain, ..State::default() };
    let run = Run { requests, live, wanted, options, progress, record, state: Mutex::new(state) };

    let mut outcomes: Vec<Option<Outcome>> = vec![None; plan.actions.len()];
    run.round(plan, options, &mut outcomes).await?;
    for pause in AGAIN {
        if !run.forget_refusals(plan, pause > Duration::ZERO, &mut outcomes) {
            break;
        }
        tokio::time::sleep(pause).await;
        progress.report(ProgressEvent::Note("trying again what was refused".to_owned()));
        run.round(plan, options, &mut outcomes).await?;
    }

    let Run { requests, state, .. } = run;
    let state = state.into_inner().unwrap_or_else(PoisonError::into_inner);
    let step = |(action, outcome): (&Action, Option<Outcome>)| Step {
        path: action.path.clone(),
        verb: action.operation.verb(),
        outcome: outcome.unwrap_or(Outcome::Done),
    };
    Ok(Applied {
        steps: plan.actions.iter().zip(outcomes).map(step).collect(),
        uids: state.uids,
        references_mapped: state.mapped,
        in_vain: state.in_vain,
        writes: requests.writes.load(Ordering::Relaxed),
    })
}

/// What is learned while a plan is carried out.
#[derive(Default)]
pub(super) struct State {
    /// UIDs of the past with those of now.
    pub(super) uids: BTreeMap<String, String>,
    /// UIDs of objects that are still to be made anew.
    pub(super) coming: BTreeSet<String>,
    /// Objects that this run wrote and will write again.
    pub(super) latest: BTreeMap<String, Known>,
    /// Objects that this run made and has not brought to what they should be yet.
    pub(super) made: BTreeMap<String, Known>,
    pub(super) mapped: u64,
    /// What objects that did not go waited for, here or in an earlier round.
    pub(super) in_vain: BTreeSet<String>,
    failed: BTreeSet<String>,
}

/// A plan being carried out.
pub(super) struct Run<'a> {
    pub(super) requests: Requests<'a>,
    pub(super) live: &'a SnapshotTree,
    pub(super) wanted: &'a SnapshotTree,
    pub(super) options: &'a RestoreOptions,
    pub(super) progress: &'a dyn Progress,
    pub(super) record: &'a dyn StorageRecord,
    state: Mutex<State>,
}

impl Run<'_> {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does every action that has no outcome yet.
    async fn round(
        &self,
        plan: &Plan,
        options: &RestoreOptions,
        outcomes: &mut [Option<Outcome>],
    ) -> Result<(), RestoreError> {
        let mut waves: BTreeMap<u32, Vec<(usize, &Action)>> = BTreeMap::new();
        for (index, action) in plan.actions.iter().enumerate() {
            if outcomes.get(index).is_some_and(Option::is_none) {
                waves.entry(action.wave).or_default().push((index, action));
            }
        }
        for wave in waves.into_values() {
            let mut results = futures::stream::iter(wave)
                .map(|(index, action)| async move { (index, action, self.execute(action).await) })
                .buffer_unordered(options.parallel.max(1));
            // When nothing can go on, the others of the wave would only wait for the same thing in turn.
            while let Some((index, action, outcome)) = results.next().await {
                let outcome = outcome?;
                if outcome != Outcome::Done {
                    self.state().failed.insert(action.path.clone());
                }
                if let Some(place) = outcomes.get_mut(index) {
                    *place = Some(outcome);
                }
            }
        }
        Ok(())
    }

    async fn execute(&self, action: &Action) -> Result<Outcome, RestoreError> {
        let missing = {
            let state = self.state();
            action.needs.iter().find(|need| state.failed.contains(*need)).cloned()
        };
        if let Some(need) = missing {
            return Ok(Outcome::NotTried { because: format!("`{need}` did not come back") });
        }
        let done = self.write(action).await;
        self.progress.report(ProgressEvent::Done(1));
        match done {
            Ok(()) => Ok(Outcome::Done),
            Err(WriteError::Refused { problem, by }) => Ok(Outcome::Failed { problem, by }),
            Err(WriteError::Fatal(error)) => Err(error),
        }
    }

    /// Makes room for another round of what someone refused, and of what was not tried because of it. Says whether one is
    /// worth it: something was done meanwhile, and (after a pause) it was of the kind that works with a delay.
    fn forget_refusals(&self, plan: &Plan, delayed: bool, outcomes: &mut [Option<Outcome>]) -> bool {
        let mut done = plan.actions.iter().zip(outcomes.iter()).filter(|(_, outcome)| **outcome == Some(Outcome::Done));
        let worth = if delayed { done.any(|(action, _)| works_with_a_delay(action)) } else { done.next().is_some() };
        let again = |outcome: &Outcome| match outcome {
            Outcome::Failed { by: Some(refuser), .. } => !delayed || refuser.lingers(),
            _ => false,
        };
        if !worth || !outcomes.iter().flatten().any(again) {
            return false;
        }
        let mut state = self.state();
        for (action, place) in plan.actions.iter().zip(outcomes) {
            let repeated = |outcome: &mut Outcome| again(outcome) || matches!(outcome, Outcome::NotTried { .. });
            if place.take_if(repeated).is_some() {
                state.failed.remove(&action.path);
            }
        }
        true
    }
}

/// Whether other writes are taken because of this one may show only moments later.
fn works_with_a_delay(action: &Action) -> bool {
    let address = &action.address;
    address.group == "admissionregistration.k8s.io"
        || (address.group.is_empty() && address.resource == "resourcequotas")
        || matches!(action.operation, Operation::Delete { .. } | Operation::Recreate { .. })
}
