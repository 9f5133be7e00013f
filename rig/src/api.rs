//! Plain requests to the API server, and many of them over eight connections.
//!
//! Eight is where a two-core API server stops getting faster: 500 to 600 objects a second.

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use http::{Method, Request};
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use serde::Deserialize;
use serde_json::Value;

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApiError {
    /// A request did not get an answer.
    #[error("cannot {method} `{url}`")]
    Request {
        /// The HTTP method.
        method: Method,
        /// The path and query.
        url: String,
        /// What the client said.
        #[source]
        source: Box<kube::Error>,
    },
    /// A request could not even be made.
    #[error("`{url}` is no URL that can be asked for")]
    Url {
        /// The path and query.
        url: String,
        /// What the HTTP library said.
        #[source]
        source: http::Error,
    },
    /// The API server refused what it should take.
    #[error("{method} `{url}` was answered with {status}: {message}")]
    Refused {
        /// The HTTP method.
        method: Method,
        /// The path and query.
        url: String,
        /// The HTTP status code.
        status: u16,
        /// The API server's own words.
        message: String,
    },
}

/// Connections that objects are posted over.
pub const CONNECTIONS: usize = 8;

/// The API server's answer to one request.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status code.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// Whether the request was done.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The message of a refusal.
    pub fn message(&self) -> String {
        #[derive(Deserialize)]
        struct Status {
            #[serde(default)]
            message: String,
        }
        serde_json::from_slice::<Status>(&self.body).map(|status| status.message).unwrap_or_default()
    }

    /// The body as JSON, null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// A client that answers with status code and body, so that a refusal is a value to look at.
#[derive(Clone)]
pub struct Api {
    client: Client,
}

impl Api {
    /// Asks through this client.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Sends one request.
    ///
    /// # Errors
    /// [`ApiError::Request`] when no answer came. A refusal is an answer.
    pub async fn ask(&self, method: Method, url: &str, body: Option<&Value>) -> Result<Answer, ApiError> {
        let content_type = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        let bytes = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let request = Request::builder()
            .method(method.clone())
            .uri(url)
            .header("Content-Type", content_type)
            .header("Accept", "application/json")
            .body(Body::from(bytes))
            .map_err(|source| ApiError::Url { url: url.to_owned(), source })?;
        let failed =
            |source| ApiError::Request { method: method.clone(), url: url.to_owned(), source: Box::new(source) };
        let response = self.client.send(request).await.map_err(failed)?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.map_err(failed)?.to_bytes().to_vec();
        Ok(Answer { status, body })
    }

    /// Sends one request that has to be done.
    ///
    /// # Errors
    /// [`ApiError::Request`] when no answer came, [`ApiError::Refused`] when it was refused.
    pub async fn demand(&self, method: Method, url: &str, body: Option<&Value>) -> Result<Answer, ApiError> {
        let answer = self.ask(method.clone(), url, body).await?;
        if answer.is_success() {
            return Ok(answer);
        }
        Err(ApiError::Refused { method, url: url.to_owned(), status: answer.status, message: answer.message() })
    }

    /// The items of a list.
    ///
    /// # Errors
    /// As [`Api::demand`].
    pub async fn list(&self, url: &str) -> Result<Vec<Value>, ApiError> {
        let mut list = self.demand(Method::GET, url, None).await?.json();
        match list.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => Ok(items),
            _ => Ok(Vec::new()),
        }
    }

    /// Does something with every item, eight at a time, and stops at the first error.
    ///
    /// # Errors
    /// The first error that `work` gives.
    pub async fn each<T, R, E, F, Fut>(&self, items: Vec<T>, work: F) -> Result<Vec<R>, E>
    where
        F: Fn(Api, T) -> Fut,
        Fut: Future<Output = Result<R, E>>,
    {
        stream::iter(items).map(|item| work(self.clone(), item)).buffered(CONNECTIONS).try_collect().await
    }
}
