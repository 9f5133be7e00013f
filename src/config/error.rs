//! Everything that can be wrong with a configuration, as facts.

use std::path::PathBuf;

use crate::source::proxmox::{WrongAddress, WrongFingerprint, WrongToken};

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is not YAML, or not of this schema.
    #[error("`{path}`, line {line}, column {column}: {message}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Counted from 1; 0 when it is not known.
        line: u64,
        /// Counted from 1; 0 when it is not known.
        column: u64,
        /// What is wrong there.
        message: String,
    },
    /// A key's value makes no sense, alone or beside another's.
    #[error("`{key}` in the configuration: {reason}")]
    Value {
        /// Such as `etcd.cert`.
        key: &'static str,
        /// What is wrong and what is expected.
        reason: String,
    },
    /// One of the two keys of a bucket is named, the other is not.
    #[error("`s3.access_key` and `s3.secret_key` in the configuration belong together: name both or none")]
    HalfOfTheKeys,
    /// `proxmox.url` is not an address.
    #[error("`proxmox.url` in the configuration cannot be used")]
    Address(#[source] WrongAddress),
    /// `proxmox.fingerprint` is not one.
    #[error("`proxmox.fingerprint` in the configuration cannot be used")]
    Fingerprint(#[source] WrongFingerprint),
    /// The resolved `proxmox.token` is not one.
    #[error("`proxmox.token` ({place}) cannot be used")]
    Token {
        /// Where the secret came from.
        place: String,
        /// What is wrong, without the secret.
        #[source]
        source: WrongToken,
    },
    /// A secret's environment variable is not set, or empty.
    #[error("`{key}` names the environment variable `{variable}`, which is not set")]
    SecretVariable {
        /// Such as `proxmox.token`.
        key: &'static str,
        /// The variable.
        variable: String,
    },
    /// A secret's file cannot be read.
    #[error("`{key}` names the file `{path}`, which cannot be read")]
    SecretFile {
        /// Such as `proxmox.token`.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A secret's file holds nothing.
    #[error("`{key}` names the file `{path}`, which is empty")]
    SecretEmpty {
        /// Such as `proxmox.token`.
        key: &'static str,
        /// The file.
        path: PathBuf,
    },
}
