//! What is done to a repository as a whole, beside backing up and restoring.
//!
//! In: a repository. Out: reports as values. Invariants: I3 (`verify` finds one flipped or missing byte anywhere and
//! names what is lost with it), I5 (nothing here writes to the repository), I11 (nothing prints).

pub mod verify;

mod export;
mod history;
mod portable;
mod yaml;

pub use export::{ExportError, ExportOptions, Exported, ManifestSink, SECRETS_LEFT_OUT, export};
pub use history::{Version, history};
pub use yaml::to_yaml;
