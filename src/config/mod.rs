//! `snapback.yaml`: what to back up beside the current context, and where to.
//!
//! In: one YAML file, every key optional. Out: a [`Config`], and from it the sources with their secrets resolved.
//! Invariants: an unknown key is an error with its line and column; a secret is only ever named (`{env: NAME}` or
//! `{file: PATH}`), and a secret's value never reaches an error, a log or `Debug` (I10); the library reads no home
//! folder, so `~` is refused rather than guessed (I11). The schema with an example is `docs/configuration.md`.

mod document;
mod duration;
mod error;
mod load;
mod s3;
mod secret;
mod sources;

pub use document::{CaptureConfig, ClusterConfig, Config, EtcdConfig, FolderConfig, ProxmoxConfig, RollbackConfig};
pub use error::ConfigError;
pub use s3::S3Config;
pub use secret::{Secret, SecretRef};
