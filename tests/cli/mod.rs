//! The command line, run as a person runs it: the real binary, its texts, its exit codes.

mod cluster_errors;
mod interrupt;
mod normal;
mod repository;
mod story;
mod usage;
