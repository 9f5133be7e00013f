//! What a transaction did in this process, for people.

use serde::Serialize;

use crate::journal::{Held, Outcome};
use crate::restore::quiesce::Started;
use crate::restore::{Proof, Step};

/// What this process did of a transaction. What an earlier one did is in the journal.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Rounds towards the snapshot.
    pub rounds: Vec<Round>,
    /// How things were put back.
    pub started: Vec<(Held, Started)>,
    /// The comparison with everything still held.
    pub quiet: Option<Proof>,
    /// The comparison with everything running.
    pub proof: Option<Proof>,
    /// How it ended.
    pub outcome: Option<Outcome>,
}

/// One plan applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Round {
    /// From 1 on, over the whole transaction.
    pub number: u32,
    /// Actions that did what they should.
    pub done: u64,
    /// Requests that changed something.
    pub writes: u64,
    /// Actions that did not do what they should.
    pub failures: Vec<Step>,
    /// References to owners that were written with a new UID.
    pub references_mapped: u64,
}

impl Report {
    /// What the last round could not do.
    pub fn failures(&self) -> &[Step] {
        self.rounds.last().map_or(&[], |round| &round.failures)
    }
}
