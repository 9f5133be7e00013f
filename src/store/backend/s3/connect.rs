//! A client for a bucket: where it is, who we are, which certificates count.
//!
//! In: [`S3Options`], and for what they leave open the environment and files that every AWS tool reads (region, profile,
//! `AWS_ENDPOINT_URL`, credentials from environment, profile, web identity or instance metadata). Out: an SDK client with
//! ring as its one TLS provider, and without retries of its own ([`super::retry`]).

use std::path::PathBuf;
use std::time::Duration;

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{RequestChecksumCalculation, ResponseChecksumValidation};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};

use crate::store::backend::BackendError;

use super::place::S3Place;

/// Where nobody names a region: what S3-compatible servers take when they have none.
const DEFAULT_REGION: &str = "us-east-1";
/// Until a connection is there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Until the first byte of an answer, which on S3 comes after the last byte of the request.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// What the SDK cannot know by itself.
#[derive(Clone, Default)]
pub struct S3Options {
    /// URL of the server; `None` for `AWS_ENDPOINT_URL`, the profile's, or AWS itself.
    pub endpoint: Option<String>,
    /// Region; `None` for `AWS_REGION`, the profile's, or `us-east-1`.
    pub region: Option<String>,
    /// Of the profile in `~/.aws`; `None` for `AWS_PROFILE` or `default`.
    pub profile: Option<String>,
    /// The bucket is named in the path instead of the host. `None`: wherever an endpoint is named, since few servers but
    /// AWS have a host name for each bucket.
    pub path_style: Option<bool>,
    /// PEM of certificate authorities that count beside the system's.
    pub authorities: Option<Vec<u8>>,
    /// Access key and its secret; `None` for the usual chain.
    pub keys: Option<S3Keys>,
    /// No checksum is sent: for servers that do not know `x-amz-checksum-sha256`.
    pub without_checksums: bool,
    /// A private folder on this machine for packs that are not finished.
    pub spool: Option<PathBuf>,
}

/// Who we are.
#[derive(Clone)]
pub struct S3Keys {
    /// The access key.
    pub access_key: String,
    /// Its secret.
    pub secret_key: String,
}

/// Keys and certificates are nobody's business in a log (I10).
impl std::fmt::Debug for S3Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3Options")
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("profile", &self.profile)
            .field("path_style", &self.path_style)
            .finish_non_exhaustive()
    }
}

/// Makes the client. Nothing is asked of the server yet.
pub(super) async fn connect(place: &S3Place, options: &S3Options) -> Result<Client, BackendError> {
    let unsuitable = |reason: String| BackendError::Unsuitable { place: place.to_string(), reason };
    let mut trusted = TrustStore::default();
    if let Some(pem) = &options.authorities {
        trusted.add_pem_certificate(pem.clone());
    }
    let tls = TlsContext::builder().with_trust_store(trusted).build().map_err(|error| unsuitable(error.to_string()))?;
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(tls)
        .build_https();

    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http);
    if let Some(profile) = &options.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(region) = &options.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(S3Keys { access_key, secret_key }) = &options.keys {
        loader = loader.credentials_provider(Credentials::new(access_key, secret_key, None, None, "configuration"));
    }
    if let Some(endpoint) = &options.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    let shared = loader.load().await;
    let has_endpoint = shared.endpoint_url().is_some() || std::env::var_os("AWS_ENDPOINT_URL_S3").is_some();
    let region = shared.region().cloned().unwrap_or_else(|| Region::from_static(DEFAULT_REGION));
    let config = aws_sdk_s3::config::Builder::from(&shared)
        .region(region)
        .force_path_style(options.path_style.unwrap_or(has_endpoint))
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(READ_TIMEOUT).build())
        // Each upload carries the SHA-256 that is known anyway, and each download is hashed by whoever reads it.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .build();
    Ok(Client::from_conf(config))
}
