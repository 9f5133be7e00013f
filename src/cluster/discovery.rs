//! Which types a cluster serves, over all versions of all groups.
//!
//! In: aggregated discovery, the CRDs and the APIServices. Out: one entry for each (group, resource), with the one
//! version that is captured. Rules (facts/apiserver-tried.md): a group's first version does not hold all its resources,
//! so every version is looked at; custom resources are read at their storage version, so that a dead conversion webhook
//! changes nothing; what another API server answers for is a view. kube's own discovery drops categories.

use std::collections::{BTreeMap, BTreeSet};

use kube::client::{APIGroupDiscoveryList, APIResourceDiscovery};
use serde::Deserialize;

use super::connect::{Cluster, parse};
use super::error::ClusterError;
use super::list::{ListError, ListReader};
use super::served_type::{ServedType, TypeOrigin};

/// Version 2 is of Kubernetes 1.30, v2beta1 of 1.26.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
                          application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
/// Where the CRDs are.
pub(crate) const CRDS_URL: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const API_SERVICES_URL: &str = "/apis/apiregistration.k8s.io/v1/apiservices";

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
    /// The version that objects are read at: the storage version, unless somebody chose another one that is served.
    pub read_version: String,
    /// Objects stored at one version and read at another one go through a webhook.
    pub converts_by_webhook: bool,
    /// Every version that is served, in the CRD's order.
    pub served_versions: Vec<String>,
    /// The API server accepted its names and serves it.
    pub established: bool,
}

impl CustomResourceDefinition {
    /// Reads one item of a list of CRDs; its schema is skipped.
    ///
    /// # Errors
    /// It is no CRD.
    pub fn parse(item: &str) -> Result<Self, ClusterError> {
        let Definition { metadata, spec, status } = parse(CRDS_URL, "a CRD", item.as_bytes())?;
        let storage = spec.versions.iter().find(|version| version.storage);
        let served = spec.versions.iter().filter(|version| version.served);
        let conditions = status.unwrap_or_default().conditions.unwrap_or_default();
        let storage_version = storage.map(|version| version.name.clone()).unwrap_or_default();
        Ok(Self {
            read_version: storage_version.clone(),
            storage_version,
            converts_by_webhook: spec.conversion.is_some_and(|conversion| conversion.strategy == "Webhook"),
            served_versions: served.map(|version| version.name.clone()).collect(),
            established: conditions
                .iter()
                .any(|condition| condition.kind == "Established" && condition.status == "True"),
            name: metadata.name,
            uid: metadata.uid,
            generation: metadata.generation,
            group: spec.group,
            plural: spec.names.plural,
        })
    }
}

#[derive(Deserialize)]
struct Definition {
    metadata: DefinitionMetadata,
    spec: DefinitionSpec,
    status: Option<DefinitionStatus>,
}
#[derive(Deserialize)]
struct DefinitionMetadata {
    name: String,
    uid: String,
    #[serde(default)]
    generation: i64,
}
#[derive(Deserialize)]
struct DefinitionSpec {
    group: String,
    names: DefinitionNames,
    versions: Vec<DefinitionVersion>,
    conversion: Option<DefinitionConversion>,
}
#[derive(Deserialize)]
struct DefinitionConversion {
    strategy: String,
}
#[derive(Deserialize)]
struct DefinitionNames {
    plural: String,
}
#[derive(Deserialize)]
struct DefinitionVersion {
    name: String,
    served: bool,
    storage: bool,
}
#[derive(Default, Deserialize)]
struct DefinitionStatus {
    conditions: Option<Vec<Condition>>,
}
#[derive(Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

/// Which groups and versions there are, and who answers for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiServices {
    /// `(group, version)` to `namespace/name` of the Service of another API server.
    pub remote: BTreeMap<(String, String), String>,
    /// Groups and versions that this API server answers for itself.
    pub local: BTreeSet<(String, String)>,
    /// Those among them that it brings itself, rather than a CRD.
    pub built_in: BTreeSet<(String, String)>,
}

/// The API server's mark on the APIServices that it makes itself, and what it writes there for its own groups; for
/// those of CRDs it writes `true` (kube-aggregator, `autoregister`).
const AUTOMANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";
const AT_ITS_START: &str = "onstart";

impl ApiServices {
    /// Reads them.
    ///
    /// # Errors
    /// There is no answer, or they may not be listed.
    pub async fn read(cluster: &Cluster) -> Result<Self, ClusterError> {
        #[derive(Deserialize)]
        struct List {
            items: Vec<Item>,
        }
        #[derive(Deserialize)]
        struct Item {
            metadata: Metadata,
            spec: Spec,
        }
        #[derive(Deserialize)]
        struct Metadata {
            #[serde(default)]
            labels: BTreeMap<String, String>,
        }
        #[derive(Deserialize)]
        struct Spec {
            #[serde(default)]
            group: String,
            #[serde(default)]
            version: String,
            service: Option<Service>,
        }
        #[derive(Deserialize)]
        struct Service {
            #[serde(default)]
            namespace: String,
            #[serde(default)]
            name: String,
        }
        let list: List = cluster.get_json(API_SERVICES_URL, "a list of APIServices").await?;
        let mut services = Self::default();
        for Item { metadata, spec } in list.items {
            match spec.service {
                Some(service) => {
                    let address = format!("{}/{}", service.namespace, service.name);
                    services.remote.insert((spec.group, spec.version), address);
                }
                None => {
                    let served = (spec.group, spec.version);
                    if metadata.labels.get(AUTOMANAGED).is_some_and(|mark| mark == AT_ITS_START) {
                        services.built_in.insert(served.clone());
                    }
                    services.local.insert(served);
                }
            }
        }
        Ok(services)
    }
}

/// The two documents of aggregated discovery, in the server's order of preference.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DiscoveryDocuments {
    groups: Vec<GroupDocument>,
}

#[derive(Clone, Debug, PartialEq)]
struct GroupDocument {
    name: String,
    /// The preferred one first.
    versions: Vec<(String, Vec<APIResourceDiscovery>)>,
}

impl DiscoveryDocuments {
    /// Reads them.
    ///
    /// # Errors
    /// There is no answer, or the server is older than Kubernetes 1.26.
    pub async fn read(cluster: &Cluster) -> Result<Self, ClusterError> {
        let mut groups = Vec::new();
        for url in ["/api", "/apis"] {
            let body = cluster.get_as(url, AGGREGATED).await?;
            let list: APIGroupDiscoveryList = parse(url, "aggregated discovery", &body)?;
            if list.items.is_empty() {
                return Err(ClusterError::BadAnswer {
                    method: "GET".to_owned(),
                    path: url.to_owned(),
                    expected: "aggregated discovery",
                    problem: "it names no group (Kubernetes 1.26 or newer is needed)".to_owned(),
                });
            }
            for group in list.items {
                let name = group.metadata.and_then(|metadata| metadata.name).unwrap_or_default();
                let versions = group.versions.into_iter();
                let versions = versions.map(|version| (version.version.unwrap_or_default(), version.resources));
                groups.push(GroupDocument { name, versions: versions.collect() });
            }
        }
        Ok(Self { groups })
    }

    /// This group, version and resource is there.
    pub fn serves(&self, group: &str, version: &str, resource: &str) -> bool {
        self.groups
            .iter()
            .filter(|document| document.name == group)
            .flat_map(|document| &document.versions)
            .filter(|(name, _)| name == version)
            .flat_map(|(_, resources)| resources)
            .any(|known| known.resource.as_deref() == Some(resource))
    }

    /// This resource is there at one version only.
    pub(crate) fn has_one_version(&self, group: &str, resource: &str) -> bool {
        let versions =
            self.groups.iter().filter(|document| document.name == group).flat_map(|document| &document.versions);
        let has_it = |known: &&APIResourceDiscovery| known.resource.as_deref() == Some(resource);
        versions.flat_map(|(_, resources)| resources).filter(has_it).count() == 1
    }

    /// Every group, version and resource with its verbs, for comparing two moments. What another API server answers
    /// for comes and goes with it and is left out.
    pub fn fingerprint(&self, services: &ApiServices) -> BTreeSet<String> {
        let mut lines = BTreeSet::new();
        for document in &self.groups {
            for (version, resources) in &document.versions {
                if services.remote.contains_key(&(document.name.clone(), version.clone())) {
                    continue;
                }
                for resource in resources {
                    let name = resource.resource.as_deref().unwrap_or_default();
                    lines.insert(format!("{name}.{version}.{}", document.name));
                }
            }
        }
        lines
    }

    /// One entry for each (group, resource), sorted by them.
    pub fn types(&self, crds: &BTreeMap<String, CustomResourceDefinition>, services: &ApiServices) -> Vec<ServedType> {
        let mut types = BTreeMap::new();
        for document in &self.groups {
            let mut names = BTreeSet::new();
            for resource in document.versions.iter().flat_map(|(_, resources)| resources) {
                names.extend(resource.resource.as_deref().filter(|name| !name.is_empty()));
            }
            for name in names {
                if let Some(served) = document.one_type(name, crds, services) {
                    types.insert((served.group.clone(), served.resource.clone()), served);
                }
            }
        }
        types.into_values().collect()
    }
}

impl GroupDocument {
    fn one_type(
        &self,
        name: &str,
        crds: &BTreeMap<String, CustomResourceDefinition>,
        services: &ApiServices,
    ) -> Option<ServedType> {
        let remote = |version: &str| services.remote.get(&(self.name.clone(), version.to_owned()));
        let offers: Vec<(&str, &APIResourceDiscovery)> = self
            .versions
            .iter()
            .flat_map(|(version, resources)| resources.iter().map(move |resource| (version.as_str(), resource)))
            .filter(|(_, resource)| resource.resource.as_deref() == Some(name))
            .collect();
        let local: Vec<_> = offers.iter().filter(|(version, _)| remote(version).is_none()).copied().collect();
        let crd = crds.get(&format!("{name}.{}", self.name));
        let chosen = crd.and_then(|crd| local.iter().find(|(version, _)| *version == crd.read_version));
        // A version that cannot be listed is of no use while another can.
        let listable = local.iter().find(|(_, resource)| resource.verbs.iter().any(|verb| verb == "list"));
        let (version, resource) = *chosen.or(listable).or(local.first()).or(offers.first())?;
        let origin = match (remote(version), crd) {
            (Some(service), _) => TypeOrigin::Remote { service: service.clone() },
            (None, Some(crd)) => TypeOrigin::CustomResource {
                storage_version: crd.storage_version.clone(),
                served_versions: crd.served_versions.clone(),
            },
            (None, None) => TypeOrigin::BuiltIn,
        };
        let kind = resource.response_kind.as_ref().and_then(|kind| kind.kind.clone()).unwrap_or_default();
        let singular = resource.singular_resource.clone().filter(|singular| !singular.is_empty());
        Some(ServedType {
            group: self.name.clone(),
            version: version.to_owned(),
            resource: name.to_owned(),
            singular: singular.unwrap_or_else(|| kind.to_lowercase()),
            kind,
            namespaced: resource.scope.as_deref() == Some("Namespaced"),
            verbs: resource.verbs.clone(),
            short_names: resource.short_names.clone(),
            categories: resource.categories.clone(),
            has_status: resource.subresources.iter().any(|sub| sub.subresource.as_deref() == Some("status")),
            origin,
        })
    }
}

/// Every type of the cluster, sorted by group and resource: those that cannot be listed and views of other API servers
/// included.
///
/// # Errors
/// The cluster cannot be read, or the user may not list CRDs or APIServices.
pub async fn discover(cluster: &Cluster) -> Result<Vec<ServedType>, ClusterError> {
    let mut crds = read_crds(cluster).await;
    // Compacted between two pages, or another server answered: begin anew, once.
    if matches!(crds, Err(ListError::Gone { .. } | ListError::OtherRevision { .. })) {
        crds = read_crds(cluster).await;
    }
    let crds = crds.map_err(|error| match error {
        ListError::Cluster(error) => error,
        other => ClusterError::BadAnswer {
            method: "GET".to_owned(),
            path: CRDS_URL.to_owned(),
            expected: "a list at one revision",
            problem: other.to_string(),
        },
    })?;
    let services = ApiServices::read(cluster).await?;
    Ok(DiscoveryDocuments::read(cluster).await?.types(&crds, &services))
}

async fn read_crds(cluster: &Cluster) -> Result<BTreeMap<String, CustomResourceDefinition>, ListError> {
    let mut crds = BTreeMap::new();
    let mut reader = ListReader::latest(cluster, CRDS_URL.to_owned());
    while let Some(page) = reader.next().await? {
        for item in page.items() {
            let crd = CustomResourceDefinition::parse(item)?;
            crds.insert(crd.name.clone(), crd);
        }
    }
    Ok(crds)
}
