//! Everything that can go wrong with Proxmox, as facts.

use std::path::PathBuf;
use std::time::Duration;

use super::token::WrongToken;
use crate::store::StoreError;

/// Proxmox could not be captured.
#[derive(Debug, thiserror::Error)]
pub enum ProxmoxError {
    /// The CA file cannot be read.
    #[error("cannot read the CA file `{path}`")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The CA file holds no certificate.
    #[error("`{path}` holds no certificate in PEM")]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The TLS library refuses its own settings.
    #[error("cannot set up TLS")]
    Tls {
        /// What it said.
        #[source]
        source: rustls::Error,
    },
    /// The host is neither a name nor an address.
    #[error("`{host}` is neither a host name nor an IP address")]
    WrongHost {
        /// As configured.
        host: String,
    },
    /// Nobody listens there.
    #[error("cannot connect to Proxmox at `{address}`")]
    Connect {
        /// Host and port.
        address: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The server's certificate is not trusted, or the handshake failed.
    #[error("cannot trust Proxmox at `{address}`: {reason}")]
    Untrusted {
        /// Host and port.
        address: String,
        /// What is wrong with the certificate.
        reason: String,
    },
    /// The token is malformed.
    #[error(transparent)]
    Token(#[from] WrongToken),
    /// The connection broke while asking or answering.
    #[error("Proxmox at `{address}` broke off while answering `{path}`")]
    Broken {
        /// Host and port.
        address: String,
        /// The API path.
        path: String,
        /// What the client said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No answer in time.
    #[error("Proxmox at `{address}` did not answer `{path}` within {} s", .limit.as_secs())]
    Timeout {
        /// Host and port.
        address: String,
        /// The API path.
        path: String,
        /// The limit.
        limit: Duration,
    },
    /// The token is not accepted (401).
    #[error("Proxmox at `{address}` does not accept the token `{token}`: {reason}")]
    Unauthorized {
        /// Host and port.
        address: String,
        /// The token's id, without its secret.
        token: String,
        /// What Proxmox said.
        reason: String,
    },
    /// The token may not read this (403).
    #[error("the token `{token}` may not read `{path}` at Proxmox `{address}`: {reason}")]
    Forbidden {
        /// Host and port.
        address: String,
        /// The token's id, without its secret.
        token: String,
        /// The API path.
        path: String,
        /// What Proxmox said, such as `Permission check failed (/, Sys.Audit)`.
        reason: String,
    },
    /// Any other status but 200.
    #[error("Proxmox at `{address}` answered `{path}` with {status}: {reason}")]
    Status {
        /// Host and port.
        address: String,
        /// The API path.
        path: String,
        /// HTTP status, or one of pveproxy's own: 595 and 596 when it cannot reach another node.
        status: u16,
        /// What Proxmox said.
        reason: String,
    },
    /// The answer is not `{"data": ...}`. Its content is not repeated.
    #[error("Proxmox at `{address}` answered `{path}` with something that is not its JSON: {reason}")]
    NotJson {
        /// Host and port.
        address: String,
        /// The API path.
        path: String,
        /// Where it stops being that.
        reason: String,
    },
    /// The repository failed, not Proxmox.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ProxmoxError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Unauthorized { .. } => {
                "the form is `USER@REALM!TOKENID=SECRET`; `pveum user token list USER@REALM` shows tokens and expiry dates"
            }
            Self::Forbidden { .. } => {
                "give both the user and the token the role PVEAuditor on `/`: `pveum acl modify / --roles PVEAuditor --users \
                 USER@REALM`, and the same with `--tokens 'USER@REALM!TOKENID'`"
            }
            Self::Untrusted { .. } => {
                "set `proxmox.ca` to a copy of /etc/pve/pve-root-ca.pem, or `proxmox.fingerprint` to the SHA-256 that \
                 `pvenode cert info` shows on that node"
            }
            Self::Connect { .. } => "check `proxmox.url`; the API listens on port 8006 of every node",
            Self::Status { status: 595..=599, .. } => {
                "that node could not reach the one it asked; try another node's address in `proxmox.url`"
            }
            _ => return None,
        })
    }
}
