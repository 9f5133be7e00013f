//! Restore on a real control plane: accidents, and the way back.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::print_stderr)]

mod accident;
pub(crate) mod accidents;
mod addresses;
mod changes;
mod dry_run;
mod finalizers;
mod hard_objects;
mod helm;
mod hostile;
mod lease;
mod left_alone;
mod objects;
mod outage;
mod owners;
mod quiesce;
mod random;
mod refusals;
mod requests;
pub(crate) mod site;
mod storage_versions;
mod storage_versions_load;
mod storage_versions_servers;
mod storage_versions_steps;
pub(crate) mod storage_versions_type;
mod volumes;
