//! What applying a plan did.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::refuser::Refuser;

/// The result of applying a plan: one entry an action, and the UIDs that changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// In the order of the plan.
    pub steps: Vec<Step>,
    /// UIDs in the snapshot of objects that were made anew, with the UIDs they have now.
    pub uids: BTreeMap<String, String>,
    /// How many references to owners were written with a new UID.
    pub references_mapped: u64,
    /// Requests that changed something.
    pub writes: u64,
    /// What was waited for in vain, for the options of the next round.
    #[serde(skip)]
    pub in_vain: BTreeSet<String>,
}

/// An action and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Path inside the snapshot.
    pub path: String,
    /// `create`, `update` and so on.
    pub verb: &'static str,
    /// How it ended.
    pub outcome: Outcome,
}

/// How an action ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum Outcome {
    /// Done.
    Done,
    /// It failed; independent actions went on.
    Failed {
        /// Why, without any value of a Secret.
        problem: String,
        /// Who refused it; none when this program did, because the object is not what was planned for.
        by: Option<Refuser>,
    },
    /// It was not tried.
    NotTried {
        /// Why.
        because: String,
    },
}

impl Applied {
    /// The actions that did not end well.
    pub fn failures(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.outcome != Outcome::Done)
    }
}
