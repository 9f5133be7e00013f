//! What comes next, told from the state alone: the same answer in the middle of a run and after a kill.

use super::event::Outcome;
use super::state::{CrdStep, HeldItem, Phase, State};

/// The next thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Todo {
    /// Take the snapshot of now, then `saved`.
    Save,
    /// Stop this (it may be stopped already), then `stopped`. What it was before is in the item, not in the cluster.
    FinishStopping(HeldItem),
    /// Stop the next thing that fights and is not held yet: `stopping`, the effect, `stopped`. When there is none:
    /// `quiet`. What is held already is made sure of first: somebody may have started it.
    Stop,
    /// Bring this CRD to its end, forwards or back. One that cannot be must not keep what is held from being put back.
    SettleCrd {
        /// Its name.
        crd: String,
        /// How far it is.
        step: CrdStep,
    },
    /// Capture and plan: a plan with nothing to do is `converged`, any other is a round.
    Converge,
    /// Compare while all is quiet, then `proven-quiet`.
    ProveQuiet,
    /// Put this back (`starting`, the effect, `started`). One that cannot be must not keep the others from it.
    Start(HeldItem),
    /// Say `running`.
    Run,
    /// Compare with everything running, then `proven`.
    Prove,
    /// Say `ended` with this outcome.
    End(Outcome),
    /// It is over.
    Nothing,
}

impl State {
    /// What comes next.
    pub fn todo(&self) -> Todo {
        match &self.phase {
            Phase::Begun => Todo::Save,
            Phase::Stopping => self.in_doubt().cloned().map_or(Todo::Stop, Todo::FinishStopping),
            Phase::Converging => self.half_way().unwrap_or(Todo::Converge),
            Phase::Converged => Todo::ProveQuiet,
            Phase::ProvenQuiet | Phase::Starting => self
                .half_way()
                // The last that was stopped first: what is on top starts what is below it.
                .or_else(|| self.held.last().cloned().map(Todo::Start))
                .unwrap_or(Todo::Run),
            Phase::Running | Phase::Proven { .. } => {
                self.half_way().or_else(|| self.implied_outcome().map(Todo::End)).unwrap_or(Todo::Prove)
            }
            Phase::Ended { .. } => Todo::Nothing,
        }
    }

    fn half_way(&self) -> Option<Todo> {
        self.crds.first_key_value().map(|(crd, step)| Todo::SettleCrd { crd: crd.clone(), step: *step })
    }
}
