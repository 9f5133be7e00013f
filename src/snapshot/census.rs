//! What there is to list, found out before the first list and checked again behind the last.
//!
//! In: a ready API server. Out: a revision, the CRDs at it, and every type. Rules (facts/apiserver-tried.md): a starting
//! API server answers discovery with a part of its types and no error, so readiness and discovery are checked against
//! the CRDs before and after; what the parent snapshot had and discovery lacks must be explained.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;

use super::capture::CaptureError;
use super::types_document::{RecordedOrigin, TypeRecord, TypesDocument, minor_version};
use crate::cluster::{
    ApiServices, CRDS_URL, Cluster, ClusterError, CustomResourceDefinition, DiscoveryDocuments, ListReader, ServedType,
};

/// A new CRD is in discovery within 2.1 seconds (measured), so that this is patience enough.
const DISCOVERY_LOOKS: u32 = 8;
/// Between two looks at discovery.
const DISCOVERY_PAUSE: Duration = Duration::from_millis(500);
/// Names and UIDs only, without the schemas.
const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
/// Where a revision can be had by who may not list CRDs.
const NAMESPACES_URL: &str = "/api/v1/namespaces";

/// What the cluster is, as far as it does not change while it is listed.
#[derive(Debug)]
pub(super) struct Census {
    pub(super) identity: String,
    pub(super) kubernetes: String,
    pub(super) documents: DiscoveryDocuments,
    pub(super) services: ApiServices,
    /// The revision that everything is listed at.
    pub(super) revision: u64,
}

/// A type that should be there and is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LostType {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) resource: String,
    pub(super) reason: String,
    /// A CRD defines it.
    pub(super) custom: bool,
}

impl LostType {
    /// It is this one, whatever the version.
    pub(super) fn is(&self, group: &str, resource: &str) -> bool {
        self.group == group && self.resource == resource
    }
}

impl Census {
    /// Asks everything but the CRDs, and takes a revision from a list that a quorum answers. The revision may be older
    /// or newer than the discovery: [`Self::settle`] and [`Self::changed_since`] find what came or went in between.
    pub(super) async fn take(cluster: &Cluster) -> Result<Self, CaptureError> {
        cluster.ready().await?;
        let services = async {
            match ApiServices::read(cluster).await {
                // They are a type like others: who may not list them gets a partial snapshot, which says so.
                Err(ClusterError::Api(answer)) if answer.status == 403 => Ok(ApiServices::default()),
                other => other,
            }
        };
        // All at once, and the first of them in this order that fails is told, whichever came back first: the same user
        // gets the same answer every time.
        let (identity, kubernetes, documents, services, revision) = tokio::join!(
            cluster.identity(),
            cluster.version(),
            DiscoveryDocuments::read(cluster),
            services,
            newest_revision(cluster),
        );
        let (identity, kubernetes, documents) = (identity?, kubernetes?, documents?);
        let (services, revision) = (services?, revision?);
        Ok(Self { identity, kubernetes, documents, services, revision })
    }

    /// Compares discovery with the CRDs of the revision and with the parent snapshot, looking again for a while at what
    /// is missing. What stays missing is lost.
    pub(super) async fn settle(
        &mut self,
        cluster: &Cluster,
        crds: &BTreeMap<String, CustomResourceDefinition>,
        parent: Option<&TypesDocument>,
    ) -> Result<Vec<LostType>, CaptureError> {
        for look in 1.. {
            let lost = self.lost(crds, parent);
            if lost.is_empty() || look >= DISCOVERY_LOOKS {
                return Ok(lost);
            }
            tokio::time::sleep(DISCOVERY_PAUSE).await;
            self.documents = DiscoveryDocuments::read(cluster).await?;
        }
        Ok(Vec::new())
    }

    fn lost(&self, crds: &BTreeMap<String, CustomResourceDefinition>, parent: Option<&TypesDocument>) -> Vec<LostType> {
        let mut lost = Vec::new();
        for crd in crds.values().filter(|crd| crd.established) {
            for version in &crd.served_versions {
                if !self.documents.serves(&crd.group, version, &crd.plural) {
                    lost.push(LostType {
                        group: crd.group.clone(),
                        version: version.clone(),
                        resource: crd.plural.clone(),
                        reason: format!("its CRD serves {version}, but discovery does not have it"),
                        custom: true,
                    });
                }
            }
        }
        // A custom type is explained by its CRD, above. A built-in one may have gone with an older server.
        let same_server = parent.filter(|parent| parent.server == minor_version(&self.kubernetes));
        for record in same_server.iter().flat_map(|parent| &parent.types) {
            let TypeRecord { group, version, resource, .. } = record;
            if record.origin == RecordedOrigin::BuiltIn
                && record.objects().is_some()
                && self.services.local.contains(&(group.clone(), version.clone()))
                && !self.documents.serves(group, version, resource)
            {
                lost.push(LostType {
                    group: group.clone(),
                    version: version.clone(),
                    resource: resource.clone(),
                    reason: "the snapshot before this one has it, but discovery does not".to_owned(),
                    custom: false,
                });
            }
        }
        lost
    }

    /// Which version of this type is read does not depend on any CRD: the API server brings it itself, or there is only
    /// one. Should the CRDs know better, it is listed once more.
    pub(super) fn has_one_reading(&self, served: &ServedType) -> bool {
        self.services.built_in.contains(&(served.group.clone(), served.version.clone()))
            || self.documents.has_one_version(&served.group, &served.resource)
    }

    /// Every type.
    pub(super) fn types(&self, crds: &BTreeMap<String, CustomResourceDefinition>) -> Vec<ServedType> {
        self.documents.types(crds, &self.services)
    }

    /// Looks again behind the last list: `Some` says what came or went meanwhile.
    pub(super) async fn changed_since(
        &self,
        cluster: &Cluster,
        crds: Option<&BTreeMap<String, CustomResourceDefinition>>,
    ) -> Result<Option<String>, CaptureError> {
        let now = async {
            match crds {
                Some(_) => crd_uids(cluster).await.map(Some),
                None => Ok(None),
            }
        };
        let ((), documents, now) = tokio::try_join!(cluster.ready(), DiscoveryDocuments::read(cluster), now)?;
        if let (Some(crds), Some(now)) = (crds, now) {
            let then: BTreeMap<&str, &str> = crds.values().map(|crd| (crd.name.as_str(), crd.uid.as_str())).collect();
            let now: BTreeMap<&str, &str> = now.iter().map(|(name, uid)| (name.as_str(), uid.as_str())).collect();
            if then != now {
                let changed = then.iter().filter(|(name, uid)| now.get(*name) != Some(uid));
                let new = now.iter().filter(|(name, uid)| then.get(*name) != Some(uid));
                let names: BTreeSet<&str> = changed.chain(new).map(|(name, _)| *name).collect();
                return Ok(Some(format!("CRDs came or went: {}", some(&names))));
            }
        }
        let (then, now) = (self.documents.fingerprint(&self.services), documents.fingerprint(&self.services));
        let changed: BTreeSet<&str> = then.symmetric_difference(&now).map(String::as_str).collect();
        Ok((!changed.is_empty()).then(|| format!("types came or went: {}", some(&changed))))
    }
}

/// The first few of many.
fn some(names: &BTreeSet<&str>) -> String {
    let mut text: Vec<&str> = names.iter().copied().take(3).collect();
    if names.len() > text.len() {
        text.push("…");
    }
    text.join(", ")
}

async fn newest_revision(cluster: &Cluster) -> Result<u64, CaptureError> {
    let mut forbidden = None;
    for url in [CRDS_URL, NAMESPACES_URL] {
        let mut reader = ListReader::latest(cluster, url.to_owned()).with_limit(1);
        match reader.next().await {
            Ok(_) => return Ok(reader.revision().unwrap_or_default()),
            // Forbidden, or an object of it is corrupt (500, 429): then it is missing later on, and says so.
            Err(crate::cluster::ListError::Cluster(ClusterError::Api(answer)))
                if matches!(answer.status, 403 | 429 | 500..) =>
            {
                forbidden = Some(ClusterError::Api(answer));
            }
            Err(crate::cluster::ListError::Cluster(error)) => return Err(error.into()),
            Err(other) => return Err(CaptureError::NeverStill { attempts: 1, reason: other.to_string() }),
        }
    }
    Err(forbidden.map_or_else(
        || CaptureError::NeverStill { attempts: 1, reason: "no list tells a revision".to_owned() },
        CaptureError::Cluster,
    ))
}

async fn crd_uids(cluster: &Cluster) -> Result<BTreeMap<String, String>, ClusterError> {
    #[derive(Deserialize)]
    struct List {
        // `null` where there is no CRD.
        items: Option<Vec<Item>>,
    }
    #[derive(Deserialize)]
    struct Item {
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    struct Metadata {
        name: String,
        uid: String,
    }
    let body = cluster.get_as(CRDS_URL, METADATA_ONLY).await?;
    let list: List = crate::cluster::parse(CRDS_URL, "a list of metadata", &body)?;
    Ok(list.items.into_iter().flatten().map(|item| (item.metadata.name, item.metadata.uid)).collect())
}

#[cfg(test)]
mod tests {
    use super::{ApiServices, BTreeMap, Census, CustomResourceDefinition, DiscoveryDocuments};

    #[test]
    fn a_served_version_that_discovery_lacks_is_lost_and_a_crd_that_was_never_accepted_is_not() {
        let crd = |plural: &str, established| CustomResourceDefinition {
            name: format!("{plural}.test"),
            uid: String::new(),
            generation: 1,
            group: "test".to_owned(),
            plural: plural.to_owned(),
            storage_version: "v1".to_owned(),
            read_version: "v1".to_owned(),
            converts_by_webhook: false,
            served_versions: vec!["v1".to_owned(), "v2".to_owned()],
            established,
        };
        let crds = [crd("new", true), crd("refused", false)].map(|crd| (crd.name.clone(), crd));
        let census = Census {
            identity: String::new(),
            kubernetes: String::new(),
            documents: DiscoveryDocuments::default(),
            services: ApiServices::default(),
            revision: 1,
        };
        let lost = census.lost(&BTreeMap::from(crds), None);
        let named: Vec<_> = lost.iter().map(|lost| (lost.resource.as_str(), lost.version.as_str())).collect();
        assert_eq!(named, [("new", "v1"), ("new", "v2")]);
    }
}
