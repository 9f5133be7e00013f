//! One request and its answer as raw text, and which answers a read is repeated for.
//!
//! kube's `request` logs a body that does not parse, and its own retry repeats writes: both stay unused. Invariants:
//! a body never reaches a log or an error (I10), save a Status' own words; only a GET is repeated, a bounded number of
//! times.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use kube::client::Body;
use serde::Deserialize;

use super::error::{ApiError, Cause, ClusterError};
use super::kubeconfig::READ_TIMEOUT;
use super::transport_error::TransportFault;

/// How the API server's audit log names this program.
const USER_AGENT: &str = concat!("snapback/", env!("CARGO_PKG_VERSION"));
/// How often a read is sent in all while the server is busy or away: with the waits below about 20 seconds, which is
/// longer than an API server's restart.
const ATTEMPTS: u32 = 8;
/// How often where repeating seldom helps: a server that never answered yet, or a type whose cache is being rebuilt
/// (facts: a 429 with "storage is (re)initializing" is no throttling; such a type is unreadable).
const FEW_ATTEMPTS: u32 = 3;
/// The first wait; each later one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// The longest wait, whatever the server asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How much of an answer that is no Status is quoted.
const QUOTED_CHARACTERS: usize = 200;

/// A request as it is sent, once or more often.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    pub(super) url: &'a str,
    pub(super) accept: &'a str,
    pub(super) content_type: &'a str,
    pub(super) body: Option<Vec<u8>>,
    /// The answer may not be larger than this.
    pub(super) limit: usize,
}

impl<'a> Call<'a> {
    pub(super) fn get(url: &'a str) -> Self {
        let json = "application/json";
        Self { method: Method::GET, url, accept: json, content_type: json, body: None, limit: usize::MAX }
    }

    fn path(&self) -> String {
        self.url.split('?').next().unwrap_or_default().to_owned()
    }
}

/// Whom requests go to, and what errors need to say about it.
pub(super) struct Connection {
    client: kube::Client,
    server: String,
    user: String,
    certificate_expires: Option<Timestamp>,
    /// The server gave at least one answer, so that waiting for it to come back is worth more.
    answered: AtomicBool,
}

impl Connection {
    pub(super) fn new(
        client: kube::Client,
        server: String,
        user: String,
        certificate_expires: Option<Timestamp>,
    ) -> Self {
        Self { client, server, user, certificate_expires, answered: AtomicBool::new(false) }
    }

    /// The same server through another client.
    pub(super) fn with_client(&self, client: kube::Client) -> Self {
        Self {
            client,
            server: self.server.clone(),
            user: self.user.clone(),
            certificate_expires: self.certificate_expires,
            answered: AtomicBool::new(self.answered.load(Ordering::Relaxed)),
        }
    }

    pub(super) fn server(&self) -> &str {
        &self.server
    }

    /// Sends a request; a GET is repeated where that may help.
    pub(super) async fn call(&self, call: Call<'_>) -> Result<Bytes, ClusterError> {
        let mut attempt = 1;
        loop {
            let failed = match self.call_once(&call).await {
                Ok(body) => return Ok(body),
                Err(error) => error,
            };
            let most = if call.method == Method::GET { self.worth_attempts(&failed) } else { 1 };
            if attempt >= most {
                return Err(failed);
            }
            tracing::debug!(path = call.path(), attempt, error = %failed, "repeating a read");
            tokio::time::sleep(wait(attempt, &failed)).await;
            attempt += 1;
        }
    }

    /// How often a read that failed like this is sent in all.
    fn worth_attempts(&self, failed: &ClusterError) -> u32 {
        match failed {
            ClusterError::Api(answer) => match answer.status {
                429 if answer.message.contains("(re)initializing") => FEW_ATTEMPTS,
                // 502 comes from a load balancer whose API server is away.
                429 | 502 | 503 | 504 => ATTEMPTS,
                _ => 1,
            },
            ClusterError::Unreachable { .. } if self.answered.load(Ordering::Relaxed) => ATTEMPTS,
            ClusterError::Unreachable { .. } | ClusterError::TimedOut { .. } => FEW_ATTEMPTS,
            _ => 1,
        }
    }

    async fn call_once(&self, call: &Call<'_>) -> Result<Bytes, ClusterError> {
        let mut request = Request::builder().method(&call.method).uri(call.url).header(header::ACCEPT, call.accept);
        request = request.header(header::USER_AGENT, USER_AGENT);
        if call.body.is_some() {
            request = request.header(header::CONTENT_TYPE, call.content_type);
        }
        let request = request.body(Body::from(call.body.clone().unwrap_or_default())).map_err(|error| {
            ClusterError::BadAnswer {
                method: call.method.to_string(),
                path: call.path(),
                expected: "a valid request",
                problem: error.to_string(),
            }
        })?;
        let sent = Instant::now();
        let answer = self.client.send(request).await.map_err(|error| self.explain(call, &error.into()))?;
        self.answered.store(true, Ordering::Relaxed);
        let (status, answered) = (answer.status(), sent.elapsed());
        let retry_after = answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let body = self.body(call, answer.into_body()).await?;
        tracing::trace!(method = %call.method, path = call.path(), %status, bytes = body.len(), ?answered, whole = ?sent.elapsed());
        if status.is_success() {
            return Ok(body);
        }
        if status == StatusCode::UNAUTHORIZED {
            return Err(self.unauthorized());
        }
        let answer = api_error(call, status, retry_after, &body);
        Err(ClusterError::Api(Box::new(answer)))
    }

    async fn body(&self, call: &Call<'_>, mut body: Body) -> Result<Bytes, ClusterError> {
        let mut content = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| self.explain(call, &error.into()))?;
            if let Ok(data) = frame.into_data() {
                if content.len() + data.len() > call.limit {
                    return Err(ClusterError::TooLarge { path: call.path(), limit: call.limit });
                }
                content.extend_from_slice(&data);
            }
        }
        Ok(content.freeze())
    }

    fn explain(&self, call: &Call<'_>, error: &TransportFault) -> ClusterError {
        let server = self.server.clone();
        match error {
            TransportFault::TimedOut => ClusterError::TimedOut {
                server,
                method: call.method.to_string(),
                path: call.path(),
                seconds: READ_TIMEOUT.as_secs(),
            },
            TransportFault::Tls(problem) => {
                self.expired_certificate().unwrap_or(ClusterError::Tls { server, problem: problem.clone() })
            }
            TransportFault::Credentials(problem) => {
                ClusterError::Credentials { user: self.user.clone(), problem: problem.clone() }
            }
            TransportFault::Broken(problem) => ClusterError::Unreachable { server, problem: problem.clone() },
        }
    }

    /// A 401, whose commonest cause can be told.
    fn unauthorized(&self) -> ClusterError {
        self.expired_certificate()
            .unwrap_or_else(|| ClusterError::Unauthorized { server: self.server.clone(), user: self.user.clone() })
    }

    /// Only asked when the server refused: its clock decides, not ours.
    fn expired_certificate(&self) -> Option<ClusterError> {
        let expired = self.certificate_expires.filter(|end| *end <= Timestamp::now())?;
        Some(ClusterError::CertificateExpired { user: self.user.clone(), expired })
    }
}

/// Doubles from [`FIRST_WAIT`], unless the server says how long.
fn wait(attempt: u32, failed: &ClusterError) -> Duration {
    let asked = failed.api().and_then(|answer| answer.retry_after).map(Duration::from_secs);
    asked.unwrap_or(FIRST_WAIT.saturating_mul(1 << (attempt - 1).min(10))).min(LONGEST_WAIT)
}

#[derive(Default, Deserialize)]
struct Status {
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    details: Option<Details>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    #[serde(default)]
    causes: Vec<Cause>,
    retry_after_seconds: Option<u64>,
}

fn api_error(call: &Call<'_>, code: StatusCode, retry_after: Option<u64>, body: &[u8]) -> ApiError {
    let status = serde_json::from_slice::<Status>(body).unwrap_or_else(|_| Status {
        message: String::from_utf8_lossy(body).trim().chars().take(QUOTED_CHARACTERS).collect(),
        ..Status::default()
    });
    let details = status.details.unwrap_or_default();
    ApiError {
        method: call.method.to_string(),
        path: call.path(),
        status: code.as_u16(),
        reason: status.reason,
        message: status.message,
        causes: details.causes,
        retry_after: retry_after.or(details.retry_after_seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::{ApiError, Call, ClusterError, LONGEST_WAIT, api_error, wait};
    use http::StatusCode;
    use std::time::Duration;

    #[test]
    fn the_servers_words_and_causes_are_kept() {
        let call = Call::get("/api/v1/services?limit=1");
        let body = br#"{"kind":"Status","reason":"Invalid","message":"no","details":{"causes":[
            {"reason":"FieldValueInvalid","message":"immutable","field":"spec.clusterIPs[0]"}],"retryAfterSeconds":3}}"#;
        let found = api_error(&call, StatusCode::UNPROCESSABLE_ENTITY, None, body);
        assert_eq!((found.status, found.reason.as_str(), found.path.as_str()), (422, "Invalid", "/api/v1/services"));
        assert_eq!((found.causes[0].field.as_str(), found.retry_after), ("spec.clusterIPs[0]", Some(3)));
        assert_eq!(found.to_string(), "GET /api/v1/services: the API server answered 422: Invalid: no");
        let plain = api_error(&call, StatusCode::BAD_GATEWAY, Some(1), b"<html>\n");
        assert_eq!((plain.message.as_str(), plain.retry_after), ("<html>", Some(1)));
    }

    #[test]
    fn waits_grow_end_and_follow_the_server() {
        let failed = |retry_after| ClusterError::Api(Box::new(ApiError { retry_after, ..ApiError::default() }));
        assert_eq!(wait(1, &failed(None)), Duration::from_millis(200));
        assert_eq!(wait(3, &failed(None)), Duration::from_millis(800));
        assert_eq!(wait(8, &failed(None)), LONGEST_WAIT);
        assert_eq!(wait(1, &failed(Some(2))), Duration::from_secs(2));
        assert_eq!(wait(1, &failed(Some(3600))), LONGEST_WAIT);
    }
}
