//! How to reach a bucket: what the configuration says beside what every AWS tool reads.
//!
//! In: the section `s3`. Out: options with secrets and certificates read. What is absent is left to the environment and to
//! `~/.aws`.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::document::Config;
use super::error::ConfigError;
use super::secret::SecretRef;
use super::sources::within;
use crate::store::backend::{S3Keys, S3Options};

/// How to reach a bucket.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct S3Config {
    /// The server's URL. Absent: `AWS_ENDPOINT_URL`, the profile's, or AWS.
    pub endpoint: Option<String>,
    /// The region. Absent: `AWS_REGION`, the profile's, or `us-east-1`.
    pub region: Option<String>,
    /// A profile of `~/.aws`. Absent: `AWS_PROFILE`, or `default`.
    pub profile: Option<String>,
    /// The bucket stands in the path instead of the host. Absent: wherever an endpoint is named.
    pub path_style: Option<bool>,
    /// Certificate authorities that count beside the system's, PEM.
    pub ca: Option<PathBuf>,
    /// The access key. Absent: environment, profile, web identity, instance metadata.
    pub access_key: Option<SecretRef>,
    /// Its secret.
    pub secret_key: Option<SecretRef>,
    /// Sends the SHA-256 of each upload, which the server checks. Some old servers refuse what they do not know; all others
    /// are safer with it, so: true.
    pub checksums: bool,
}

impl Default for S3Config {
    fn default() -> Self {
        Self {
            endpoint: None,
            region: None,
            profile: None,
            path_style: None,
            ca: None,
            access_key: None,
            secret_key: None,
            checksums: true,
        }
    }
}

impl Config {
    /// How to reach a bucket, with secrets and certificates read. The spool is the caller's to choose.
    ///
    /// # Errors
    /// A secret or the certificates cannot be read, or only one of the two keys is named.
    pub fn s3_options(&self) -> Result<S3Options, ConfigError> {
        let S3Config { endpoint, region, profile, path_style, ca, access_key, secret_key, checksums } = &self.s3;
        let authorities = ca.as_ref().map(|ca| read(&self.folder, ca)).transpose()?;
        let keys = match (access_key, secret_key) {
            (Some(access), Some(secret)) => Some(S3Keys {
                access_key: access.resolve("s3.access_key", &self.folder)?.expose().to_owned(),
                secret_key: secret.resolve("s3.secret_key", &self.folder)?.expose().to_owned(),
            }),
            (None, None) => None,
            _ => return Err(ConfigError::HalfOfTheKeys),
        };
        Ok(S3Options {
            endpoint: endpoint.clone(),
            region: region.clone(),
            profile: profile.clone(),
            path_style: *path_style,
            authorities,
            keys,
            without_checksums: !checksums,
            spool: None,
        })
    }
}

fn read(folder: &Path, path: &Path) -> Result<Vec<u8>, ConfigError> {
    let path = within(folder, path, "s3.ca")?;
    std::fs::read(&path).map_err(|source| ConfigError::Read { path, source })
}
