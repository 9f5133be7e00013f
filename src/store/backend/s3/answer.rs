//! What a bucket answers when it does not do what it was asked, by its meaning for the caller.
//!
//! In: errors of the SDK. Out: [`Refusal`], and from it a [`BackendError`]. Invariant: no header, and so no signature or
//! key, gets into a text (I10).

use std::error::Error;
use std::fmt;
use std::io;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::store::backend::{BackendError, Unanswered};

/// What the SDK says when no provider of its chain has keys. It has no type for it.
const NO_CREDENTIALS: &str = "no credentials found in chain";

/// Why there is no good answer.
#[derive(Clone, Debug)]
pub(super) enum Refusal {
    /// The server said so.
    Answer {
        /// HTTP status.
        status: u16,
        /// S3's code, such as `NoSuchKey`; empty where the answer has no body.
        code: String,
        /// What it says beside it.
        message: String,
    },
    /// There was none: nobody knows whether the request was carried out.
    NoAnswer {
        /// What was seen instead, from the outside in.
        chain: Vec<String>,
        /// Another attempt may be answered.
        may_pass: bool,
    },
}

impl Refusal {
    /// An answer that broke off.
    pub(super) fn broken_off(error: &(dyn Error + 'static)) -> Self {
        Self::NoAnswer { chain: chain(error), may_pass: true }
    }

    /// An answer that makes no sense.
    pub(super) fn nonsense(what: &str) -> Self {
        Self::NoAnswer { chain: vec![what.to_owned()], may_pass: true }
    }

    /// Another attempt may do better.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            // 409: another create-only write of the same name was under way.
            Self::Answer { status: 408 | 409 | 429 | 500..=599, .. } => true,
            Self::Answer { code, .. } => matches!(code.as_str(), "SlowDown" | "RequestTimeout" | "IncompleteBody"),
            Self::NoAnswer { may_pass, .. } => *may_pass,
        }
    }

    /// There is no file of that name, in a bucket that is there.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::Answer { status: 404, code, .. } if code != "NoSuchBucket")
    }

    /// The file is there already.
    pub(super) const fn is_there_already(&self) -> bool {
        matches!(self, Self::Answer { status: 412, .. })
    }

    /// The file ends before the range that was asked for.
    pub(super) const fn is_past_the_end(&self) -> bool {
        matches!(self, Self::Answer { status: 416, .. })
    }

    /// As an error of this operation.
    pub(super) fn into_error(self, operation: &'static str, name: &str) -> BackendError {
        let name = if name.is_empty() { "." } else { name }.to_owned();
        match self {
            refusal if refusal.is_not_found() && operation != "create" => BackendError::NotFound { name },
            refusal if refusal.is_there_already() && operation == "create" => BackendError::Exists { name },
            Self::Answer { status, code, message } => BackendError::Refused { operation, name, status, code, message },
            Self::NoAnswer { chain, .. } => {
                let source = Unanswered(chain.join(": "));
                if is_of_credentials(&source.0) {
                    BackendError::NoCredentials { operation, name, source }
                } else {
                    BackendError::Unreachable { operation, name, source }
                }
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer { status, code, message } => write!(f, "{status} {code} {message}"),
            Self::NoAnswer { chain, .. } => f.write_str(&chain.join(": ")),
        }
    }
}

impl<E> From<SdkError<E, HttpResponse>> for Refusal
where
    E: ProvideErrorMetadata + Error + 'static,
{
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        match &error {
            SdkError::ServiceError(context) => Self::Answer {
                status: context.raw().status().as_u16(),
                code: context.err().code().unwrap_or_default().to_owned(),
                message: context.err().message().unwrap_or_default().to_owned(),
            },
            // Some servers answer in a form that the SDK does not know, proxies above all.
            SdkError::ResponseError(context) if !context.raw().status().is_success() => Self::Answer {
                status: context.raw().status().as_u16(),
                code: String::new(),
                message: "an answer that is not S3's".to_owned(),
            },
            SdkError::DispatchFailure(failure) => {
                let chain = chain(&error);
                let lasting =
                    failure.is_user() || is_of_tls(&error) || chain.iter().any(|text| is_of_credentials(text));
                Self::NoAnswer { chain, may_pass: !lasting }
            }
            SdkError::ConstructionFailure(_) => Self::NoAnswer { chain: chain(&error), may_pass: false },
            _ => Self::NoAnswer { chain: chain(&error), may_pass: true },
        }
    }
}

fn is_of_credentials(text: &str) -> bool {
    text.contains(NO_CREDENTIALS)
}

/// A certificate that does not count now will not count in a moment either.
fn is_of_tls(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        // What an I/O error was made of is not its source, but itself.
        let inside =
            error.downcast_ref::<io::Error>().and_then(|error| error.get_ref()?.downcast_ref::<rustls::Error>());
        if error.is::<rustls::Error>() || inside.is_some() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The causes of an error, without repeating one that says what the one before said.
fn chain(error: &(dyn Error + 'static)) -> Vec<String> {
    // The outermost says only of which kind it is.
    let mut cause = error.source().or(Some(error));
    let mut texts: Vec<String> = Vec::new();
    while let Some(error) = cause {
        // Some texts are lists over several lines.
        let text = error.to_string().lines().map(str::trim).collect::<Vec<_>>().join("; ").replace(":; ", ": ");
        if texts.last().is_none_or(|last| !last.contains(&text)) {
            texts.push(text);
        }
        cause = error.source();
    }
    texts
}
