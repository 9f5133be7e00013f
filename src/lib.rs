//! snapback: exact snapshots of a CozyStack management cluster, a repository that proves itself, and one way back.
//!
//! ```text
//!   live cluster ─┐                                              ┌─ show, ls, diff, history, export
//!   etcd file    ─┼─ source ─> snapshot ─> store (repository) ───┼─ maintain: verify
//!   Proxmox      ─┤            (a tree)                          ├─ restore: plan ─> apply ─> prove
//!   folders      ─┘                                              └─ recovery: etcd, all of it
//! ```
//!
//! One idea carries everything: a snapshot is a tree, and every command is an operation on trees. Dependencies point
//! downwards only: `cli` uses `rollback`, `recovery` and `maintain`, `rollback` uses `restore`, these use `snapshot`, `journal` and `store`, `journal` uses
//! `store` alone, and `source` uses `cluster`. The library never prints, exits or reads the home folder (I11).

pub mod cluster;
pub mod config;
pub mod journal;
pub mod maintain;
pub mod named_file;
pub mod progress;
pub mod recovery;
pub mod restore;
pub mod rollback;
pub mod snapshot;
pub mod source;
pub mod store;
