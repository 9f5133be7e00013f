//! Asks the API server what it would say, with `dryRun=All`: nothing is written (I5).
//!
//! In: an update as it would be sent. Out: whether it would be taken, whether a field stands in its way that cannot be
//! changed, or that nobody can tell. Source: `facts/apiserver-tried.md`, section Dry run.

use http::Method;
use serde_json::Value;

use crate::cluster::{ApiError, Cluster, ClusterError};

use super::error::RestoreError;

/// Added to the URL of every request of a plan.
pub(super) const DRY_RUN: &str = "?dryRun=All";

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
    /// The update would be taken.
    Fine,
    /// A field cannot be changed.
    Immutable(String),
    /// The answer says nothing about the real write: a webhook's backend is dead, a quota is full, someone was faster.
    Unclear,
}

/// Tries an update.
pub(super) async fn try_update(cluster: &Cluster, url: &str, body: &Value) -> Result<Verdict, RestoreError> {
    let sent = cluster.send(Method::PUT, &format!("{url}{DRY_RUN}"), Some(body.to_string().into_bytes())).await;
    match sent {
        Ok(_) => Ok(Verdict::Fine),
        Err(ClusterError::Api(answer)) => Ok(verdict(&answer)),
        Err(error) => Err(error.into()),
    }
}

fn verdict(answer: &ApiError) -> Verdict {
    if answer.status != 422 {
        return Verdict::Unclear;
    }
    let says_so = |text: &str| {
        let text = text.to_ascii_lowercase();
        IMMUTABLE_WORDS.iter().any(|words| text.contains(words))
    };
    let fields: Vec<&str> =
        answer.causes.iter().filter(|cause| says_so(&cause.message)).map(|cause| cause.field.as_str()).collect();
    if fields.is_empty() && !says_so(&answer.message) {
        return Verdict::Unclear;
    }
    // Only the names of fields: the server's words may repeat their values.
    Verdict::Immutable(match fields.as_slice() {
        [] | [""] => "a field cannot be changed".to_owned(),
        fields => format!("{} cannot be changed", fields.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::{Verdict, verdict};
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
        assert_eq!(verdict(&answer(422, "spec.x", "Required value")), Verdict::Unclear);
        assert_eq!(verdict(&answer(403, "spec.x", "field is immutable")), Verdict::Unclear);
    }
}
