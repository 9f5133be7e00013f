//! The journal of a transaction: what was decided, and what neither the cluster nor a snapshot can tell.
//!
//! ```text
//!   Event ── next(state, event) ──> State ── todo() ──> what comes next
//!     │        the same function in the run and in the recovery
//!     └─ Record (one line, sealed, chained) ── append ──> local file, fsynced ──> journal/<transaction>/<n>.json
//! ```
//!
//! In: events, a folder of this machine, a repository. Out: the state of a transaction, whoever worked on it before and
//! wherever that was killed. Knows nothing of Kubernetes.
//! Invariants: an intent is durable before its effect, an observation before anything is built on it (I7); what was
//! stopped is named, with what it was before, until it was started again (I8); two that continue the same transaction
//! notice, and one of them stops (I9); a record holds names, numbers and hashes, never a value (I10); the folder is
//! given by the caller (I11). Format 1 is a promise: `docs/journal-format.md`.

mod agreement;
mod chain;
mod error;
mod event;
mod held;
mod journal_store;
mod listing;
mod local_copy;
mod mirror;
mod open_journal;
mod record;
mod state;
mod todo;
mod transaction_id;
mod transition;
#[cfg(test)]
mod transition_test;
mod two_copies;

pub use chain::Chain;
pub use error::{JournalError, Place};
pub use event::{Begun, Event, Outcome, Purpose, Reason, SnapshotName};
pub use held::{Held, Prior};
pub use journal_store::JournalStore;
pub use listing::{Summary, list};
pub(crate) use mirror::{mirror_name, mirror_number};
pub use open_journal::OpenJournal;
pub use record::{Record, RecordError};
pub use state::{CrdStep, Grip, HeldItem, Phase, State};
pub use todo::Todo;
pub use transaction_id::{NotATransaction, TransactionId};
pub use transition::{IllegalEvent, next};
pub use two_copies::{TwoCopies, read_journal};
