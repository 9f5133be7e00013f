//! Which types a cluster serves, over all versions of all groups.

use std::collections::BTreeMap;

use super::connect::Cluster;
use super::error::ClusterError;
use super::served_type::ServedType;

/// What a capture needs to know of a CRD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomResourceDefinition {
    /// `<plural>.<group>`.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Changes with its spec.
    pub generation: i64,
    /// API group of its objects.
    pub group: String,
    /// Plural name of its objects.
    pub plural: String,
    /// The version that objects are stored in.
    pub storage_version: String,
    /// Every version that is served, in the CRD's order.
    pub served_versions: Vec<String>,
    /// The API server accepted its names and serves it.
    pub established: bool,
}

/// A group and version that another API server answers for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteService {
    /// API group.
    pub group: String,
    /// Version.
    pub version: String,
    /// `namespace/name` of the Service.
    pub service: String,
}

/// Everything that discovery, the CRDs and the APIServices say together.
#[derive(Clone, Debug, Default)]
pub struct DiscoveredTypes {
    /// One entry for each (group, resource), sorted by them; types that cannot be listed included.
    pub types: Vec<ServedType>,
    /// Every group, version and resource served by this API server itself.
    pub served: BTreeMap<(String, String), Vec<String>>,
    /// The CRDs by name.
    pub crds: BTreeMap<String, CustomResourceDefinition>,
    /// Groups and versions that are views of another API server.
    pub remote: Vec<RemoteService>,
}

/// Every type of the cluster, sorted by group and resource.
pub async fn discover(_cluster: &Cluster) -> Result<Vec<ServedType>, ClusterError> {
    todo!()
}

/// The same with what it was made from.
pub async fn discover_all(_cluster: &Cluster) -> Result<DiscoveredTypes, ClusterError> {
    todo!()
}
