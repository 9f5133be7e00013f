//! What can happen in a transaction.
//!
//! In and out: JSON with one key, the kind: `{"stopping":{"item":{...},"was":{...}}}`. (Tags inside the object would
//! make serde buffer it, and buffered numbers are lost where they are kept as they are written.)
//! Invariants: names, numbers and hashes only, and no free text, since an API server's own words may quote a Secret
//! (I10). A kind that is not here was written by a later program and is refused.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::held::{Held, Prior};
use crate::store::ContentHash;

/// A snapshot, named so that it cannot be mistaken for another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotName {
    /// Number of its log entry.
    pub number: u64,
    /// SHA-256 of its body.
    pub id: ContentHash,
}

impl fmt::Display for SnapshotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{} ({})", self.number, self.id.short())
    }
}

/// What a transaction is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Back to a snapshot of before an upgrade.
    Rollback,
    /// Back to what was there before another transaction.
    Undo,
    /// To any snapshot, or a part of one.
    Restore,
}

/// What was decided before anything was done. None of it changes during the transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Begun {
    /// What it is for.
    pub purpose: Purpose,
    /// The cluster: UID of the namespace kube-system.
    pub cluster: String,
    /// The snapshot that the cluster is to be like.
    pub wanted: SnapshotName,
    /// Which objects, in the text that the command line takes.
    pub scope: String,
    /// What was agreed to apart, by the names that the command line takes: rules of the never-list that do not hold
    /// this time, dangers that were confirmed.
    pub force: Vec<String>,
    /// The plan that a person read and agreed to, when it is to be that one.
    pub reviewed: Option<ContentHash>,
    /// The program, such as `snapback 0.1.0`.
    pub tool: String,
    /// Who, as the lease in the cluster names them.
    pub holder: String,
}

/// Why a transaction stopped trying to reach its snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Reason {
    /// The snapshot of now could not be taken.
    NotSaved {},
    /// The cluster moved: the plan that was reviewed does something else now.
    PlanStale {},
    /// Something that fights would not stop.
    NotStopped {
        /// What.
        item: Held,
    },
    /// After so many rounds there was still something to do.
    RoundsUsedUp {
        /// How many.
        rounds: u32,
    },
    /// A CRD's storage version could not be moved.
    CrdStuck {
        /// Its name.
        crd: String,
    },
    /// The API server does not take an object.
    Refused {
        /// Its path in the snapshot.
        path: String,
    },
    /// A person said so.
    Asked {},
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSaved {} => f.write_str("the snapshot of now could not be taken"),
            Self::PlanStale {} => f.write_str("the cluster moved since the plan was reviewed"),
            Self::NotStopped { item } => write!(f, "{item} would not stop"),
            Self::RoundsUsedUp { rounds } => write!(f, "after {rounds} rounds there was still something to do"),
            Self::CrdStuck { crd } => write!(f, "the storage version of `{crd}` could not be moved"),
            Self::Refused { path } => write!(f, "the API server does not take `{path}`"),
            Self::Asked {} => f.write_str("a person asked for it"),
        }
    }
}

/// How a transaction ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Outcome {
    /// The cluster is as the snapshot, and that was proven with everything running.
    Done {},
    /// Everything was done, and some differences are unexplained.
    Unproven {
        /// How many.
        unexplained: u64,
    },
    /// It was given up. What was stopped runs again.
    Failed {
        /// Why.
        reason: Reason,
    },
}

/// One record's content: an intent (said before the effect) or an observation (said after it was seen).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Event {
    /// Decided. Number 0 and only there.
    Begun(Begun),
    /// Another process goes on. Its record is what makes the process before it notice.
    Resumed {
        /// The program, such as `snapback 0.1.0`.
        tool: String,
        /// Who, as the lease in the cluster names them.
        holder: String,
    },
    /// The snapshot of now, before the first change, is committed and verified.
    Saved {
        /// That snapshot.
        before: SnapshotName,
    },
    /// Intent: this is about to be stopped or set aside.
    Stopping {
        /// What.
        item: Held,
        /// What it was before.
        was: Prior,
    },
    /// Seen: it does nothing any more.
    Stopped {
        /// What.
        item: Held,
    },
    /// Seen: all that fights is stopped.
    Quiet {},
    /// Intent: this plan, made from the cluster as it is now, is about to be applied.
    Round {
        /// From 1 on, over the whole transaction.
        number: u32,
        /// Hash of the plan.
        plan: ContentHash,
        /// How many actions it has.
        actions: u64,
    },
    /// Seen: the plan was applied as far as it would go.
    RoundDone {
        /// The round's number.
        number: u32,
        /// Actions that did what they should.
        done: u64,
        /// Actions that did not.
        failed: u64,
    },
    /// Intent: from here on the CRD may have the versions of both sides and convert nothing.
    Union {
        /// Its name.
        crd: String,
    },
    /// Seen: a whole pass over all objects of the type moved nothing.
    Rewritten {
        /// Its name.
        crd: String,
        /// Objects of the type, in the whole cluster.
        objects: u64,
    },
    /// Intent: from here on storedVersions may be short, and the CRD the wanted one.
    Narrowed {
        /// Its name.
        crd: String,
    },
    /// Seen: the CRD is the wanted one, and a list proves the type readable.
    CrdDone {
        /// Its name.
        crd: String,
    },
    /// Seen: the CRD is again what it was before `union`, and a list proves the type readable; or it is there no more.
    CrdReverted {
        /// Its name.
        crd: String,
    },
    /// Seen: a plan made from the cluster as it is has nothing to do, or nothing that had any effect when it was done
    /// before.
    Converged {
        /// Rounds that it took.
        rounds: u32,
    },
    /// Seen: the cluster compared with the snapshot, everything still held.
    ProvenQuiet {
        /// Differences that the closed list does not explain.
        unexplained: u64,
    },
    /// Decided: the snapshot is not to be reached. What is held is put back all the same.
    GivenUp {
        /// Why.
        reason: Reason,
    },
    /// Intent: this is about to be put back.
    Starting {
        /// What.
        item: Held,
    },
    /// Seen: it is what it has to be, or there is nothing left to put back.
    Started {
        /// What.
        item: Held,
    },
    /// Seen: everything that was held runs.
    Running {},
    /// Seen: the cluster compared with the snapshot, everything running.
    Proven {
        /// Differences that the closed list does not explain.
        unexplained: u64,
    },
    /// Nothing comes after this.
    Ended {
        /// How.
        outcome: Outcome,
    },
}

/// The kinds that format 1 knows, as they are written.
pub(super) const KINDS: [&str; 21] = [
    "begun",
    "resumed",
    "saved",
    "stopping",
    "stopped",
    "quiet",
    "round",
    "round-done",
    "union",
    "rewritten",
    "narrowed",
    "crd-done",
    "crd-reverted",
    "converged",
    "proven-quiet",
    "given-up",
    "starting",
    "started",
    "running",
    "proven",
    "ended",
];

impl Event {
    /// The kind, as it is written.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Begun(_) => "begun",
            Self::Resumed { .. } => "resumed",
            Self::Saved { .. } => "saved",
            Self::Stopping { .. } => "stopping",
            Self::Stopped { .. } => "stopped",
            Self::Quiet {} => "quiet",
            Self::Round { .. } => "round",
            Self::RoundDone { .. } => "round-done",
            Self::Union { .. } => "union",
            Self::Rewritten { .. } => "rewritten",
            Self::Narrowed { .. } => "narrowed",
            Self::CrdDone { .. } => "crd-done",
            Self::CrdReverted { .. } => "crd-reverted",
            Self::Converged { .. } => "converged",
            Self::ProvenQuiet { .. } => "proven-quiet",
            Self::GivenUp { .. } => "given-up",
            Self::Starting { .. } => "starting",
            Self::Started { .. } => "started",
            Self::Running {} => "running",
            Self::Proven { .. } => "proven",
            Self::Ended { .. } => "ended",
        }
    }
}
