//! From one state to the next: what may follow what.
//!
//! In: a state and an event. Out: the next state, or why the event cannot be. Pure; the same function checks a record
//! before it is written and folds the records that are read.
//! Invariants: the wanted snapshot never changes; nothing is stopped before there is a snapshot of now; one thing at a
//! time is in doubt; whatever was about to be stopped is started before the transaction runs again, given up or not;
//! it ends only when nothing is held and no CRD is half-way; nothing follows the end.

use super::event::{Event, Outcome};
use super::held::Held;
use super::state::{CrdStep, Grip, HeldItem, Phase, State};

/// An event that cannot follow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{event}` cannot come {phase}: {rule}")]
pub struct IllegalEvent {
    /// Its kind.
    pub event: &'static str,
    /// Where the transaction stands, in words.
    pub phase: &'static str,
    /// What it breaks.
    pub rule: &'static str,
}

const NOT_HERE: &str = "it belongs to another stage";

/// The state after an event; `None` is the state before the first one.
///
/// # Errors
/// The event cannot follow.
pub fn next(state: Option<&State>, event: &Event) -> Result<State, IllegalEvent> {
    let Some(state) = state else {
        return match event {
            Event::Begun(begun) => Ok(State::new(begun.clone())),
            _ => Err(illegal("before anything", event, "a journal begins with `begun`")),
        };
    };
    let mut after = state.clone();
    match after.take(event) {
        Ok(()) => Ok(after),
        Err(rule) => Err(illegal(state.phase.words(), event, rule)),
    }
}

fn illegal(phase: &'static str, event: &Event, rule: &'static str) -> IllegalEvent {
    IllegalEvent { event: event.kind(), phase, rule }
}

/// `Err` with the rule, if it does not hold.
fn require(holds: bool, rule: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(rule) }
}

impl State {
    /// Changes nothing that matters when it fails: `next` throws the copy away.
    fn take(&mut self, event: &Event) -> Result<(), &'static str> {
        use Phase::{Begun, Converged, Converging, Ended, Proven, ProvenQuiet, Running, Starting, Stopping};
        match (&self.phase, event) {
            (Ended { .. }, _) => Err("the transaction is over"),
            (_, Event::Resumed { .. }) => {
                self.resumed += 1;
                Ok(())
            }
            (Begun, Event::Saved { before }) => {
                self.before = Some(before.clone());
                self.phase = Stopping;
                Ok(())
            }
            // Also when it was quiet already: something that fights came to light, or came back with a round.
            (Stopping | Converging | Converged | ProvenQuiet, Event::Stopping { item, was }) => {
                require(self.in_doubt().is_none(), "what is in doubt is settled first")?;
                require(self.find(item).is_none(), "it is held already, and what it was is recorded once")?;
                self.held.push(HeldItem { item: item.clone(), was: was.clone(), grip: Grip::Stopping });
                self.round_open = false;
                self.phase = Stopping;
                Ok(())
            }
            (Stopping, Event::Stopped { item }) => self.regrip(item, &[Grip::Stopping], Grip::Stopped),
            (Stopping, Event::Quiet {}) => {
                require(self.in_doubt().is_none(), "what is in doubt is settled first")?;
                self.phase = Converging;
                Ok(())
            }
            // Again after a round that was never done, and after a proof: the cluster may have moved since.
            (Converging | Converged | ProvenQuiet, Event::Round { number, .. }) => {
                require(self.rounds.checked_add(1) == Some(*number), "rounds are numbered from 1 without a gap")?;
                self.rounds = *number;
                self.round_open = true;
                self.phase = Converging;
                Ok(())
            }
            (Converging, Event::RoundDone { number, .. }) => {
                require(self.round_open && *number == self.rounds, "no such round is going on")?;
                self.round_open = false;
                Ok(())
            }
            (
                Converging | Starting | Running,
                Event::Union { .. }
                | Event::Rewritten { .. }
                | Event::Narrowed { .. }
                | Event::CrdDone { .. }
                | Event::CrdReverted { .. },
            ) => self.take_crd(event),
            (Converging, Event::Converged { rounds }) => {
                require(*rounds == self.rounds, "it was another number of rounds")?;
                require(self.crds.is_empty(), "a CRD is half-way")?;
                self.round_open = false;
                self.phase = Converged;
                Ok(())
            }
            (Converged, Event::ProvenQuiet { .. }) => {
                self.phase = ProvenQuiet;
                Ok(())
            }
            (Begun | Stopping | Converging | Converged | ProvenQuiet, Event::GivenUp { reason }) => {
                self.given_up = Some(reason.clone());
                self.round_open = false;
                self.phase = Starting;
                Ok(())
            }
            (ProvenQuiet | Starting, Event::Starting { item }) => {
                self.regrip(item, &[Grip::Stopping, Grip::Stopped, Grip::Starting], Grip::Starting)?;
                self.phase = Starting;
                Ok(())
            }
            (Starting, Event::Started { item }) => {
                self.regrip(item, &[Grip::Starting], Grip::Starting)?;
                self.held.retain(|held| held.item != *item);
                Ok(())
            }
            (ProvenQuiet | Starting, Event::Running {}) => {
                require(self.held.is_empty(), "something is still held")?;
                self.phase = Running;
                Ok(())
            }
            (Running, Event::Proven { unexplained }) => {
                require(self.given_up.is_none(), "it was given up")?;
                self.phase = Proven { unexplained: *unexplained };
                Ok(())
            }
            (Running | Proven { .. }, Event::Ended { outcome }) => {
                require(self.crds.is_empty(), "a CRD is half-way")?;
                require(self.implied_outcome().as_ref() == Some(outcome), "the records before it say otherwise")?;
                self.phase = Ended { outcome: outcome.clone() };
                Ok(())
            }
            _ => Err(NOT_HERE),
        }
    }

    /// A new CRD only in a round; one that is half-way also between rounds, and after the rest was given up.
    fn take_crd(&mut self, event: &Event) -> Result<(), &'static str> {
        let (Event::Union { crd }
        | Event::Rewritten { crd, .. }
        | Event::Narrowed { crd }
        | Event::CrdDone { crd }
        | Event::CrdReverted { crd }) = event
        else {
            return Err(NOT_HERE);
        };
        let step = match (self.crds.get(crd), event) {
            (None, Event::Union { .. }) => {
                require(self.round_open, "a CRD's storage version is moved in a round")?;
                Some(CrdStep::Union)
            }
            // From any step: putting the union back is what repairs a type that turned unreadable.
            (Some(_), Event::Union { .. }) => Some(CrdStep::Union),
            (Some(CrdStep::Union | CrdStep::Rewritten), Event::Rewritten { .. }) => Some(CrdStep::Rewritten),
            (Some(CrdStep::Rewritten), Event::Narrowed { .. }) => Some(CrdStep::Narrowed),
            (Some(CrdStep::Narrowed), Event::CrdDone { .. }) | (Some(_), Event::CrdReverted { .. }) => None,
            _ => return Err("the CRD is not that far"),
        };
        match step {
            Some(step) => drop(self.crds.insert(crd.clone(), step)),
            None => drop(self.crds.remove(crd)),
        }
        Ok(())
    }

    /// How it has to end, once it can.
    pub(super) fn implied_outcome(&self) -> Option<Outcome> {
        match (&self.phase, &self.given_up) {
            (Phase::Running, Some(reason)) => Some(Outcome::Failed { reason: reason.clone() }),
            (Phase::Proven { unexplained: 0 }, _) => Some(Outcome::Done {}),
            (Phase::Proven { unexplained }, _) => Some(Outcome::Unproven { unexplained: *unexplained }),
            _ => None,
        }
    }

    fn find(&self, item: &Held) -> Option<&HeldItem> {
        self.held.iter().find(|held| held.item == *item)
    }

    fn regrip(&mut self, item: &Held, from: &[Grip], to: Grip) -> Result<(), &'static str> {
        let held = self.held.iter_mut().find(|held| held.item == *item).ok_or("it is not held")?;
        require(from.contains(&held.grip), "no intent of it stands before")?;
        held.grip = to;
        Ok(())
    }
}

impl Phase {
    /// For messages: `... cannot come while things are being stopped`.
    pub(super) const fn words(&self) -> &'static str {
        match self {
            Self::Begun => "before the snapshot of now",
            Self::Stopping => "while things are being stopped",
            Self::Converging => "while the cluster converges",
            Self::Converged => "after `converged`",
            Self::ProvenQuiet => "after `proven-quiet`",
            Self::Starting => "while things are being put back",
            Self::Running => "after `running`",
            Self::Proven { .. } => "after `proven`",
            Self::Ended { .. } => "after `ended`",
        }
    }
}
