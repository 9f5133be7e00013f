//! The command line, run as a person runs it: the real binary, its texts, its exit codes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod another_cluster;
mod bucket;
mod cluster_errors;
mod copying;
mod interrupt;
mod json;
mod kill;
mod long_plan;
mod normal;
mod parts;
mod repository;
mod rights;
mod storage_versions;
mod story;
mod terminal;
mod unexplained;
mod unread;
mod unwritable;
mod usage;
mod watched;
