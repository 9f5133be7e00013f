//! The floor that `scripts/bench` measures a backup against: the same lists at one revision, over so many
//! connections, read to the end and thrown away.
//!
//! In: a kubeconfig. Out: bytes and pages read. Nothing is parsed beyond the page's metadata, nothing is kept.

use std::sync::atomic::{AtomicU64, Ordering};

use futures::{StreamExt, TryStreamExt};
use http_body_util::BodyExt;
use kube::client::Body;
use kube::discovery::{Discovery, verbs};
use kube::{Client, Config};

/// Objects in a page: kubectl's own chunk size.
const PAGE_LIMIT: u32 = 500;

/// What was read.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Downloaded {
    /// Types listed.
    pub types: usize,
    /// Pages read.
    pub pages: u64,
    /// Bytes of all bodies.
    pub bytes: u64,
}

/// A download that failed.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The kubeconfig or the connection.
    #[error("cannot talk to the cluster")]
    Kube(#[from] kube::Error),
    /// A page that is not a list.
    #[error("`{url}` answered {status}")]
    Refused {
        /// What was asked for.
        url: String,
        /// HTTP status.
        status: u16,
    },
}

/// Lists every listable type at one revision over `connections` connections.
///
/// # Errors
/// The cluster cannot be reached or refuses a list.
pub async fn download(config: Config, connections: usize) -> Result<Downloaded, DownloadError> {
    let client = Client::try_from(config.clone())?;
    let discovery = Discovery::new(client.clone()).run_aggregated().await?;
    let mut urls = Vec::new();
    for group in discovery.groups() {
        for (resource, capabilities) in group.resources_by_stability() {
            let is_view = matches!(resource.plural.as_str(), "componentstatuses" | "events" | "leases");
            if capabilities.supports_operation(verbs::LIST) && !is_view {
                let prefix =
                    if resource.group.is_empty() { "api".to_owned() } else { format!("apis/{}", resource.group) };
                urls.push(format!("/{prefix}/{}/{}", resource.version, resource.plural));
            }
        }
    }
    let first = get(&client, "/api/v1/namespaces?limit=1").await?;
    let revision = field(&first, "\"resourceVersion\":\"").unwrap_or_default();
    let (pages, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
    futures::stream::iter(urls.iter().map(Ok::<_, DownloadError>))
        .try_for_each_concurrent(connections, |url| {
            let (client, pages, bytes, revision) = (&client, &pages, &bytes, &revision);
            async move {
                let mut next =
                    format!("{url}?limit={PAGE_LIMIT}&resourceVersion={revision}&resourceVersionMatch=Exact");
                loop {
                    let page = get(client, &next).await?;
                    pages.fetch_add(1, Ordering::Relaxed);
                    bytes.fetch_add(page.len() as u64, Ordering::Relaxed);
                    match field(&page, "\"continue\":\"") {
                        Some(token) if !token.is_empty() => {
                            next = format!("{url}?limit={PAGE_LIMIT}&continue={token}");
                        }
                        _ => return Ok(()),
                    }
                }
            }
        })
        .await?;
    Ok(Downloaded { types: urls.len(), pages: pages.into_inner(), bytes: bytes.into_inner() })
}

async fn get(client: &Client, url: &str) -> Result<Vec<u8>, DownloadError> {
    let request = http::Request::get(url).body(Body::empty()).map_err(kube::Error::HttpError)?;
    let response = client.send(request).await?;
    if !response.status().is_success() {
        return Err(DownloadError::Refused { url: url.to_owned(), status: response.status().as_u16() });
    }
    let mut bytes = Vec::new();
    let mut body = response.into_body().into_data_stream();
    while let Some(piece) = body.next().await {
        bytes.extend_from_slice(&piece?);
    }
    Ok(bytes)
}

/// A field of the list's metadata, which the API server writes in front of the items.
fn field(page: &[u8], key: &str) -> Option<String> {
    let head = String::from_utf8_lossy(page.get(..page.len().min(2048))?).into_owned();
    let head = head.split("\"items\":").next()?.to_owned();
    let (_, rest) = head.split_once(key)?;
    rest.split('"').next().map(str::to_owned)
}
