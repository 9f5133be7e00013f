//! Where content comes from: each source yields paths and bytes for one snapshot.
//!
//! In: a cluster, an etcd member, Proxmox, folders. Out: files in a [`SnapshotWriter`](crate::store::SnapshotWriter) and
//! a [`SourceRecord`](crate::store::SourceRecord) that says whether all of it is there. Invariants: nothing is left out
//! silently (I4); a source that fails half way leaves nothing of itself in the snapshot; no secret reaches an error, a
//! log or a file outside the repository (I10).

mod capture;
mod error;
pub mod etcd;
pub mod files;
pub mod proxmox;

pub use capture::{Sources, Wanted, capture_sources};
pub use error::SourceError;
