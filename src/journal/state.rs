//! Where a transaction stands: what its events fold to, and nothing else.
//!
//! In: events, through [`next`](super::next). Out: what a driver needs in order to go on, and a person to understand.
//! Invariant: the same events give the same state, whoever reads them.

use std::collections::BTreeMap;

use super::event::{Begun, Outcome, Reason, SnapshotName};
use super::held::{Held, Prior};

/// How far a transaction is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Decided; nothing is saved yet.
    Begun,
    /// What fights is being stopped.
    Stopping,
    /// All is quiet: rounds bring the cluster to the snapshot.
    Converging,
    /// There was nothing left to do.
    Converged,
    /// Compared while quiet.
    ProvenQuiet,
    /// What was held is being put back. There is no way back from here.
    Starting,
    /// Nothing is held.
    Running,
    /// Compared with everything running.
    Proven {
        /// Differences that the closed list does not explain.
        unexplained: u64,
    },
    /// Over.
    Ended {
        /// How.
        outcome: Outcome,
    },
}

/// How firmly something is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grip {
    /// In doubt: it was about to be stopped, and nobody said that it was.
    Stopping,
    /// It was seen stopped.
    Stopped,
    /// In doubt: it was about to be put back, and nobody said that it was.
    Starting,
}

/// Something that has to be put back before the transaction ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldItem {
    /// What.
    pub item: Held,
    /// What it was before, as the first record of it says.
    pub was: Prior,
    /// How firmly.
    pub grip: Grip,
}

/// How far a CRD is on its way to the wanted storage version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrdStep {
    /// It may have the versions of both sides and convert nothing.
    Union,
    /// All objects were rewritten; the CRD is still the union.
    Rewritten,
    /// storedVersions may be short, and the CRD the wanted one.
    Narrowed,
}

/// Where a transaction stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub(super) begun: Begun,
    pub(super) phase: Phase,
    pub(super) before: Option<SnapshotName>,
    pub(super) held: Vec<HeldItem>,
    pub(super) rounds: u32,
    pub(super) round_open: bool,
    pub(super) crds: BTreeMap<String, CrdStep>,
    pub(super) given_up: Option<Reason>,
    pub(super) resumed: u32,
}

impl State {
    pub(super) fn new(begun: Begun) -> Self {
        Self {
            begun,
            phase: Phase::Begun,
            before: None,
            held: Vec::new(),
            rounds: 0,
            round_open: false,
            crds: BTreeMap::new(),
            given_up: None,
            resumed: 0,
        }
    }

    /// What was decided.
    pub const fn begun(&self) -> &Begun {
        &self.begun
    }

    /// The snapshot that the cluster is to be like.
    pub const fn wanted(&self) -> &SnapshotName {
        &self.begun.wanted
    }

    /// The snapshot taken before the first change, once there is one.
    pub const fn before(&self) -> Option<&SnapshotName> {
        self.before.as_ref()
    }

    /// How far it is.
    pub const fn phase(&self) -> &Phase {
        &self.phase
    }

    /// What has to be put back, in the order in which it was stopped: it is put back from the end.
    pub fn held(&self) -> &[HeldItem] {
        &self.held
    }

    /// What was about to be stopped when the record broke off: it may run, or not.
    pub fn in_doubt(&self) -> Option<&HeldItem> {
        self.held.iter().find(|held| held.grip == Grip::Stopping)
    }

    /// Rounds begun so far, by all processes.
    pub const fn rounds(&self) -> u32 {
        self.rounds
    }

    /// CRDs that are half-way to another storage version.
    pub const fn crds(&self) -> &BTreeMap<String, CrdStep> {
        &self.crds
    }

    /// Why the snapshot is not to be reached any more.
    pub const fn given_up(&self) -> Option<&Reason> {
        self.given_up.as_ref()
    }

    /// How often another process went on.
    pub const fn resumed(&self) -> u32 {
        self.resumed
    }

    /// How it ended.
    pub const fn ended(&self) -> Option<&Outcome> {
        match &self.phase {
            Phase::Ended { outcome } => Some(outcome),
            _ => None,
        }
    }
}
