//! Proxmox VE: its backup jobs, its storage definitions and its version, over REST with an API token.
//!
//! In: `https://HOST:8006/api2/json/...`. Out: `proxmox/cluster/backup.json`, `proxmox/storage.json` and
//! `proxmox/version.json`, each the answer's `data` as canonical JSON (keys sorted, numbers as written). Invariants: only
//! GET is ever sent; the token appears in no error, log or file; a storage that the token may not see makes the source
//! partial, since Proxmox leaves it out without a word; nothing depends on when it was asked (`next-run` is dropped).
//! Proxmox answers no passwords or keys here (it keeps them apart, under /etc/pve/priv), so answers are kept as they are.
//! Sources: `PVE/API2/Backup.pm` of pve-manager, `PVE/API2/Storage/Config.pm` of pve-storage,
//! `PVE/APIServer/AnyEvent.pm` of pve-http-server, `PVE/API2/AccessControl.pm` of pve-access-control.

mod address;
mod answer;
mod capture;
mod client;
mod error;
mod tls;
mod token;

pub use address::{ProxmoxAddress, WrongAddress};
pub use capture::{ProxmoxSource, capture_proxmox};
pub use error::ProxmoxError;
pub use tls::{Fingerprint, Trust, WrongFingerprint};
pub use token::{ApiToken, WrongToken};
