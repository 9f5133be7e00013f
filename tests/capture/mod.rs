//! The capture of a cluster, against a real API server and etcd.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::print_stderr)]

mod connection;
mod full_disk;
mod hard_cases;
mod in_a_pod;
mod list_answers;
mod lost_types;
mod oidc;
mod oidc_issuer;
mod one_revision;
mod permissions;
mod proxy;
mod secrets_apart;
mod servers_that_fail;
mod taking;
mod turns;
mod two_api_servers;
mod unreadable_types;
