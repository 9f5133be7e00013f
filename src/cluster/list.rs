//! Lists, page by page, all pages of one revision.
//!
//! In: a list URL, and the revision (or none: the newest, read from a quorum). Out: pages of raw items. Invariants: every
//! page's revision is the one that was asked for; a continue token is never sent with `resourceVersion` or
//! `resourceVersionMatch` (the server refuses both); the token that comes with a 410 is never used, since it goes on at
//! another revision.

use std::ops::Range;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::connect::{Cluster, parse};
use super::discovery::CRDS_URL;
use super::error::ClusterError;

/// Most types have fewer objects than this, and are read with one request. Half of kubectl's chunk; should they be large,
/// [`MOST_PAGE_BYTES`] stops the page.
const FIRST_LIMIT: usize = 250;
/// The same for CRDs, of which some have megabytes of schema.
const FIRST_DEFINITIONS: usize = 64;
/// More objects than this a page save no time.
const MOST_OBJECTS: usize = 1000;
/// What pages grow towards: large enough that a request's own cost vanishes, small enough to hold some of them.
const PAGE_BYTES: usize = 4 << 20;
/// A page that grows over this is given up and asked for again with fewer objects. One object may be larger (etcd
/// takes 1.5 MiB by default, more when told so), so a page of one object has no limit.
const MOST_PAGE_BYTES: usize = 8 << 20;
/// How much faster a page may be than the one before it, since sizes inside a type differ.
const GROWTH: usize = 8;

/// A list that cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The revision is compacted, or the server ignored it: begin anew at another one.
    #[error("revision {revision} of {url} is gone")]
    Gone {
        /// The list.
        url: String,
        /// The revision that was asked for.
        revision: u64,
    },
    /// A page came from another revision.
    #[error("{url} was listed at revision {wanted}, and a page of revision {found} came")]
    OtherRevision {
        /// The list.
        url: String,
        /// The revision that was asked for.
        wanted: u64,
        /// The revision that came.
        found: String,
    },
    /// Any other failure.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

/// One page: the server's bytes, and where its items lie in them.
#[derive(Clone)]
pub struct ListPage {
    body: Bytes,
    items: Vec<Range<usize>>,
    revision: String,
    token: String,
}

impl std::fmt::Debug for ListPage {
    /// Without the content: it may be Secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ListPage({} objects at revision {})", self.items.len(), self.revision)
    }
}

impl ListPage {
    /// Each item's exact text.
    pub fn items(&self) -> impl Iterator<Item = &str> {
        self.items.iter().filter_map(|range| std::str::from_utf8(self.body.get(range.clone())?).ok())
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Bytes of the whole page.
    pub fn bytes(&self) -> usize {
        self.body.len()
    }

    fn parse(url: &str, body: Bytes) -> Result<Self, ClusterError> {
        #[derive(Deserialize)]
        struct Envelope<'a> {
            metadata: Metadata,
            #[serde(borrow)]
            items: Option<Vec<&'a RawValue>>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Metadata {
            #[serde(default)]
            resource_version: String,
            #[serde(default, rename = "continue")]
            token: String,
        }
        let Envelope { metadata, items } = parse::<Envelope<'_>>(url, "a list", &body)?;
        let begin = body.as_ptr().addr();
        let place = |item: &&RawValue| {
            let start = item.get().as_ptr().addr().saturating_sub(begin);
            start..start + item.get().len()
        };
        let items = items.unwrap_or_default().iter().map(place).collect();
        Ok(Self { body, items, revision: metadata.resource_version, token: metadata.token })
    }
}

/// Reads a list page by page.
#[derive(Debug)]
pub struct ListReader<'a> {
    cluster: &'a Cluster,
    url: String,
    revision: Option<u64>,
    token: Option<String>,
    limit: usize,
    finished: bool,
}

impl<'a> ListReader<'a> {
    /// At the newest revision, which the first page tells.
    pub fn latest(cluster: &'a Cluster, url: String) -> Self {
        let limit = if url == CRDS_URL { FIRST_DEFINITIONS } else { FIRST_LIMIT };
        Self { cluster, url, revision: None, token: None, limit, finished: false }
    }

    /// At exactly this revision.
    pub fn exact(cluster: &'a Cluster, url: String, revision: u64) -> Self {
        Self { revision: Some(revision), ..Self::latest(cluster, url) }
    }

    /// Never more objects a page than this.
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// The revision, once it is known.
    pub fn revision(&self) -> Option<u64> {
        self.revision
    }

    /// The next page; `None` behind the last one.
    ///
    /// # Errors
    /// The list cannot go on at this revision, or at all.
    pub async fn next(&mut self) -> Result<Option<ListPage>, ListError> {
        if self.finished {
            return Ok(None);
        }
        let page = loop {
            let most = if self.limit > 1 { MOST_PAGE_BYTES } else { usize::MAX };
            match self.cluster.get_at_most(&self.page_url(), most).await {
                Ok(body) => break self.take(body).await?,
                Err(ClusterError::TooLarge { .. }) => self.limit = (self.limit / 4).max(1),
                Err(ClusterError::Api(answer)) if answer.status == 410 => {
                    return Err(ListError::Gone { url: self.url.clone(), revision: self.revision.unwrap_or_default() });
                }
                Err(other) => return Err(other.into()),
            }
        };
        let revision = page.revision.parse::<u64>().ok().filter(|revision| *revision > 0);
        if revision.is_none() || self.revision.is_some_and(|wanted| revision != Some(wanted)) {
            return Err(ListError::OtherRevision {
                url: self.url.clone(),
                wanted: self.revision.unwrap_or_default(),
                found: page.revision,
            });
        }
        self.revision = revision;
        self.finished = page.token.is_empty();
        self.token = Some(page.token.clone());
        self.limit = next_limit(self.limit, &page);
        Ok(Some(page))
    }

    fn page_url(&self) -> String {
        let limit = self.limit;
        match (&self.token, self.revision) {
            (Some(token), _) => format!("{}?limit={limit}&continue={}", self.url, encode_query(token)),
            (None, Some(revision)) => {
                format!("{}?limit={limit}&resourceVersion={revision}&resourceVersionMatch=Exact", self.url)
            }
            (None, None) => format!("{}?limit={limit}", self.url),
        }
    }

    async fn take(&self, body: Bytes) -> Result<ListPage, ClusterError> {
        let url = self.url.clone();
        // Megabytes of JSON are no work for the threads that serve connections.
        tokio::task::spawn_blocking(move || ListPage::parse(&url, body)).await.unwrap_or_else(|error| {
            Err(ClusterError::BadAnswer {
                method: "GET".to_owned(),
                path: self.url.clone(),
                expected: "a list",
                problem: error.to_string(),
            })
        })
    }
}

/// Grows or shrinks towards [`PAGE_BYTES`] by the mean size of this page's objects.
fn next_limit(limit: usize, page: &ListPage) -> usize {
    let mean = page.bytes().checked_div(page.len()).unwrap_or(1).max(1);
    (PAGE_BYTES / mean).clamp(1, MOST_OBJECTS.min(limit.saturating_mul(GROWTH)))
}

/// Continue tokens are base64 of the URL-safe kind, with `=` at the end.
fn encode_query(token: &str) -> String {
    use std::fmt::Write as _;
    token.bytes().fold(String::with_capacity(token.len()), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            text.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::{ListPage, MOST_OBJECTS, encode_query, next_limit};
    use bytes::Bytes;

    #[test]
    fn items_keep_their_text_and_the_rest_is_known() {
        let text = r#"{"items":[{"a":1.0}, {"b":[ ]}],"metadata":{"continue":"x=","resourceVersion":"7"}}"#;
        let page = ListPage::parse("/x", Bytes::from_static(text.as_bytes())).unwrap();
        assert_eq!(page.items().collect::<Vec<_>>(), [r#"{"a":1.0}"#, r#"{"b":[ ]}"#]);
        assert_eq!((page.revision.as_str(), page.token.as_str()), ("7", "x="));
        let empty = ListPage::parse("/x", Bytes::from_static(br#"{"metadata":{"resourceVersion":"7"},"items":null}"#));
        assert!(empty.unwrap().is_empty());
        let broken = ListPage::parse("/x?a", Bytes::from_static(br#"{"items":["secret"#)).unwrap_err().to_string();
        assert!(!broken.contains("secret") && broken.contains("/x"), "{broken}");
    }

    #[test]
    fn pages_grow_and_shrink_with_the_objects() {
        let page = |objects: usize, bytes: usize| {
            let body = Bytes::from(vec![0; bytes]);
            ListPage { body, items: vec![0..0; objects], revision: String::new(), token: String::new() }
        };
        assert_eq!(next_limit(32, &page(32, 32 * 2000)), 256);
        assert_eq!(next_limit(256, &page(256, 256 * 2000)), MOST_OBJECTS);
        assert_eq!(next_limit(1000, &page(10, 10 << 20)), 4);
        assert_eq!(next_limit(8, &page(1, 6 << 20)), 1);
    }

    #[test]
    fn tokens_survive_a_query() {
        assert_eq!(encode_query("eyJ2-_=+&"), "eyJ2-_%3D%2B%26");
    }
}
