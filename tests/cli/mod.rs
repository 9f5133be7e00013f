//! The command line, run as a person runs it: the real binary, its texts, its exit codes.

mod repository;
mod usage;
