//! Who writes down how far a type is on its way to another storage version.
//!
//! In: milestones, each awaited before the conversion goes on: a step's before its effect, what was seen after it was
//! seen. Out: nothing but the leave to go on. The conversion itself needs no record, since it tells each step from the
//! live CRD; a transaction needs one, since it must not end while a CRD is half-way.

use async_trait::async_trait;

use super::step::Step;
use crate::journal::JournalError;

/// How far a type is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Milestone {
    /// Intent: this step is about to be taken.
    About(Step),
    /// Seen: a whole pass over all objects of the type moved none.
    Rewritten {
        /// How many there are.
        objects: u64,
    },
    /// Seen: it is stored as the wanted CRD has it, and a list proves it readable.
    Readable,
}

/// Writes milestones down.
#[async_trait]
pub trait StorageRecord: Send + Sync {
    /// What it announces may be done once this returns, and not before (I7).
    ///
    /// # Errors
    /// It is not known to be written: the conversion stops there.
    async fn milestone(&self, crd: &str, milestone: Milestone) -> Result<(), JournalError>;
}

/// Writes nothing down: for whoever is not in the middle of a transaction.
#[derive(Clone, Copy, Debug)]
pub struct Unrecorded;

#[async_trait]
impl StorageRecord for Unrecorded {
    async fn milestone(&self, _crd: &str, _milestone: Milestone) -> Result<(), JournalError> {
        Ok(())
    }
}
