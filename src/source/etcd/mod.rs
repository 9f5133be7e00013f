//! The etcd snapshot: one member's whole database, byte for byte, with the SHA-256 that its server appended.
//!
//! In: a member's maintenance stream over mutual TLS, a file that exists, or a command that makes one. Out:
//! `etcd/snapshot.db` and `etcd/status.json` in a snapshot. Invariants: the bytes are hashed while they pass and never
//! held in memory; a file whose trailing hash does not agree never becomes part of a snapshot (I3, I4); a command
//! writes into a private folder inside the repository and nowhere else (I10).
//! Constants: etcd writes its database in pages, and appends 32 bytes of SHA-256 over everything before them
//! (`server/etcdserver/api/v3rpc/maintenance.go`; `etcdutl snapshot restore` checks `size % 512 == 32`).

mod capture;
mod command;
mod endpoint;
mod error;
mod handshake;
mod hashed_reader;
mod message_reader;
mod tls;

pub use capture::{ETCD_SNAPSHOT_PATH, EtcdSource, capture_etcd};
pub use error::{EtcdError, UnreachableMember};
pub use hashed_reader::{HashedReader, Trailer};
pub use tls::EtcdTls;
