//! The one integration-test binary: every test of what needs a repository on disk, a real server or the real command.

mod capture;
mod cli;
mod harness;
mod journal;
mod restore;
mod rollback;
mod sources;
mod store;
