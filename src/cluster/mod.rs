//! What every stage needs from Kubernetes: a connection with errors by meaning, lists at one revision, and the types
//! that a cluster serves.
//!
//! In: a kubeconfig (or a pod's service account). Out: raw JSON answers, and every type with the version it is
//! captured at. Invariants: bodies are never logged (I10); only reads are repeated, and only a bounded number of times.

mod certificate;
mod connect;
mod discovery;
mod error;
mod kubeconfig;
mod list;
mod request;
mod served_type;
mod transport_error;

pub(crate) use connect::parse;
pub use connect::{Cluster, WriteGate};
pub(crate) use discovery::CRDS_URL;
pub use discovery::{ApiServices, CustomResourceDefinition, DiscoveryDocuments, discover};
pub use error::{ApiError, Cause, ClusterError, TlsProblem};
pub use kubeconfig::ConnectOptions;
pub use list::{ListError, ListPage, ListReader};
pub use served_type::{ServedType, TypeOrigin, type_name};
