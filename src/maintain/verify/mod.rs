//! Verify: is everything in the repository still what was written, and if not, what does that cost?
//!
//! In: a backend, a level, the head that this machine remembers. Out: a [`VerifyReport`].
//! Invariants: I3. One flipped, missing or added byte in any file is damage from level `Bytes` on (from `Names` on for
//! the log, `repo.json` and the files beside it); every damage names the snapshots that need the file and the paths
//! that no other pack can give. Nothing is written; memory does not grow with the size of a pack.

mod check;
mod file_hash;
mod journals;
mod loss;
mod pack_scan;
mod references;
mod report;

pub use check::{verify, verify_snapshot};
pub use report::{Checked, Damage, VerifyLevel, VerifyOptions, VerifyReport};
