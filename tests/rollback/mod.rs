//! Rollback and undo: a real hop of a platform that fights, kills at every record, and what is refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::print_stderr)]

mod case;
mod clocks;
mod damaged_copy;
mod finalizers;
mod given_up;
mod half_way;
mod helm;
mod homeless;
mod hop;
mod kills;
mod only_what_changed;
mod outages;
mod pairs;
mod refusals;
mod returning;
mod rewritten;
mod undoes;
mod unsaved;
