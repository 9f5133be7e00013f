//! What can go wrong between this program and an API server, by meaning.

use std::path::PathBuf;

/// One of the API server's reasons for refusing a request, mostly about one field.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
pub struct Cause {
    /// Path of the field, such as `spec.clusterIPs[0]`; empty when it is about the whole object.
    #[serde(default)]
    pub field: String,
    /// Machine-readable, such as `FieldValueInvalid`.
    #[serde(default)]
    pub reason: String,
    /// The server's words.
    #[serde(default)]
    pub message: String,
}

/// An API server's answer that is not a success.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("{method} {path}: the API server answered {status}{}{}", colon(reason), colon(message))]
pub struct ApiError {
    /// HTTP method of the request.
    pub method: String,
    /// Path of the request, without its query.
    pub path: String,
    /// HTTP status code.
    pub status: u16,
    /// Machine-readable, such as `NotFound` or `Expired`; empty when the answer was no Status object.
    pub reason: String,
    /// The server's words.
    pub message: String,
    /// Details, mostly one a field.
    pub causes: Vec<Cause>,
    /// Seconds that the server asks to wait.
    pub retry_after: Option<u64>,
}

fn colon(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

/// Why a server is not trusted, as far as there is something to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsProblem {
    /// Another authority than the kubeconfig's signed its certificate, or one of the same name with another key.
    #[error("its certificate is not signed by the authority in the kubeconfig")]
    UnknownAuthority,
    /// Its certificate is for other names.
    #[error("its certificate is for another name ({problem})")]
    WrongName {
        /// Which names, in the TLS library's words.
        problem: String,
    },
    /// Its certificate has expired or is not valid yet.
    #[error("its certificate is not valid now ({problem})")]
    NotNow {
        /// When it is, in the TLS library's words.
        problem: String,
    },
    /// Anything else.
    #[error("{problem}")]
    Other {
        /// The TLS library's words.
        problem: String,
    },
}

/// A cluster that could not be reached, or an answer that does not help.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// No kubeconfig anywhere, and this is no pod either.
    #[error("there is no kubeconfig: {}", looked_at(places))]
    NoKubeconfig {
        /// Where it was looked for.
        places: Vec<String>,
    },
    /// A kubeconfig that exists but cannot be used.
    #[error("the kubeconfig {} cannot be used: {problem}", shown(path))]
    BadKubeconfig {
        /// The file, when a single one was named.
        path: Option<PathBuf>,
        /// What is wrong with it, without any of its secrets.
        problem: String,
    },
    /// The kubeconfig has no context of that name.
    #[error("the kubeconfig has no context `{name}`; it has {}", listed(known))]
    UnknownContext {
        /// What was asked for; empty when the file has no current context.
        name: String,
        /// Which exist.
        known: Vec<String>,
    },
    /// Nothing answers.
    #[error("the API server {server} cannot be reached: {problem}")]
    Unreachable {
        /// Its URL.
        server: String,
        /// The innermost reason.
        problem: String,
    },
    /// The answer did not come in time.
    #[error("the API server {server} did not answer {method} {path} within {seconds} s")]
    TimedOut {
        /// Its URL.
        server: String,
        /// HTTP method of the request.
        method: String,
        /// Path of the request, without its query.
        path: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The client certificate is not valid now.
    #[error("the client certificate of user `{user}` expired at {expired}")]
    CertificateExpired {
        /// The kubeconfig's name of the user.
        user: String,
        /// When.
        expired: jiff::Timestamp,
    },
    /// TLS with the server failed.
    #[error("no trusted connection to {server}: {problem}")]
    Tls {
        /// Its URL.
        server: String,
        /// What is wrong.
        problem: TlsProblem,
    },
    /// The user's credentials could not be had (exec plugin, OIDC, token file).
    #[error("no credentials for user `{user}`: {problem}")]
    Credentials {
        /// The kubeconfig's name of the user.
        user: String,
        /// What is wrong, without any output of a plugin.
        problem: String,
    },
    /// 401.
    #[error("the API server {server} does not accept the credentials of user `{user}`")]
    Unauthorized {
        /// Its URL.
        server: String,
        /// The kubeconfig's name of the user.
        user: String,
    },
    /// The API server says that it is not ready.
    #[error("the API server {server} is not ready: /readyz answered {status}")]
    NotReady {
        /// Its URL.
        server: String,
        /// HTTP status code.
        status: u16,
    },
    /// Any other answer that is not a success; `Forbidden` among them.
    #[error(transparent)]
    Api(Box<ApiError>),
    /// A success whose body is not what it should be.
    #[error("the answer to {method} {path} is not {expected}: {problem}")]
    BadAnswer {
        /// HTTP method of the request.
        method: String,
        /// Path of the request, without its query.
        path: String,
        /// What should have come.
        expected: &'static str,
        /// Where it went wrong, without any content.
        problem: String,
    },
    /// Nothing may be written any more; nothing was sent.
    #[error("nothing is written any more: {reason}")]
    Gated {
        /// Why.
        reason: String,
    },
    /// A body that grew over the limit that the caller set.
    #[error("the answer to GET {path} is larger than {limit} bytes")]
    TooLarge {
        /// Path of the request, without its query.
        path: String,
        /// The caller's limit.
        limit: usize,
    },
}

impl ClusterError {
    /// The API server's answer, when there was one.
    pub fn api(&self) -> Option<&ApiError> {
        match self {
            Self::Api(answer) => Some(answer),
            _ => None,
        }
    }

    /// The HTTP status code, when there was an answer.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Api(answer) => Some(answer.status),
            Self::Unauthorized { .. } => Some(401),
            Self::NotReady { status, .. } => Some(*status),
            _ => None,
        }
    }
}

fn looked_at(places: &[String]) -> String {
    places.join(", ")
}

fn shown(path: &Option<PathBuf>) -> String {
    path.as_ref().map_or_else(String::new, |path| format!("`{}`", path.display()))
}

fn listed(known: &[String]) -> String {
    if known.is_empty() {
        "none".to_owned()
    } else {
        known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    }
}
