//! Waits until every API server of the cluster has a CRD as it is now.
//!
//! API servers learn of a CRD each on its own, a moment apart. One that still has the old one writes objects at the old
//! storage version, where a write that changes nothing moves nothing: a pass over the objects through it would prove
//! nothing. Which server answers is up to the load balancer, so each look is over a new connection, and the server's own
//! address tells which one it was.
//!
//! Bounds: [`LEAST_LOOKS`] must be good without a bad one between. When as many different servers were among them as hold
//! leases in kube-system, that is enough. When not (a balancer that prefers one server, servers that all give the same
//! address, leases that cannot be read), [`LOOKS_A_SERVER`] for each of them must be good, over no less than
//! [`SETTLING`], which is what API servers give each other to learn of a new CRD. A server that answers nobody during that
//! time is not seen; the list that follows the last step finds what it wrote later.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::definition::{At, Definition};
use super::error::StorageError;
use crate::cluster::{CRDS_URL, Cluster, ClusterError};
use crate::store::ContentHash;

/// Good looks in any case: several servers on one machine hold one lease between them.
const LEAST_LOOKS: usize = 4;
/// Good looks for each API server when they cannot be told apart; with a balancer that chooses at random one of three is
/// missed once in 400 times.
const LOOKS_A_SERVER: usize = 5;
/// How many API servers are assumed when nobody says so.
const SERVERS_ASSUMED: usize = 3;
/// The least time from the first good look to the last one when there are several API servers.
const SETTLING: Duration = Duration::from_secs(5);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// What a server's discovery says of a CRD, its request handlers know a moment later.
const HANDLERS: Duration = Duration::from_millis(200);
/// A lease is renewed every ten seconds; one that is this much older than the newest belongs to a server that is gone.
const LEASE_AGE: i64 = 60;
/// Where API servers say that they are there.
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases\
                      ?labelSelector=apiserver.kubernetes.io/identity%3Dkube-apiserver";

/// What every API server should say of a type.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    crd: String,
    group: String,
    plural: String,
    served: Vec<String>,
    /// Versions that only earlier forms of the CRD have.
    absent: BTreeSet<String>,
    storage_hash: String,
    at: At,
}

impl Expected {
    pub(super) fn of(crd: Definition<'_>, absent: BTreeSet<String>) -> Self {
        Self {
            crd: crd.name().to_owned(),
            group: crd.group().to_owned(),
            plural: crd.plural().to_owned(),
            served: crd.served().map(str::to_owned).collect(),
            absent,
            at: crd.at(),
            storage_hash: storage_hash(crd.group(), crd.storage(), crd.kind()),
        }
    }

    /// The CRD is still as it was when this was expected.
    async fn stands(&self, cluster: &Cluster) -> Result<bool, ClusterError> {
        let url = format!("{CRDS_URL}/{}", self.crd);
        match cluster.get(&url).await {
            Ok(bytes) => {
                let crd: Value = crate::cluster::parse(&url, "a CRD", &bytes)?;
                Ok(Definition::of(&crd).at() == self.at)
            }
            Err(error) if error.status() == Some(404) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What one API server says otherwise.
    async fn differs(&self, cluster: &Cluster) -> Result<Option<String>, ClusterError> {
        for version in &self.served {
            let hash = self.hash_at(cluster, version).await?;
            match hash {
                None => return Ok(Some(format!("{version} is not served"))),
                Some(hash) if hash != self.storage_hash => {
                    return Ok(Some("objects are written at another version".to_owned()));
                }
                Some(_) => {}
            }
        }
        for version in &self.absent {
            if self.hash_at(cluster, version).await?.is_some() {
                return Ok(Some(format!("{version} is still served")));
            }
        }
        Ok(None)
    }

    /// The hash of the storage version as a server's discovery has it; `None` when it does not serve the version.
    async fn hash_at(&self, cluster: &Cluster, version: &str) -> Result<Option<String>, ClusterError> {
        #[derive(Deserialize)]
        struct Resources {
            resources: Vec<Resource>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Resource {
            name: String,
            #[serde(default)]
            storage_version_hash: String,
        }
        let url = format!("/apis/{}/{version}", self.group);
        let body = match cluster.get(&url).await {
            Ok(body) => body,
            Err(error) if error.status() == Some(404) => return Ok(None),
            Err(error) => return Err(error),
        };
        let list: Resources = crate::cluster::parse(&url, "a list of resources", &body)?;
        let found = list.resources.into_iter().find(|resource| resource.name == self.plural);
        Ok(found.map(|resource| resource.storage_version_hash))
    }
}

/// Waits; the bounds are in the module's text. `false`: the CRD changed meanwhile, and nothing can be expected of it.
pub(super) async fn wait_everywhere(
    cluster: &Cluster,
    expected: &Expected,
    patience: Duration,
) -> Result<bool, StorageError> {
    let servers = servers(cluster).await?;
    let started = Instant::now();
    let (mut good, mut since) = (Vec::new(), Instant::now());
    loop {
        let one = cluster.over_new_connections()?;
        let address = address(&one).await?;
        match expected.differs(&one).await? {
            None => good.push(address),
            Some(problem) if started.elapsed() >= patience => {
                let (crd, seconds) = (expected.crd.clone(), patience.as_secs());
                return Err(StorageError::NotEverywhere { crd, seconds, problem });
            }
            Some(_) if !expected.stands(cluster).await? => return Ok(false),
            Some(_) => (good, since) = (Vec::new(), Instant::now()),
        }
        let different: BTreeSet<&String> = good.iter().collect();
        if good.len() >= LEAST_LOOKS && different.len() >= servers
            || good.len() >= LOOKS_A_SERVER * servers && since.elapsed() >= SETTLING
        {
            break;
        }
        if good.len() < LEAST_LOOKS {
            tokio::time::sleep(LOOK_EVERY / if good.is_empty() { 1 } else { 10 }).await;
        } else {
            tokio::time::sleep(SETTLING / u32::try_from(LOOKS_A_SERVER * servers).unwrap_or(1)).await;
        }
    }
    tokio::time::sleep(HANDLERS).await;
    Ok(true)
}

/// Which API server answers, by its own address.
async fn address(cluster: &Cluster) -> Result<String, ClusterError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Versions {
        #[serde(default, rename = "serverAddressByClientCIDRs")]
        addresses: Vec<Address>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Address {
        server_address: String,
    }
    let body = cluster.get("/api").await?;
    let versions: Versions = crate::cluster::parse("/api", "the core group's versions", &body)?;
    Ok(versions.addresses.into_iter().map(|address| address.server_address).collect())
}

/// How many API servers there are.
async fn servers(cluster: &Cluster) -> Result<usize, ClusterError> {
    #[derive(Deserialize)]
    struct Leases {
        items: Vec<Lease>,
    }
    #[derive(Deserialize)]
    struct Lease {
        spec: Spec,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Spec {
        renew_time: Option<Timestamp>,
    }
    let body = match cluster.get(LEASES).await {
        Ok(body) => body,
        // Who may not read them assumes the worst.
        Err(ClusterError::Api(_)) => return Ok(SERVERS_ASSUMED),
        Err(error) => return Err(error),
    };
    let leases: Leases = crate::cluster::parse(LEASES, "a list of leases", &body)?;
    let times: Vec<i64> =
        leases.items.iter().filter_map(|lease| lease.spec.renew_time).map(Timestamp::as_second).collect();
    let newest = times.iter().max().copied().unwrap_or_default();
    match times.iter().filter(|time| newest - **time < LEASE_AGE).count() {
        0 => Ok(SERVERS_ASSUMED),
        count => Ok(count),
    }
}

/// How discovery names a storage version: base64 of the first eight bytes of the SHA-256 of `group/version/kind`.
fn storage_hash(group: &str, version: &str, kind: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digest = ContentHash::of(format!("{group}/{version}/{kind}").as_bytes());
    let bytes = digest.as_raw().iter().take(8).copied().chain([0]);
    let bits = bytes.fold(0_u128, |bits, byte| bits << 8 | u128::from(byte));
    // 72 bits are twelve digits; the last one holds only padding.
    let digits = (1..12).rev().map(|place| bits >> (place * 6) & 63);
    let text: String =
        digits.filter_map(|digit| DIGITS.get(usize::try_from(digit).ok()?).copied()).map(char::from).collect();
    text + "="
}

#[cfg(test)]
mod tests {
    use super::storage_hash;

    #[test]
    fn storage_versions_are_named_as_discovery_does() {
        // Of a real API server's `/apis/apps/v1`.
        assert_eq!(storage_hash("apps", "v1", "Deployment"), "8aSe+NMegvE=");
        assert_eq!(storage_hash("apps", "v1", "DaemonSet"), "dd7pWHUlMKQ=");
    }
}
