//! Storage versions: a CRD whose objects are stored at versions that the wanted CRD does not have among its own.
//!
//! An upgrade that gave a type a new storage version cannot be undone by writing the old CRD: the API server refuses it
//! while objects are, or may be, stored at the new one, and an object left behind makes the whole type unreadable. So the
//! way back has five steps ([`Step`]), each taken by looking at the world first. In: both CRDs. Out: a [`StoragePlan`],
//! which says what objects lose, and a [`Conversion`], which takes the steps and tells a [`StorageRecord`] of each
//! before. Invariants: I5 (planning writes nothing),
//! I7 (a run that begins anew after a kill at any point ends in the same state), I10 (plans hold names, never values).

mod applying;
mod compared;
mod conversion;
mod definition;
mod error;
mod everywhere;
mod examine;
mod planning;
mod pruning;
mod put_back;
mod record;
mod rewrite;
mod step;
mod storage_plan;
mod validation;

pub use compared::comparable_versions;
pub use conversion::{Conversion, Taken};
pub(super) use definition::{first_union, list_url};
pub use error::{RefusedObject, StorageError};
pub(super) use examine::examine;
pub(super) use planning::{find_conversions, put_off};
pub use put_back::crd_of;
pub use record::{Milestone, StorageRecord, Unrecorded};
pub use rewrite::Rewritten;
pub use step::Step;
pub use storage_plan::{ObjectLoss, StoragePlan, Unreadable};
pub use validation::BrokenRule;
