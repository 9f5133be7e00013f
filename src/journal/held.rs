//! What is held still during a transaction, and what it was before.
//!
//! In and out: names and small values. Invariant: nothing here can hold the content of an object (I10); the whole
//! earlier object is in the snapshot that was taken before the first change.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::store::ContentHash;

/// Something that is stopped or set aside, and put back at the end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Held {
    /// A Deployment of apps, held by its replicas.
    Deployment {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A StatefulSet of apps, held by its replicas.
    StatefulSet {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A Cluster of cluster.x-k8s.io, held by `spec.paused`.
    ClusterApi {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A MutatingWebhookConfiguration, emptied.
    MutatingWebhook {
        /// Its name.
        name: String,
    },
    /// A ValidatingWebhookConfiguration, emptied.
    ValidatingWebhook {
        /// Its name.
        name: String,
    },
    /// An APIService whose server does not answer.
    ApiService {
        /// Its name.
        name: String,
    },
}

/// What something was before it was held: for people and for checks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Prior {
    /// `spec.replicas`; none when the field was not there.
    Replicas(Option<i64>),
    /// `spec.paused`; none when the field was not there.
    Paused(Option<bool>),
    /// SHA-256 of the whole object in the snapshot taken before.
    Content(ContentHash),
    /// It was not there: it is held from the moment on at which it comes back.
    Absent,
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deployment { namespace, name } => write!(f, "deployment {namespace}/{name}"),
            Self::StatefulSet { namespace, name } => write!(f, "statefulset {namespace}/{name}"),
            Self::ClusterApi { namespace, name } => write!(f, "cluster {namespace}/{name}"),
            Self::MutatingWebhook { name } => write!(f, "mutatingwebhookconfiguration {name}"),
            Self::ValidatingWebhook { name } => write!(f, "validatingwebhookconfiguration {name}"),
            Self::ApiService { name } => write!(f, "apiservice {name}"),
        }
    }
}
