//! What every stage needs from Kubernetes: a connection with errors by meaning, and the types that a cluster serves.
//!
//! In: a kubeconfig (or a pod's service account). Out: raw JSON answers, and every type with the version it is
//! captured at. Invariants: bodies are never logged (I10); only reads are repeated, and only a bounded number of times.

mod connect;
mod discovery;
mod error;
mod kubeconfig;
mod request;
mod served_type;

pub use connect::{Cluster, ConnectOptions};
pub use discovery::{CustomResourceDefinition, DiscoveredTypes, RemoteService, discover, discover_all};
pub use error::{ApiError, Cause, ClusterError};
pub use served_type::{ServedType, TypeOrigin};
