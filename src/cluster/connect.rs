//! A connection to one cluster.

use std::path::PathBuf;

use bytes::Bytes;
use http::Method;

use super::error::ClusterError;

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
pub struct Cluster {}

impl Cluster {
    /// Reads the kubeconfig and prepares the connection; nothing is sent yet.
    pub async fn connect(_options: &ConnectOptions) -> Result<Self, ClusterError> {
        todo!()
    }
    /// The context's name, `in-cluster` inside a pod.
    pub fn context(&self) -> &str {
        todo!()
    }
    /// The API server's URL.
    pub fn server(&self) -> &str {
        todo!()
    }
    /// The API server's version, such as `v1.37.2`.
    pub async fn version(&self) -> Result<String, ClusterError> {
        todo!()
    }
    /// The UID of the namespace kube-system.
    pub async fn identity(&self) -> Result<String, ClusterError> {
        todo!()
    }
    /// `/readyz` answers 200 (only its status code counts).
    pub async fn ready(&self) -> Result<(), ClusterError> {
        todo!()
    }
    /// Reads a path with its query, repeating bounded on 429, 503, 504 and broken connections.
    pub async fn get(&self, _url: &str) -> Result<Bytes, ClusterError> {
        todo!()
    }
    /// Sends one request, JSON in and out. Only a GET is ever repeated.
    pub async fn send(&self, _method: Method, _url: &str, _body: Option<Vec<u8>>) -> Result<Bytes, ClusterError> {
        todo!()
    }
    /// Sends one request with a content type other than JSON, such as a patch.
    pub async fn send_as(
        &self,
        _method: Method,
        _url: &str,
        _content_type: &str,
        _body: Option<Vec<u8>>,
    ) -> Result<Bytes, ClusterError> {
        todo!()
    }
}
