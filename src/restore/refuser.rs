//! Who refused a request: told from the API server's answer.
//!
//! In: an answer that is no success. Out: the webhook, policy, quota and so on, by its name. There is no
//! machine-readable place for it, so the server's own words are read, which stand in front; what follows them may
//! repeat values of the object and is never kept (I10).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::cluster::ApiError;

/// Who said no.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "who")]
pub enum Refuser {
    /// An admission webhook that was asked.
    Webhook {
        /// The webhook's name (one of those in a webhook configuration).
        name: String,
    },
    /// An admission webhook that could not be asked, and without whose answer nothing may be written.
    DeadWebhook {
        /// The webhook's name.
        name: String,
    },
    /// A ValidatingAdmissionPolicy or MutatingAdmissionPolicy.
    Policy {
        /// Its name.
        name: String,
        /// The binding that put it in force.
        binding: String,
    },
    /// A ResourceQuota.
    Quota {
        /// Its name.
        name: String,
    },
    /// A LimitRange of the namespace; the API server does not say which.
    LimitRange,
    /// What the user may do.
    Rights,
    /// The API server's own rules for these fields.
    Fields {
        /// Their names.
        fields: Vec<String>,
    },
    /// Another Service has the address or port that this one had.
    Address {
        /// `10.96.0.7`, or `node port 30080`.
        address: String,
        /// `namespace/name` of who has it.
        holder: String,
    },
    /// The API server, for another reason.
    ApiServer {
        /// HTTP status code.
        status: u16,
        /// Its machine-readable reason, such as `Forbidden`.
        reason: String,
    },
}

impl Refuser {
    /// Reads an answer that is no success.
    pub(super) fn of(answer: &ApiError) -> Self {
        let message = answer.message.as_str();
        if let Some(name) = quoted(message, "admission webhook \"", '"') {
            return Self::Webhook { name };
        }
        let inner = message.strip_prefix("Internal error occurred: ").unwrap_or(message);
        if let Some(name) = quoted(inner, "failed calling webhook \"", '"') {
            return Self::DeadWebhook { name };
        }
        // `configmaps "a" is forbidden: ...`; the name of an object holds no blanks.
        let words = [" is forbidden: ", " is invalid: "];
        let words = words.iter().find_map(|mark| message.split_once(mark)).map_or(message, |(_, words)| words);
        words_of_admission(words).unwrap_or_else(|| match answer.status {
            403 if words.starts_with("User ") => Self::Rights,
            422 => Self::Fields { fields: fields(answer) },
            status => Self::ApiServer { status, reason: answer.reason.clone() },
        })
    }

    /// It may still refuse for a moment after what made it refuse has gone (seen: a second for a policy's binding; a
    /// quota is counted again by its controller).
    pub(super) const fn lingers(&self) -> bool {
        matches!(self, Self::Policy { .. } | Self::Webhook { .. } | Self::DeadWebhook { .. } | Self::Quota { .. })
    }
}

fn words_of_admission(words: &str) -> Option<Refuser> {
    for kind in ["ValidatingAdmissionPolicy '", "MutatingAdmissionPolicy '"] {
        if let Some(name) = quoted(words, kind, '\'') {
            let binding = words.split_once(" with binding '").and_then(|(_, rest)| rest.split_once('\''));
            let binding = binding.map(|(binding, _)| binding.to_owned()).unwrap_or_default();
            return Some(Refuser::Policy { name, binding });
        }
    }
    for (words_of_quota, end) in
        [("exceeded quota: ", ','), ("failed quota: ", ':'), ("status unknown for quota: ", ',')]
    {
        if let Some(name) = quoted(words, words_of_quota, end) {
            return Some(Refuser::Quota { name });
        }
    }
    // Several of them stand in brackets.
    let first = words.trim_start_matches('[');
    let bound = (first.starts_with("minimum ") || first.starts_with("maximum ")) && words.contains(" usage per ");
    (bound || words.contains(" max limit to request ratio per ")).then_some(Refuser::LimitRange)
}

/// What stands between a beginning and the character that ends it.
fn quoted(text: &str, beginning: &str, end: char) -> Option<String> {
    let (name, _) = text.strip_prefix(beginning)?.split_once(end)?;
    Some(name.to_owned())
}

fn fields(answer: &ApiError) -> Vec<String> {
    let mut fields: Vec<String> =
        answer.causes.iter().map(|cause| cause.field.clone()).filter(|field| !field.is_empty()).collect();
    fields.sort();
    fields.dedup();
    fields
}

impl fmt::Display for Refuser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Webhook { name } => write!(f, "webhook `{name}` refuses it"),
            Self::DeadWebhook { name } => {
                write!(f, "webhook `{name}` does not answer, and nothing may be written without its answer")
            }
            Self::Policy { name, binding } => write!(f, "policy `{name}` (binding `{binding}`) refuses it"),
            Self::Quota { name } => write!(f, "quota `{name}` of its namespace is used up"),
            Self::LimitRange => f.write_str("a LimitRange of its namespace refuses it"),
            Self::Rights => f.write_str("you may not do that"),
            Self::Fields { fields } if fields.is_empty() => f.write_str("the API server takes it for invalid"),
            Self::Fields { fields } => write!(f, "the API server takes {} for invalid", fields.join(", ")),
            Self::Address { address, holder } => write!(f, "Service {holder} has its {address}"),
            Self::ApiServer { status, reason } => write!(f, "the API server answers {status} {reason}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Refuser;
    use crate::cluster::{ApiError, Cause};

    fn of(status: u16, message: &str) -> Refuser {
        Refuser::of(&ApiError { status, message: message.to_owned(), ..ApiError::default() })
    }

    fn text(text: &str) -> String {
        text.to_owned()
    }

    #[test]
    fn the_servers_words_say_who_refused() {
        for (status, message, refuser) in [
            (
                400,
                "admission webhook \"deny.example.com\" denied the request: no",
                Refuser::Webhook { name: text("deny.example.com") },
            ),
            (
                500,
                "Internal error occurred: failed calling webhook \"w.example.com\": failed to call webhook: Post \"https://x\"",
                Refuser::DeadWebhook { name: text("w.example.com") },
            ),
            (
                422,
                "configmaps \"a\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no",
                Refuser::Policy { name: text("p"), binding: text("b") },
            ),
            (
                403,
                "configmaps \"a\" is forbidden: exceeded quota: q, requested: count/configmaps=1",
                Refuser::Quota { name: text("q") },
            ),
            (
                403,
                "pods \"a\" is forbidden: status unknown for quota: q, resources: cpu",
                Refuser::Quota { name: text("q") },
            ),
            (
                403,
                "persistentvolumeclaims \"a\" is forbidden: maximum storage usage per PersistentVolumeClaim is 1Gi, but request is 2Gi",
                Refuser::LimitRange,
            ),
            (403, "configmaps is forbidden: User \"u\" cannot create resource \"configmaps\"", Refuser::Rights),
            (404, "not found", Refuser::ApiServer { status: 404, reason: String::new() }),
        ] {
            assert_eq!(of(status, message), refuser, "{message}");
        }
    }

    #[test]
    fn fields_are_named_and_values_are_not() {
        let cause = |field: &str| Cause { field: text(field), message: text("hunter2"), ..Cause::default() };
        let answer = ApiError {
            status: 422,
            message: text("Secret \"a\" is invalid: data[hunter2]: failed calling webhook \"hunter2\""),
            causes: vec![cause("type"), cause("type"), cause("")],
            ..ApiError::default()
        };
        let found = Refuser::of(&answer);
        assert_eq!(found, Refuser::Fields { fields: vec![text("type")] });
        assert_eq!(found.to_string(), "the API server takes type for invalid");
    }
}
