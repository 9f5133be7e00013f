//! Whether a server answers, asked the way its clients would.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use http::Request;
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::certificates::ETCD_CA;
use crate::error::RigError;
use crate::layout::Layout;
use crate::loopback;

/// A paused server takes a connection and never answers.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// A question that a server answers when it is ready.
pub struct Probe {
    client: Client,
    path: &'static str,
}

impl Probe {
    /// The API server's `/readyz`.
    pub fn of_api_server(client: Client) -> Self {
        Self { client, path: "/readyz" }
    }

    /// etcd's `/health`, with a client certificate.
    ///
    /// # Errors
    /// [`RigError::Client`] when the certificates cannot be used.
    pub fn of_etcd(layout: &Layout, url: &str) -> Result<Self, RigError> {
        let path = layout.certificate(ETCD_CA);
        let failed = |reason: String| RigError::Client { config: layout.pki(), reason };
        let pem = fs::read(&path).map_err(RigError::file("read", &path))?;
        let mut config =
            kube::Config::new(url.parse().map_err(|error: http::uri::InvalidUri| failed(error.to_string()))?);
        config.root_cert = Some(certificates_in(&pem).map_err(failed)?);
        config.auth_info.client_certificate = Some(layout.certificate("etcd-client").display().to_string());
        config.auth_info.client_key = Some(layout.key("etcd-client").display().to_string());
        config.default_retry = false;
        let client = Client::try_from(config).map_err(|error| failed(error.to_string()))?;
        Ok(Self { client, path: "/health" })
    }

    /// The `/readyz` of a server that speaks plain HTTP on 127.0.0.1, as controllers do.
    ///
    /// # Errors
    /// [`RigError::Client`] when no client can be made.
    pub fn of_loopback(port: u16) -> Result<Self, RigError> {
        Ok(Self { client: loopback::client(port)?, path: "/readyz" })
    }

    /// Asks once. Only the status counts: the body of a failing `/readyz` holds "ok" lines.
    ///
    /// # Errors
    /// Why not, in words.
    pub async fn answers(&self) -> Result<(), String> {
        let request = Request::get(self.path).body(Vec::new()).map_err(|error| error.to_string())?;
        match tokio::time::timeout(ANSWER_TIME, self.client.request_text(request)).await {
            Ok(answer) => answer.map(drop).map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer to {} within {} s", self.path, ANSWER_TIME.as_secs())),
        }
    }
}

/// A client that never retries by itself, from a kubeconfig.
///
/// # Errors
/// [`RigError::Client`] when the kubeconfig cannot be used.
pub async fn client_from(path: PathBuf) -> Result<Client, RigError> {
    let failed = |reason: String| RigError::Client { config: path.clone(), reason };
    let kubeconfig = Kubeconfig::read_from(&path).map_err(|error| failed(error.to_string()))?;
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(|error| failed(error.to_string()))?;
    config.default_retry = false;
    Client::try_from(config).map_err(|error| failed(error.to_string()))
}

fn certificates_in(pem: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    CertificateDer::pem_slice_iter(pem)
        .map(|certificate| certificate.map(|der| der.to_vec()).map_err(|error| error.to_string()))
        .collect()
}
