//! A connection to one cluster.
//!
//! In: a kubeconfig, or a pod's service account. Out: raw JSON answers. Reads are repeated a bounded number of times
//! (`request`), writes never.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::error::ClusterError;
use super::kubeconfig::{self, ConnectOptions};
use super::request::{Call, Connection};
use super::transport_error::TransportFault;

/// Between looks at a server that is not ready: twelve seconds.
const READY_WAITS: [Duration; 6] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(4),
];

/// Asked before each request that may change something.
pub trait WriteGate: Send + Sync {
    /// The request may be sent.
    ///
    /// # Errors
    /// The reason why nothing may be written any more.
    fn check(&self) -> Result<(), String>;
}

/// A connection to a cluster. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    connection: Arc<Connection>,
    gate: Option<Arc<dyn WriteGate>>,
    config: Arc<kube::Config>,
    context: String,
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
        let client = kube::Client::try_from(chosen.config.clone()).map_err(|error| match error {
            kube::Error::InferKubeconfig(error) => {
                ClusterError::BadKubeconfig { path: options.kubeconfig.clone(), problem: error.to_string() }
            }
            other => match TransportFault::of(&other) {
                TransportFault::Credentials(problem) => {
                    ClusterError::Credentials { user: chosen.user.clone(), problem }
                }
                TransportFault::Tls(problem) => ClusterError::Tls { server: server.clone(), problem },
                _ => ClusterError::BadKubeconfig { path: options.kubeconfig.clone(), problem: other.to_string() },
            },
        })?;
        let connection = Connection::new(client, server, chosen.user, chosen.certificate_expires);
        Ok(Self { connection: Arc::new(connection), gate: None, config: Arc::new(chosen.config), context: chosen.name })
    }

    /// The same connection, over which nothing but reads is sent once the gate says no.
    #[must_use]
    pub fn gated(&self, gate: Arc<dyn WriteGate>) -> Self {
        Self { gate: Some(gate), ..self.clone() }
    }

    /// The same cluster over connections of its own: behind a load balancer another API server may answer.
    ///
    /// # Errors
    /// The connection cannot be prepared.
    pub(crate) fn over_new_connections(&self) -> Result<Self, ClusterError> {
        let client = kube::Client::try_from(self.config.as_ref().clone()).map_err(|error| {
            ClusterError::Unreachable { server: self.server().to_owned(), problem: error.to_string() }
        })?;
        Ok(Self { connection: Arc::new(self.connection.with_client(client)), ..self.clone() })
    }

    /// The context's name, `in-cluster` inside a pod.
    pub fn context(&self) -> &str {
        &self.context
    }

    /// The API server's URL.
    pub fn server(&self) -> &str {
        self.connection.server()
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

    /// `/readyz` answers 200. Only its status code counts: the body of a failing one contains "ok" lines. A server that
    /// is short of breath for a moment fails it too, so it is given some seconds.
    ///
    /// # Errors
    /// It answers something else, or nothing.
    pub async fn ready(&self) -> Result<(), ClusterError> {
        let mut waits = READY_WAITS.into_iter();
        loop {
            let status = match self.get("/readyz").await {
                Ok(_) => return Ok(()),
                Err(ClusterError::Api(answer)) if answer.status >= 500 => answer.status,
                Err(other) => return Err(other),
            };
            let Some(wait) = waits.next() else {
                return Err(ClusterError::NotReady { server: self.server().to_owned(), status });
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Reads a path with its query, repeating bounded on 429, 502, 503, 504 and broken connections.
    ///
    /// # Errors
    /// There is no answer, or it is not a success.
    pub async fn get(&self, url: &str) -> Result<Bytes, ClusterError> {
        self.connection.call(Call::get(url)).await
    }

    /// The same for a representation other than plain JSON.
    ///
    /// # Errors
    /// As [`Cluster::get`].
    pub async fn get_as(&self, url: &str, accept: &str) -> Result<Bytes, ClusterError> {
        self.connection.call(Call { accept, ..Call::get(url) }).await
    }

    /// The same, giving up as soon as the answer is larger than `limit` bytes.
    ///
    /// # Errors
    /// As [`Cluster::get`], and [`ClusterError::TooLarge`].
    pub async fn get_at_most(&self, url: &str, limit: usize) -> Result<Bytes, ClusterError> {
        self.connection.call(Call { limit, ..Call::get(url) }).await
    }

    /// Sends one request, JSON in and out. Only a GET is ever repeated.
    ///
    /// # Errors
    /// There is no answer, or it is not a success.
    pub async fn send(&self, method: Method, url: &str, body: Option<Vec<u8>>) -> Result<Bytes, ClusterError> {
        self.write(Call { method, body, ..Call::get(url) }).await
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
        self.write(Call { method, body, content_type, ..Call::get(url) }).await
    }

    /// Reads JSON whose content is no secret.
    pub(super) async fn get_json<T: DeserializeOwned>(
        &self,
        url: &str,
        expected: &'static str,
    ) -> Result<T, ClusterError> {
        parse(url, expected, &self.get(url).await?)
    }

    async fn write(&self, call: Call<'_>) -> Result<Bytes, ClusterError> {
        if let Some(gate) = &self.gate
            && call.method != Method::GET
        {
            gate.check().map_err(|reason| ClusterError::Gated { reason })?;
        }
        self.connection.call(call).await
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
