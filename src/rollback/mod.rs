//! Rollback: the cluster goes back to a snapshot as one transaction, even while the platform fights back.
//!
//! ```text
//!   journal.state().todo() ──> one step ──> journal.append(event) ──┐
//!          ^                                                         │   the same loop in the run and after a kill
//!          └─────────────────────────────────────────────────────────┘
//!   save ─> stop what fights, top down ─> converge ─> prove ─> start it again, bottom up ─> prove ─> end
//!   converge = capture, plan, apply, until a plan is empty or does no good any more
//! ```
//!
//! In: a journal that was begun and saved, the repository, the cluster. Out: a [`Report`]. `undo` is the same towards the
//! snapshot that the transaction before took of what was there. Objects have no records of their own: a round looks at
//! the cluster first, and finds what a kill left. Types that are brought to another storage version have.
//! Invariants: I6 (no difference is unexplained, or the report names it), I7 (a kill anywhere, run again: the same end),
//! I8 (what was stopped is put back exactly, given up or not), I9 (the connection is gated by the lease).

mod driver;
mod error;
mod recorded;
mod report;
mod reviewed;
mod rounds;
mod settling;
mod starting;
mod stopping;

pub use driver::{
    ALLOW_HELM_UPGRADE, DELETE_ADDED_TYPES, HOLD_NOTHING, LOSE_FIELDS, Settings, abandon, drive, restore_options,
};
pub use error::RollbackError;
pub use report::{Report, Round};
pub use reviewed::{ReviewError, ReviewedPlan, agreed};
