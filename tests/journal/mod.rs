//! The journal of a transaction: on a real disk and in a repository, torn, killed, damaged and contended.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::print_stderr)]

mod copies;
pub(crate) mod countdown;
mod damage;
mod flaky;
mod golden;
mod legal;
mod listing;
mod one_copy;
mod recovery;
mod story;
