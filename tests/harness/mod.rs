//! What the tests stand on: the real command, and real servers that end with the test.
#![allow(dead_code, unreachable_pub, reason = "one crate of tests: what a room does not use yet, another one does")]

pub mod again;
pub mod audit;
pub mod clock;
pub mod control_plane;
pub mod fighting;
pub mod https_stand_in;
pub mod load_balancer;
pub mod own_mounts;
pub mod proxmox;
pub mod s3;
pub mod s3_between;
pub mod sample;
pub mod snapback;

mod control_plane_test;
mod cozystack;
mod fighting_test;
mod toolchain_test;
