//! Quiesce: whatever would undo a restore is held still while it writes, and put back exactly (I8).
//!
//! ```text
//!   find ──> what re-applies, from the top down      dead_backends ──> what refuses writes because nobody answers
//!        └──────────────┬────────────────────────────────────┘
//!        prior (journaled) ──> stop ──> ... the restore sees the world through Holding ... ──> start, bottom up
//! ```
//!
//! In: the cluster, the two snapshots, the id of a transaction. Out: held things, each with marks that say by which
//! transaction and what it was; what it was is told by the snapshot of before alone. Webhooks and APIServices are set aside
//! first and put back last, since a dead one can refuse the very writes that stop and start the rest; those that only the
//! wanted snapshot has come back set aside. The caller journals each step before and after.

mod address;
mod backends;
mod error;
mod find;
mod holding;
mod mark;
mod rights;
mod start;
mod stillness;
mod stop;

use std::time::Duration;

use crate::cluster::Cluster;
use crate::progress::Progress;

pub use address::NotHoldable;
pub use backends::{DeadBackend, DeadCall, Death, dead_backends, dead_on_return};
pub use error::QuiesceError;
pub use find::{Hold, Role, find};
pub use holding::{Holding, held_answer_for};
pub use mark::{HELD_BY, HELD_PAUSED, HELD_REPLICAS, marked};
pub use rights::{lease_rights, needed_rights};
pub use start::{Left, Started, target};
pub use stop::{Stopped, prior};

/// Stops things and puts them back, for one transaction.
#[derive(Clone, Copy)]
pub struct Quiesce<'a> {
    /// Where. Gated by the lease's guard, it writes nothing once the lease is lost.
    pub cluster: &'a Cluster,
    /// The transaction, as it is marked on what it holds.
    pub transaction: &'a str,
    /// How long one thing may take to come to rest, and a refused write to be taken.
    pub patience: Duration,
    /// Told when the API server is waited for.
    pub progress: &'a dyn Progress,
}
