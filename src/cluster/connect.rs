//! A connection to one cluster.
//!
//! In: a kubeconfig, or a pod's service account. Out: raw JSON answers. Reads are repeated a bounded number of times
//! (`request`), writes never.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::error::ClusterError;
use super::kubeconfig;
use super::request::Call;
use super::transport_error::TransportFault;

/// Which cluster to connect to.
#[derive(Clone, Debug, Default)]
pub struct ConnectOptions {
    /// A kubeconfig; without one `KUBECONFIG`, the default place, and a pod's service account are tried in this order.
    pub kubeconfig: Option<PathBuf>,
    /// A context of it; without one the current context.
    pub context: Option<String>,
}

/// A connection to a cluster. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    client: kube::Client,
    shared: Arc<Shared>,
}

struct Shared {
    server: String,
    context: String,
    user: String,
    certificate_expires: Option<Timestamp>,
    /// The server gave at least one answer, so that waiting for it to come back is worth more.
    answered: AtomicBool,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cluster({} at {})", self.context(), self.server())
    }
}

impl Cluster {
    /// Reads the kubeconfig and prepares the connection; nothing is sent yet.
    ///
    /// # Errors
    /// There is no kubeconfig, it cannot be used, or it has no such context.
    pub async fn connect(options: &ConnectOptions) -> Result<Self, ClusterError> {
        // Without a provider rustls panics at the first connection; a second installation is refused and harmless.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let chosen = kubeconfig::choose(options).await?;
        let server = chosen.config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let shared = Shared {
            server: server.clone(),
            context: chosen.name,
            user: chosen.user,
            certificate_expires: chosen.certificate_expires,
            answered: AtomicBool::new(false),
        };
        let client = kube::Client::try_from(chosen.config).map_err(|error| match error {
            kube::Error::InferKubeconfig(error) => {
                ClusterError::BadKubeconfig { path: options.kubeconfig.clone(), problem: error.to_string() }
            }
            other => match TransportFault::of(&other) {
                TransportFault::Credentials(problem) => {
                    ClusterError::Credentials { user: shared.user.clone(), problem }
                }
                TransportFault::Tls(problem) => ClusterError::Tls { server, problem },
                _ => ClusterError::BadKubeconfig { path: options.kubeconfig.clone(), problem: other.to_string() },
            },
        })?;
        Ok(Self { client, shared: Arc::new(shared) })
    }

    /// The context's name, `in-cluster` inside a pod.
    pub fn context(&self) -> &str {
        &self.shared.context
    }

    /// The API server's URL.
    pub fn server(&self) -> &str {
        &self.shared.server
    }

    /// The API server's version, such as `v1.37.2`.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn version(&self) -> Result<String, ClusterError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Version {
            git_version: String,
        }
        Ok(self.get_json::<Version>("/version", "a version").await?.git_version)
    }

    /// The UID of the namespace kube-system.
    ///
    /// # Errors
    /// There is no answer, or the user may not read that namespace.
    pub async fn identity(&self) -> Result<String, ClusterError> {
        #[derive(Deserialize)]
        struct Namespace {
            metadata: Metadata,
        }
        #[derive(Deserialize)]
        struct Metadata {
            uid: String,
        }
        Ok(self.get_json::<Namespace>("/api/v1/namespaces/kube-system", "a namespace").await?.metadata.uid)
    }

    /// `/readyz` answers 200. Only its status code counts: the body of a failing one contains "ok" lines.
    ///
    /// # Errors
    /// It answers something else, or nothing.
    pub async fn ready(&self) -> Result<(), ClusterError> {
        match self.get("/readyz").await {
            Ok(_) => Ok(()),
            Err(ClusterError::Api(answer)) if answer.status >= 500 => {
                Err(ClusterError::NotReady { server: self.server().to_owned(), status: answer.status })
            }
            Err(other) => Err(other),
        }
    }

    /// Reads a path with its query, repeating bounded on 429, 502, 503, 504 and broken connections.
    ///
    /// # Errors
    /// There is no answer, or it is not a success.
    pub async fn get(&self, url: &str) -> Result<Bytes, ClusterError> {
        self.call(Call::get(url)).await
    }

    /// The same for a representation other than plain JSON.
    ///
    /// # Errors
    /// As [`Cluster::get`].
    pub async fn get_as(&self, url: &str, accept: &str) -> Result<Bytes, ClusterError> {
        self.call(Call { accept, ..Call::get(url) }).await
    }

    /// The same, giving up as soon as the answer is larger than `limit` bytes.
    ///
    /// # Errors
    /// As [`Cluster::get`], and [`ClusterError::TooLarge`].
    pub async fn get_at_most(&self, url: &str, limit: usize) -> Result<Bytes, ClusterError> {
        self.call(Call { limit, ..Call::get(url) }).await
    }

    /// Sends one request, JSON in and out. Only a GET is ever repeated.
    ///
    /// # Errors
    /// There is no answer, or it is not a success.
    pub async fn send(&self, method: Method, url: &str, body: Option<Vec<u8>>) -> Result<Bytes, ClusterError> {
        self.call(Call { method, body, ..Call::get(url) }).await
    }

    /// Sends one request with a content type other than JSON, such as a patch.
    ///
    /// # Errors
    /// There is no answer, or it is not a success.
    pub async fn send_as(
        &self,
        method: Method,
        url: &str,
        content_type: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Bytes, ClusterError> {
        self.call(Call { method, body, content_type, ..Call::get(url) }).await
    }

    /// Reads JSON whose content is no secret.
    pub(super) async fn get_json<T: DeserializeOwned>(
        &self,
        url: &str,
        expected: &'static str,
    ) -> Result<T, ClusterError> {
        parse(url, expected, &self.get(url).await?)
    }

    pub(super) fn client(&self) -> &kube::Client {
        &self.client
    }

    pub(super) fn user(&self) -> &str {
        &self.shared.user
    }

    pub(super) fn note_answer(&self) {
        self.shared.answered.store(true, Ordering::Relaxed);
    }

    pub(super) fn has_answered(&self) -> bool {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// A 401, whose commonest cause can be told.
    pub(super) fn unauthorized(&self) -> ClusterError {
        self.expired_certificate().unwrap_or_else(|| ClusterError::Unauthorized {
            server: self.server().to_owned(),
            user: self.user().to_owned(),
        })
    }

    /// Only asked when the server refused: its clock decides, not ours.
    pub(super) fn expired_certificate(&self) -> Option<ClusterError> {
        let expired = self.shared.certificate_expires.filter(|end| *end <= Timestamp::now())?;
        Some(ClusterError::CertificateExpired { user: self.user().to_owned(), expired })
    }
}

/// Reads JSON; the error says where it broke, never what was there.
pub(crate) fn parse<'de, T: Deserialize<'de>>(
    url: &str,
    expected: &'static str,
    body: &'de [u8],
) -> Result<T, ClusterError> {
    serde_json::from_slice(body).map_err(|error| ClusterError::BadAnswer {
        method: "GET".to_owned(),
        path: url.split('?').next().unwrap_or_default().to_owned(),
        expected,
        problem: format!("{:?} error at line {} column {}", error.classify(), error.line(), error.column()),
    })
}
