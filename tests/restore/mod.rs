//! Restore on a real control plane: accidents, and the way back.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::print_stderr)]

mod accident;
mod dry_run;
mod hard_objects;
mod objects;
mod random;
mod site;
