//! The command line: a file per command, and what they share.
//!
//! In: arguments, the environment, a configuration file. Out: results on standard output (text, or one JSON document),
//! progress and errors on standard error, an exit code. Invariants: only [`output`] prints; a value that is secret is
//! masked unless `--reveal` (I10); success is printed only after the library said so (I2).

pub(crate) mod arguments;
pub(crate) mod error;
pub(crate) mod exit;
pub(crate) mod output;
pub(crate) mod run;

mod advice;
mod backup;
mod common_options;
mod completions;
mod consent;
mod copy;
mod diff;
mod etcd;
mod export;
mod field_text;
mod heads;
mod helm;
mod history;
mod init;
mod intended;
mod interrupt;
mod live;
mod ls;
mod man;
mod mask;
mod plan_text;
mod preview;
mod progress;
mod restore;
mod restore_failure;
mod review;
mod rights;
mod rollback;
mod scope;
mod session;
mod show;
mod site;
mod snapshot_name;
mod snapshots;
mod state;
mod table;
mod taking;
mod transaction;
mod transaction_text;
mod tree_path;
mod undo;
mod unfinished;
mod verify;
mod version;
