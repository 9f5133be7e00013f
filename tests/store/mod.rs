//! The repository: in memory, in a real folder, against the real shell.

mod round_trip;
mod sample;
