//! The archives over HTTP on loopback: what source-controller's own file server gives.

use std::convert::Infallible;
use std::net::Ipv4Addr;

use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;

use super::catalog;
use super::error::FluxError;

/// The host that artifact URLs name, as in a real cluster.
pub const HOST: &str = "http://source-controller.cozy-fluxcd.svc.cluster.local.";

/// Answered with 200 as soon as archives are served.
const READY: &str = "/readyz";

/// A file that is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Its path below [`HOST`].
    pub path: String,
    /// Its bytes.
    pub content: Vec<u8>,
}

impl Artifact {
    /// The archive of one chart for one HelmChart object.
    ///
    /// # Errors
    /// [`FluxError::Pack`] when it cannot be made.
    pub fn of_chart(namespace: &str, object: &str, chart: &str, version: &str) -> Result<Self, FluxError> {
        let content = catalog::chart(chart, version)
            .pack()
            .map_err(|source| FluxError::Pack { chart: chart.to_owned(), source })?;
        Ok(Self { path: format!("helmchart/{namespace}/{object}/{chart}-{version}.tgz"), content })
    }

    /// The index of one HelmRepository object.
    pub fn of_index(namespace: &str, object: &str) -> Self {
        let content = catalog::index().into_bytes();
        let hash = sha256(&content);
        Self { path: format!("helmrepository/{namespace}/{object}/index-{hash}.yaml"), content }
    }

    /// `sha256:` and the hash of the bytes.
    pub fn digest(&self) -> String {
        format!("sha256:{}", sha256(&self.content))
    }
}

fn sha256(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What lies under a path: everything can be made again from the path alone, so nothing is kept.
fn find(path: &str) -> Option<Artifact> {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match parts.as_slice() {
        ["helmchart", namespace, object, file] => {
            let (chart, version) = catalog::charts().into_iter().find_map(|(chart, versions)| {
                let version = file.strip_suffix(".tgz")?.strip_prefix(chart.as_str())?.strip_prefix('-')?;
                versions.iter().find(|known| **known == version).map(|known| (chart, *known))
            })?;
            Artifact::of_chart(namespace, object, &chart, version).ok()
        }
        ["helmrepository", namespace, object, _] => Some(Artifact::of_index(namespace, object)),
        _ => None,
    }
    .filter(|artifact| artifact.path == path.trim_start_matches('/'))
}

/// Listens for helm-controller's downloads until the process ends.
///
/// # Errors
/// [`FluxError::Listen`] when the port is taken.
pub async fn listen(port: u16) -> Result<Infallible, FluxError> {
    let failed = |source| FluxError::Listen { port, source };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(failed)?;
    loop {
        let (stream, _) = listener.accept().await.map_err(failed)?;
        tokio::spawn(async move {
            // A client that goes away in the middle is no concern of ours.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).await;
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path();
    let found = find(path);
    let status = if found.is_some() || path == READY { StatusCode::OK } else { StatusCode::NOT_FOUND };
    let mut response =
        Response::new(Full::new(Bytes::from(found.map(|artifact| artifact.content).unwrap_or_default())));
    *response.status_mut() = status;
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::{Artifact, find};

    #[test]
    fn what_an_artifact_names_is_found_under_its_path() {
        let chart = Artifact::of_chart("cozy-system", "cozy-cilium-cilium", "cozy-cilium", "0.35.5").expect("a chart");
        assert_eq!(find(&format!("/{}", chart.path)), Some(chart));
        let index = Artifact::of_index("cozy-system", "cozystack-system");
        assert_eq!(find(&index.path), Some(index));
        assert_eq!(find("/helmchart/cozy-system/x/cozy-cilium-9.9.9.tgz"), None);
    }
}
