//! Sources beside the cluster, against real servers (Proxmox: a stand-in, since it cannot be had).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on is a failed test"
)]

mod config;
