//! The repository: a create-only numbered log, packs that are ordinary `.tar.zst` files, and trees named by content.
//!
//! In: blobs with their paths. Out: committed snapshots that can be read back byte for byte. Knows nothing of
//! Kubernetes. Invariants: I1, I2, I3. The format is drawn in `docs/repository-format.md`.

pub mod backend;
mod commit;
mod copy;
mod error;
mod hash;
mod history;
mod init;
mod lines;
mod log_entry;
pub(crate) mod pack;
mod parent;
mod read_log;
mod repository;
mod segments;
mod snapshot_body;
mod snapshot_tree;
mod snapshot_writer;
mod tree;
mod tree_builder;

pub use copy::Copied;
pub use error::StoreError;
pub use hash::{ContentHash, NotAHash};
pub use history::{Head, History, Snapshot};
pub(crate) use log_entry::{entry_name as log_name, entry_number as log_number};
pub use pack::{FrameGroup, PackKind, PackRef};
pub(crate) use pack::{is_pack_name, random_hex};
pub use repository::Repository;
pub(crate) use segments::SegmentList;
pub use snapshot_body::{SnapshotBody, SourceRecord, SourceState};
pub use snapshot_tree::SnapshotTree;
pub use snapshot_writer::{Blob, SnapshotWriter, WrittenSnapshot};
pub use tree::{EntryKind, MAX_ENTRIES, Tree, TreeEntry, TreeError, decode_name, encode_name};
