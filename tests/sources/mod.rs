//! Sources beside the cluster, against real servers (Proxmox: a stand-in, since it cannot be had).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod backup;
mod config;
mod cutting_proxy;
mod etcd;
mod etcd_file;
mod etcd_members;
mod etcd_process;
pub(crate) mod etcd_recovery;
mod files;
mod memory;
mod proxmox;
mod rbac;
mod restored_etcd;
mod taken;
