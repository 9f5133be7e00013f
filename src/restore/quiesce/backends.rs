//! Finds admission webhooks and APIServices whose backend is dead, or dies with what will be stopped.
//!
//! In: the live cluster, what will be held, and what the wanted snapshot brings back. Out: what has to be set aside
//! before anything is planned, or is to come back set aside, each with the reason: a webhook that must answer and cannot
//! makes the API server refuse every write it is asked about, dry runs too; an APIService whose server is away keeps every
//! namespace from ending (`facts/apiserver-tried.md`). Reads only.
//! What lies behind a URL, or behind a Service that is a name elsewhere, cannot be known and is not judged; nor is a
//! backend that is ready by its EndpointSlices and does not answer, except where the API server says so itself.

use std::collections::BTreeMap;
use std::fmt;

use futures::TryStreamExt as _;
use serde_json::Value;

use crate::cluster::{Cluster, ClusterError};
use crate::journal::Held;
use crate::snapshot::Selection;
use crate::store::SnapshotTree;

use super::super::error::RestoreError;
use super::super::object;
use super::address::place;

/// Something that stands in the way, because what it calls is away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadBackend {
    /// The webhook configuration or APIService.
    pub item: Held,
    /// What in it calls whom in vain; of an APIService one entry.
    pub calls: Vec<DeadCall>,
}

/// One call that nobody answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadCall {
    /// The webhook's name, or the APIService's.
    pub name: String,
    /// `namespace/name` of the Service.
    pub service: String,
    /// Why nobody answers.
    pub reason: Death,
}

/// Why nobody answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Death {
    /// There is no such Service.
    NoService,
    /// The Service has no such port.
    NoPort {
        /// Which.
        port: i64,
    },
    /// No endpoint of the Service is ready.
    NoEndpoint,
    /// What is going to be stopped answers.
    Stopped {
        /// What.
        item: Held,
    },
    /// The API server says that it does not answer.
    Unavailable {
        /// The API server's reason, such as `FailedDiscoveryCheck`.
        reason: String,
    },
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoService => f.write_str("there is no such Service"),
            Self::NoPort { port } => write!(f, "the Service has no port {port}"),
            Self::NoEndpoint => f.write_str("no endpoint of it is ready"),
            Self::Stopped { item } => write!(f, "`{item}` answers for it and will be stopped"),
            Self::Unavailable { reason } => write!(f, "the API server says {reason}"),
        }
    }
}

/// `validate.example.org calls Service a/b: no endpoint of it is ready`.
impl fmt::Display for DeadCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} calls Service {}: {}", self.name, self.service, self.reason)
    }
}

/// Finds them. `holding` is what will be held: what it answers for counts as dead too.
///
/// # Errors
/// The cluster does not answer.
pub async fn dead_backends(cluster: &Cluster, holding: &[Held]) -> Result<Vec<DeadBackend>, RestoreError> {
    let mut services = Services::new(cluster, holding).await?;
    let mut found = Vec::new();
    for (group, resource) in KINDS {
        for object in list(cluster, &format!("/apis/{group}/v1/{resource}")).await? {
            let mut calls = services.dead_calls(resource, &object).await?;
            if calls.is_empty() && resource == API_SERVICES {
                calls.extend(unavailable(&object));
            }
            found.extend((!calls.is_empty()).then(|| DeadBackend { item: item(resource, &object), calls }));
        }
    }
    Ok(found)
}

/// Finds those that come back during the restore, or become so: what only the wanted snapshot has in such a way. They are
/// held from the moment on at which they come back, so that they refuse nothing of what is written after them. `before` is
/// the cluster as it was before the first change; whatever else is there now stays as it is.
///
/// # Errors
/// The cluster does not answer, or a snapshot cannot be read.
pub async fn dead_on_return(
    cluster: &Cluster,
    holding: &[Held],
    before: &SnapshotTree,
    wanted: &SnapshotTree,
    scope: &Selection,
) -> Result<Vec<DeadBackend>, RestoreError> {
    let mut services = Services::new(cluster, holding).await?;
    let mut found = Vec::new();
    for (group, resource) in KINDS {
        let mut files = wanted.walk(&format!("cluster/{group}/{resource}"));
        while let Some((path, entry)) = files.try_next().await? {
            let there = before.entry(&path).await?;
            let comes = there.as_ref().is_none_or(|there| there.hash != entry.hash) && scope.includes_path(&path);
            if !comes {
                continue;
            }
            let object = object::parse(&path, &wanted.blob(&entry.hash).await?)?;
            let calls = services.dead_calls(resource, &object).await?;
            found.extend((!calls.is_empty()).then(|| DeadBackend { item: item(resource, &object), calls }));
        }
    }
    Ok(found)
}

const API_SERVICES: &str = "apiservices";
/// What calls others, by group and resource.
const KINDS: [(&str, &str); 3] = [
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations"),
    ("apiregistration.k8s.io", API_SERVICES),
];

fn item(resource: &str, object: &Value) -> Held {
    let name = object::name(object).to_owned();
    match resource {
        "mutatingwebhookconfigurations" => Held::MutatingWebhook { name },
        "validatingwebhookconfigurations" => Held::ValidatingWebhook { name },
        _ => Held::ApiService { name },
    }
}

/// Without its answer nothing is written. `Fail` is what holds where nothing is said.
fn must_answer(webhook: &Value) -> bool {
    object::text(webhook, "/failurePolicy") != Some("Ignore")
}

fn service_name(service: &Value) -> String {
    let text = |pointer| object::text(service, pointer).unwrap_or_default();
    format!("{}/{}", text("/namespace"), text("/name"))
}

/// The API server itself says that an APIService does not answer.
fn unavailable(api_service: &Value) -> Option<DeadCall> {
    let service = api_service.pointer("/spec/service").filter(|service| !service.is_null())?;
    let condition = array(api_service, "/status/conditions")
        .iter()
        .find(|condition| object::text(condition, "/type") == Some("Available"))?;
    let reason = || Death::Unavailable { reason: object::text(condition, "/reason").unwrap_or_default().to_owned() };
    (object::text(condition, "/status") == Some("False")).then(|| DeadCall {
        name: object::name(api_service).to_owned(),
        service: service_name(service),
        reason: reason(),
    })
}

/// What is known of the Services that were asked about.
struct Services<'a> {
    cluster: &'a Cluster,
    /// Of what will be stopped: where it is, and the labels of its pods.
    stopped: Vec<(Held, String, Value)>,
    known: BTreeMap<(String, String), Option<Service>>,
}

struct Service {
    object: Value,
    ready: bool,
}

impl<'a> Services<'a> {
    async fn new(cluster: &'a Cluster, holding: &[Held]) -> Result<Self, RestoreError> {
        let mut stopped = Vec::new();
        for item in holding {
            let (Held::Deployment { namespace, .. } | Held::StatefulSet { namespace, .. }) = item else { continue };
            let Some(place) = place(cluster, item).await? else { continue };
            if let Some(workload) = get(cluster, &place.target.url).await?
                && let Some(labels) = workload.pointer("/spec/template/metadata/labels")
            {
                stopped.push((item.clone(), namespace.clone(), labels.clone()));
            }
        }
        Ok(Self { cluster, stopped, known: BTreeMap::new() })
    }

    /// What in a webhook configuration or an APIService calls whom in vain.
    async fn dead_calls(&mut self, resource: &str, object: &Value) -> Result<Vec<DeadCall>, RestoreError> {
        let calls: Vec<(&Value, Option<&Value>)> = match resource {
            API_SERVICES => vec![(object, object.pointer("/spec/service"))],
            _ => {
                let strict = array(object, "/webhooks").iter().filter(|webhook| must_answer(webhook));
                strict.map(|webhook| (webhook, webhook.pointer("/clientConfig/service"))).collect()
            }
        };
        let mut dead = Vec::new();
        for (caller, service) in calls {
            let Some(service) = service.filter(|service| !service.is_null()) else { continue };
            if let Some(reason) = self.death(service).await? {
                let name = object::text(caller, "/name").unwrap_or_else(|| object::name(caller)).to_owned();
                dead.push(DeadCall { name, service: service_name(service), reason });
            }
        }
        Ok(dead)
    }

    /// Why a Service that is called does not answer.
    async fn death(&mut self, called: &Value) -> Result<Option<Death>, RestoreError> {
        let text = |pointer| object::text(called, pointer).unwrap_or_default().to_owned();
        let key = (text("/namespace"), text("/name"));
        let service = match self.known.entry(key.clone()) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(read_service(self.cluster, &key.0, &key.1).await?)
            }
        };
        let Some(Service { object: service, ready }) = service else { return Ok(Some(Death::NoService)) };
        if object::text(service, "/spec/type") == Some("ExternalName") {
            return Ok(None);
        }
        let port = called.get("port").and_then(Value::as_i64).unwrap_or(443);
        if !array(service, "/spec/ports")
            .iter()
            .any(|offered| offered.get("port").and_then(Value::as_i64) == Some(port))
        {
            return Ok(Some(Death::NoPort { port }));
        }
        if !*ready {
            return Ok(Some(Death::NoEndpoint));
        }
        let stopped = self
            .stopped
            .iter()
            .find(|(_, namespace, labels)| *namespace == key.0 && selects(service.pointer("/spec/selector"), labels));
        Ok(stopped.map(|(item, ..)| Death::Stopped { item: item.clone() }))
    }
}

async fn read_service(cluster: &Cluster, namespace: &str, name: &str) -> Result<Option<Service>, RestoreError> {
    let url = format!("/api/v1/namespaces/{namespace}/services/{name}");
    let Some(object) = get(cluster, &url).await? else { return Ok(None) };
    let slices = format!(
        "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3D{name}"
    );
    let slices = list(cluster, &slices).await?;
    // Nothing said means ready.
    let is_ready = |endpoint: &Value| endpoint.pointer("/conditions/ready") != Some(&Value::Bool(false));
    let ready = slices.iter().flat_map(|slice| array(slice, "/endpoints")).any(is_ready);
    Ok(Some(Service { object, ready }))
}

/// A Service's selector takes pods with these labels. One without a selector takes none.
fn selects(selector: Option<&Value>, labels: &Value) -> bool {
    let Some(selector) = selector.and_then(Value::as_object) else { return false };
    !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

fn array<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

async fn get(cluster: &Cluster, url: &str) -> Result<Option<Value>, RestoreError> {
    match cluster.get(url).await {
        Ok(bytes) => Ok(Some(object::parse(url, &bytes)?)),
        Err(ClusterError::Api(answer)) if answer.status == 404 => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn list(cluster: &Cluster, url: &str) -> Result<Vec<Value>, RestoreError> {
    let list = object::parse(url, &cluster.get(url).await?)?;
    Ok(array(&list, "/items").to_vec())
}
