//! Restore: what differs from a snapshot is planned, applied and proven.
//!
//! In: the live cluster as a tree, the wanted snapshot as a tree. Out: a [`Plan`] (a value: printable, bound to the
//! UIDs and resourceVersions it was computed from) with the [`Right`]s that it takes, what was [`Applied`], and a
//! [`Proof`]. Invariants: I5 (planning writes nothing; its requests carry `dryRun=All`), I6 (no unexplained difference;
//! a second plan is empty), I10 (a plan holds hashes and field names, never bodies). Nothing that does not differ is
//! touched.
//! What would fight is held still by [`quiesce`] meanwhile, and put back exactly (I8); a [`Lease`] keeps others from
//! writing (I9). The journal is around all of it, in [`crate::rollback`].

mod added_types;
mod address;
mod applied;
mod apply;
mod comparison;
mod controller_owned;
mod decide;
mod dependents;
mod dry_run;
mod ending;
mod error;
mod finalizers;
pub mod helm;
mod judge;
mod lease;
mod lease_record;
mod moment;
mod never_list;
mod object;
mod options;
mod order;
mod plan;
#[cfg(test)]
mod plan_test;
mod planner;
mod proof;
mod prove;
pub mod quiesce;
mod recorded_types;
mod references;
mod refuser;
mod requests;
mod returning_types;
mod rights;
mod scope;
mod service_address;
mod storage_versions;
mod tokens;
mod volumes;
mod world;
mod write;
mod write_recipe;

pub use address::TypeAddress;
pub use applied::{Applied, Outcome, Step};
pub use apply::apply;
pub use comparison::Allowed;
pub use dry_run::Tried;
pub use error::RestoreError;
pub use lease::{Guard, Lease, LeaseError, LeaseLost, LeaseOptions, Predecessor, lease_holder};
pub use never_list::{NeverRule, Reach, check_rules, never_list};
pub use options::{AddedTypes, RestoreOptions, Wait};
pub use plan::{Action, Bound, Counts, Danger, Operation, Plan, SkipReason, Skipped};
pub use planner::plan;
pub use proof::{Difference, Explained, Proof, Unexplained};
pub use prove::{compare, prove};
pub use recorded_types::{Unsaved, readable};
pub use refuser::Refuser;
pub use rights::{Right, RightVerb, denied_rights, finalizer_rights, needed_rights};
pub use scope::{RollbackScope, UnknownScope, changed_outside};
pub use storage_versions::{
    BrokenRule, Conversion, Milestone, ObjectLoss, RefusedObject, Rewritten, Step as StorageStep, StorageError,
    StoragePlan, StorageRecord, Taken, Unreadable, Unrecorded, comparable_versions, crd_of,
};
