//! Asks the API server what it would say, with `dryRun=All`: nothing is written (I5).
//!
//! In: a write as it would be sent. Out: whether it would be taken, whether a field stands in its way that cannot be
//! changed, who would refuse it, or that nobody can tell. Source: `facts/apiserver-tried.md`, section Dry run: it finds
//! no quota that several writes use up together, and no address that another Service has (`service_address`).

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::Method;
use serde_json::Value;

use crate::cluster::{ApiError, Cluster, ClusterError};
use crate::store::ContentHash;

use super::error::RestoreError;
use super::object;
use super::plan::Bound;
use super::refuser::Refuser;
use super::write_recipe::delete_body;

/// Added to the URL of every request of a plan.
pub(super) const DRY_RUN: &str = "?dryRun=All";

/// How often a server is asked that is busy.
const BUSY_ATTEMPTS: u32 = 5;
/// A webhook that takes this long to not answer hangs (the API server waits up to 30 s for one).
const HUNG_AFTER: Duration = Duration::from_secs(1);
/// So many answers are waited for; what is left is not checked, so that a plan is not hours in the making.
const MOST_HUNG: usize = 16;

/// How the API server words that a field cannot be changed; there is no machine-readable reason for it.
const IMMUTABLE_WORDS: [&str; 9] = [
    "immutable",
    "may not be changed",
    "may not change",
    "can not be changed",
    "cannot be changed",
    "cannot change",
    "are forbidden",
    "must not be changed",
    "must not be updated",
];

/// What a dry run said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It would be taken.
    Fine,
    /// A field cannot be changed.
    Immutable(String),
    /// As things are now it would be refused.
    Refused(Refuser),
    /// The answer says nothing about the real write: someone was faster, or the server is busy.
    Unclear,
}

/// Requests that the API server said it would take, kept between plans of one command: the plan that was shown and that
/// of the first round ask the same. A request is bound to its object's UID and resourceVersion, so the same bytes mean an
/// object that nobody changed since. What it would refuse is not kept: that may be gone by the next plan.
#[derive(Clone, Debug, Default)]
pub struct Tried(Arc<Mutex<BTreeSet<ContentHash>>>);

impl Tried {
    fn has(&self, request: &ContentHash) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(request)
    }

    fn keep(&self, request: ContentHash) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(request);
    }
}

/// Asks, and counts what takes long.
pub(super) struct DryRuns<'a> {
    cluster: &'a Cluster,
    tried: Tried,
    hung: AtomicUsize,
}

impl<'a> DryRuns<'a> {
    pub(super) fn new(cluster: &'a Cluster, tried: Tried) -> Self {
        Self { cluster, tried, hung: AtomicUsize::new(0) }
    }

    /// Tries an update.
    pub(super) async fn update(&self, url: &str, body: &Value) -> Result<Verdict, RestoreError> {
        Ok(self.ask(Method::PUT, url, body).await?.verdict())
    }

    /// Tries to make an object at the URL of its list. That one of its name is there is looked at last of all: in the
    /// way of an object that is to be deleted and made anew it means that nothing else is wrong.
    pub(super) async fn create(&self, url: &str, body: &Value) -> Result<Verdict, RestoreError> {
        Ok(match self.ask(Method::POST, url, body).await? {
            Answer::Refused(answer) if is_there_already(&answer) => Verdict::Fine,
            Answer::Refused(answer) => match verdict(&answer) {
                // There is nothing yet that could be unchangeable.
                Verdict::Immutable(_) => Verdict::Refused(Refuser::of(&answer)),
                other => other,
            },
            answer => answer.verdict(),
        })
    }

    /// Tries a deletion.
    pub(super) async fn delete(&self, url: &str, bound: &Bound) -> Result<Verdict, RestoreError> {
        let mut body = delete_body(bound, false);
        // A deletion that has a body is a dry run only if the body says so: the query is not looked at then.
        object::set(&mut body, "", "dryRun", Value::from(vec!["All"]));
        Ok(self.ask(Method::DELETE, url, &body).await?.verdict())
    }

    async fn ask(&self, method: Method, url: &str, body: &Value) -> Result<Answer, RestoreError> {
        if self.hung.load(Ordering::Relaxed) >= MOST_HUNG {
            return Ok(Answer::NotAsked);
        }
        let body = body.to_string().into_bytes();
        let request = ContentHash::of(&[format!("{method} {url}\n").as_bytes(), &body].concat());
        if self.tried.has(&request) {
            return Ok(Answer::Taken);
        }
        let mut attempt = 1;
        loop {
            let started = Instant::now();
            match self.cluster.send(method.clone(), &format!("{url}{DRY_RUN}"), Some(body.clone())).await {
                Ok(_) => {
                    self.tried.keep(request);
                    return Ok(Answer::Taken);
                }
                Err(ClusterError::Api(answer)) if answer.status == 429 && attempt < BUSY_ATTEMPTS => {
                    attempt += 1;
                    tokio::time::sleep(Duration::from_secs(answer.retry_after.unwrap_or(1))).await;
                }
                Err(ClusterError::Api(answer)) => {
                    let dead = matches!(Refuser::of(&answer), Refuser::DeadWebhook { .. });
                    if dead && started.elapsed() >= HUNG_AFTER {
                        self.hung.fetch_add(1, Ordering::Relaxed);
                    }
                    return Ok(Answer::Refused(answer));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

enum Answer {
    Taken,
    Refused(Box<ApiError>),
    NotAsked,
}

impl Answer {
    fn verdict(self) -> Verdict {
        match self {
            Self::Taken => Verdict::Fine,
            Self::Refused(answer) => verdict(&answer),
            Self::NotAsked => Verdict::Unclear,
        }
    }
}

/// An object of that name is there.
pub(super) fn is_there_already(answer: &ApiError) -> bool {
    answer.status == 409 && answer.reason == "AlreadyExists"
}

fn verdict(answer: &ApiError) -> Verdict {
    let refuser = Refuser::of(answer);
    match (&refuser, answer.status) {
        (Refuser::Fields { .. }, 422) => {}
        (Refuser::ApiServer { .. }, status) if !matches!(status, 400 | 403 | 413) => return Verdict::Unclear,
        _ => return Verdict::Refused(refuser),
    }
    let says_so = |text: &str| {
        let text = text.to_ascii_lowercase();
        IMMUTABLE_WORDS.iter().any(|words| text.contains(words))
    };
    let fields: Vec<&str> =
        answer.causes.iter().filter(|cause| says_so(&cause.message)).map(|cause| cause.field.as_str()).collect();
    if fields.is_empty() && !says_so(&answer.message) {
        return Verdict::Refused(refuser);
    }
    // Only the names of fields: the server's words may repeat their values.
    Verdict::Immutable(match fields.as_slice() {
        [] | [""] => "a field cannot be changed".to_owned(),
        fields => format!("{} cannot be changed", fields.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::{Refuser, Verdict, verdict};
    use crate::cluster::{ApiError, Cause};

    fn answer(status: u16, field: &str, message: &str) -> ApiError {
        let cause = Cause { field: field.to_owned(), message: message.to_owned(), ..Cause::default() };
        ApiError { status, message: message.to_owned(), causes: vec![cause], ..ApiError::default() }
    }

    #[test]
    fn the_words_for_immutable_are_known_and_no_others() {
        for words in [
            "Forbidden: field is immutable when `immutable` is set",
            "Invalid value: \"10.0.0.1\": may not change once set",
            "Forbidden: updates to statefulset spec for fields other than 'replicas' are forbidden",
            "Invalid value: cannot change roleRef",
        ] {
            let expected = Verdict::Immutable("spec.x cannot be changed".to_owned());
            assert_eq!(verdict(&answer(422, "spec.x", words)), expected, "{words}");
        }
        let invalid = Refuser::Fields { fields: vec!["spec.x".to_owned()] };
        assert_eq!(verdict(&answer(422, "spec.x", "Required value")), Verdict::Refused(invalid));
        let quota = "pods \"a\" is forbidden: exceeded quota: immutable, requested: pods=1";
        assert_eq!(verdict(&answer(403, "", quota)), Verdict::Refused(Refuser::Quota { name: "immutable".to_owned() }));
        for status in [404, 409, 429, 500, 503, 504] {
            assert_eq!(verdict(&answer(status, "spec.x", "field is immutable")), Verdict::Unclear, "{status}");
        }
    }
}
