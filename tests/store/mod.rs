//! The repository: in memory, in a real folder, against the real shell.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::print_stderr)]

mod backends;
mod bucket;
mod copy;
mod damage;
mod fault;
mod golden;
mod kills;
mod restore_sh;
mod round_trip;
mod sample;
