//! What happens to a cluster between a snapshot and the wish to have it back: objects are edited, added and deleted.
//!
//! In: a client, a seed number, how many of each. Out: that many objects of all sorts of types disturbed, and their
//! snapshot paths. Invariants: the same number on the same cluster disturbs the same objects; every one of them is an
//! object that a restore may write (nothing of the never-list, nothing that is held still meanwhile), and none that is
//! deleted owns another one, so that what has to be written to put it back is these objects and no other.

use std::collections::BTreeSet;

use http::Method;
use kube::Client;
use kube::discovery::{Discovery, Scope, verbs};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::api::{Api, ApiError};
use crate::seed::random::Random;

/// How much is to happen.
#[derive(Clone, Copy, Debug)]
pub struct DisturbOptions {
    /// The number that everything is drawn from.
    pub seed: u64,
    /// Objects to edit.
    pub changed: usize,
    /// Objects to add.
    pub extra: usize,
    /// Objects to delete.
    pub missing: usize,
}

/// What happened, by the objects' paths in a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disturbed {
    /// They were edited.
    pub changed: BTreeSet<String>,
    /// They were added.
    pub extra: BTreeSet<String>,
    /// They were deleted.
    pub missing: BTreeSet<String>,
}

impl Disturbed {
    /// Every object that has to be written to put it back.
    pub fn all(&self) -> BTreeSet<String> {
        [&self.changed, &self.extra, &self.missing].into_iter().flatten().cloned().collect()
    }

    /// Of how many types they are.
    pub fn types(&self) -> usize {
        let of = |path: &String| path.split('/').skip(1).take(2).collect::<Vec<_>>().join("/");
        self.all().iter().map(of).collect::<BTreeSet<_>>().len()
    }
}

/// Why not.
#[derive(Debug, thiserror::Error)]
pub enum DisturbError {
    /// What the API server serves.
    #[error("cannot find out what the API server serves")]
    Kube(#[from] kube::Error),
    /// A request.
    #[error("cannot disturb the cluster")]
    Api(#[from] ApiError),
    /// There are not so many objects that may be disturbed, or the API server refused too many edits.
    #[error("only {found} of {wanted} objects could be {what}")]
    TooFew {
        /// Edited, added or deleted.
        what: &'static str,
        /// How many were to be.
        wanted: usize,
        /// How many were.
        found: usize,
    },
}

/// An object that may be disturbed.
#[derive(Clone, Debug)]
struct Candidate {
    path: String,
    collection: String,
    url: String,
    group: String,
    resource: String,
    object: Value,
}

/// Groups whose objects the control plane, an agent or a machine writes by itself, or that are held still meanwhile.
const GROUPS: [&str; 17] = [
    "admissionregistration.k8s.io",
    "apiregistration.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "certificates.k8s.io",
    "cilium.io",
    "cluster.x-k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "infrastructure.cluster.x-k8s.io",
    "internal.apiserver.k8s.io",
    "internal.linstor.linbit.com",
    "kubevirt.io",
    "metrics.k8s.io",
    "node.k8s.io",
];

/// The same for types. Claims and volumes are left alone, since one that is deleted does not come back bound by itself.
const TYPES: [(&str, &str); 27] = [
    ("", "componentstatuses"),
    ("", "endpoints"),
    ("", "events"),
    ("", "namespaces"),
    ("", "nodes"),
    ("", "persistentvolumeclaims"),
    ("", "persistentvolumes"),
    ("", "pods"),
    ("", "serviceaccounts"),
    ("acme.cert-manager.io", "challenges"),
    ("acme.cert-manager.io", "orders"),
    ("apps", "controllerrevisions"),
    ("apps", "replicasets"),
    ("batch", "jobs"),
    ("cert-manager.io", "certificaterequests"),
    ("networking.k8s.io", "ipaddresses"),
    ("networking.k8s.io", "servicecidrs"),
    ("storage.k8s.io", "csinodes"),
    ("velero.io", "backups"),
    ("velero.io", "datadownloads"),
    ("velero.io", "datauploads"),
    ("velero.io", "deletebackuprequests"),
    ("velero.io", "downloadrequests"),
    ("velero.io", "podvolumebackups"),
    ("velero.io", "podvolumerestores"),
    ("velero.io", "restores"),
    ("velero.io", "serverstatusrequests"),
];

/// Edits, adds and deletes objects.
///
/// # Errors
/// The cluster cannot be reached, or does not have so many objects that can be disturbed.
pub async fn disturb(client: Client, options: DisturbOptions) -> Result<Disturbed, DisturbError> {
    let api = Api::new(client.clone());
    let mut random = Random::new(options.seed);
    let (candidates, owners) = candidates(client, &api).await?;
    let mut order: Vec<(u64, Candidate)> =
        candidates.into_iter().map(|candidate| (random.number(), candidate)).collect();
    order.sort_by(|one, other| (one.0, &one.1.path).cmp(&(other.0, &other.1.path)));
    let (goes, stays): (Vec<Candidate>, Vec<Candidate>) = {
        let mut left = options.missing;
        order.into_iter().map(|(_, candidate)| candidate).partition(|candidate| {
            let goes = left > 0 && may_go(candidate, &owners);
            left -= usize::from(goes);
            goes
        })
    };
    let missing = until(&api, options.missing, goes, "deleted", remove).await?;
    let models: Vec<(u64, Candidate)> = stays
        .iter()
        .filter(|candidate| may_be_copied(candidate))
        .map(|model| (random.number(), model.clone()))
        .collect();
    let models = models.into_iter().map(|(number, model)| copy_of(model, number % 1_000_000)).collect();
    let extra = until(&api, options.extra, models, "added", add).await?;
    let changed = until(&api, options.changed, stays, "edited", edit).await?;
    Ok(Disturbed { changed, extra, missing })
}

/// Does something with objects in their order until it succeeded so often, and gives their paths.
async fn until<F>(
    api: &Api,
    wanted: usize,
    candidates: Vec<Candidate>,
    what: &'static str,
    work: impl Fn(Api, Candidate) -> F,
) -> Result<BTreeSet<String>, DisturbError>
where
    F: Future<Output = Result<Option<String>, ApiError>>,
{
    let mut done = BTreeSet::new();
    let mut candidates = candidates.into_iter();
    while done.len() < wanted {
        let next: Vec<Candidate> = candidates.by_ref().take(wanted - done.len()).collect();
        if next.is_empty() {
            return Err(DisturbError::TooFew { what, wanted, found: done.len() });
        }
        done.extend(api.each(next, &work).await?.into_iter().flatten());
    }
    Ok(done)
}

/// Every object that may be disturbed, and the UIDs of whatever owns another object.
async fn candidates(client: Client, api: &Api) -> Result<(Vec<Candidate>, BTreeSet<String>), DisturbError> {
    let discovery = Discovery::new(client).run_aggregated().await?;
    let (mut candidates, mut owners) = (Vec::new(), BTreeSet::new());
    for group in discovery.groups() {
        for (resource, capabilities) in group.resources_by_stability() {
            if !capabilities.supports_operation(verbs::LIST) || !capabilities.supports_operation(verbs::PATCH) {
                continue;
            }
            let name = (resource.group.as_str(), resource.plural.as_str());
            let root = if name.0.is_empty() { "/api/v1".to_owned() } else { format!("/apis/{}", resource.api_version) };
            let may_be_disturbed = !GROUPS.contains(&name.0) && !TYPES.contains(&name);
            for mut object in api.list(&format!("{root}/{}", name.1)).await? {
                owners.extend(owner_uids(&object));
                let metadata = object.get("metadata").cloned().unwrap_or_default();
                let text = |field: &str| metadata.get(field).and_then(Value::as_str).unwrap_or_default();
                let (namespace, object_name) = (text("namespace").to_owned(), text("name").to_owned());
                if !may_be_disturbed || is_the_control_planes(&namespace, &object_name, &object) {
                    continue;
                }
                let collection = match capabilities.scope {
                    Scope::Namespaced => format!("{root}/namespaces/{namespace}/{}", name.1),
                    Scope::Cluster => format!("{root}/{}", name.1),
                };
                if let Some(fields) = object.as_object_mut() {
                    fields.insert("apiVersion".to_owned(), resource.api_version.clone().into());
                    fields.insert("kind".to_owned(), resource.kind.clone().into());
                }
                candidates.push(Candidate {
                    path: snapshot_path(name.0, name.1, &namespace, &object_name),
                    url: format!("{collection}/{object_name}"),
                    collection,
                    group: name.0.to_owned(),
                    resource: name.1.to_owned(),
                    object,
                });
            }
        }
    }
    Ok((candidates, owners))
}

/// Where a snapshot has an object. Names that a path could not hold are not disturbed.
pub fn snapshot_path(group: &str, resource: &str, namespace: &str, name: &str) -> String {
    let group = if group.is_empty() { "core" } else { group };
    let namespace = if namespace.is_empty() { "_" } else { namespace };
    format!("cluster/{group}/{resource}/{namespace}/{name}.json")
}

fn owner_uids(object: &Value) -> Vec<String> {
    let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let uid = |owner: &Value| owner.get("uid").and_then(Value::as_str).map(str::to_owned);
    owners.into_iter().flatten().filter_map(uid).collect()
}

/// What the control plane itself, or another object's controller, keeps as it is.
fn is_the_control_planes(namespace: &str, name: &str, object: &Value) -> bool {
    namespace.starts_with("kube-")
        || namespace == "default"
        || name == "kube-root-ca.crt"
        || name.starts_with("system-")
        || name.bytes().any(|byte| !(byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte)))
        || name.len() > 120
        || object.pointer("/metadata/labels/kubernetes.io~1bootstrapping").is_some()
        || object.pointer("/metadata/deletionTimestamp").is_some()
        || !owner_uids(object).is_empty()
}

fn is_type(candidate: &Candidate, group: &str, resource: &str) -> bool {
    candidate.group == group && candidate.resource == resource
}

fn may_go(candidate: &Candidate, owners: &BTreeSet<String>) -> bool {
    let uid = candidate.object.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
    candidate.group != "apps"
        && !is_type(candidate, "apiextensions.k8s.io", "customresourcedefinitions")
        && !is_a_release(candidate)
        && !owners.contains(uid)
}

fn may_be_copied(candidate: &Candidate) -> bool {
    !matches!(candidate.group.as_str(), "apps" | "batch" | "apiextensions.k8s.io" | "storage.k8s.io")
        && !is_a_release(candidate)
        && !is_token(candidate)
}

/// A HelmRelease, or what Helm stores of one: they come and go together.
fn is_a_release(candidate: &Candidate) -> bool {
    let stored = candidate.object.get("type").and_then(Value::as_str) == Some("helm.sh/release.v1");
    stored || is_type(candidate, "helm.toolkit.fluxcd.io", "helmreleases")
}

fn is_token(candidate: &Candidate) -> bool {
    candidate.object.get("type").and_then(Value::as_str) == Some("kubernetes.io/service-account-token")
}

/// The same object under another name, as if somebody had made one more of them.
fn copy_of(model: Candidate, number: u64) -> Candidate {
    let name = format!("disturbed-{number:06}");
    let mut object = Map::new();
    for (field, value) in model.object.as_object().into_iter().flatten() {
        if field != "metadata" && field != "status" {
            object.insert(field.clone(), value.clone());
        }
    }
    let metadata = |field: &str| model.object.pointer(&format!("/metadata/{field}")).cloned();
    let namespace = metadata("namespace");
    object.insert("metadata".to_owned(), json!({"name": name, "namespace": namespace, "labels": metadata("labels")}));
    if let (true, Some(spec)) = (is_type(&model, "", "services"), object.get_mut("spec").and_then(Value::as_object_mut))
    {
        // The API server gives a copy its own address and ports.
        spec.retain(|field, _| !matches!(field.as_str(), "clusterIP" | "clusterIPs" | "healthCheckNodePort"));
        for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
            port.as_object_mut().map(|port| port.remove("nodePort"));
        }
    }
    let namespace = namespace.as_ref().and_then(Value::as_str).unwrap_or_default();
    Candidate {
        path: snapshot_path(&model.group, &model.resource, namespace, &name),
        url: format!("{}/{name}", model.collection),
        object: Value::Object(object),
        ..model
    }
}

async fn add(api: Api, copy: Candidate) -> Result<Option<String>, ApiError> {
    let answer = api.ask(Method::POST, &copy.collection, Some(&copy.object)).await?;
    Ok(answer.is_success().then_some(copy.path))
}

/// Without its finalizers, whose controllers may not run; waited for, so that it is gone when this is over.
async fn remove(api: Api, candidate: Candidate) -> Result<Option<String>, ApiError> {
    if candidate.object.pointer("/metadata/finalizers").is_some() {
        let none = json!({"metadata": {"finalizers": null}});
        api.demand(Method::PATCH, &candidate.url, Some(&none)).await?;
    }
    api.demand(Method::DELETE, &candidate.url, None).await?;
    Ok(Some(candidate.path))
}

async fn edit(api: Api, candidate: Candidate) -> Result<Option<String>, ApiError> {
    let patch = edited(&candidate);
    let answer = api.ask(Method::PATCH, &candidate.url, Some(&patch)).await?;
    Ok(answer.is_success().then_some(candidate.path))
}

/// A merge patch as a person or an upgrade would bring it about.
fn edited(candidate: &Candidate) -> Value {
    let mut patch = json!({"metadata": {"labels": {"disturbed": "yes"}}});
    let what = match (candidate.group.as_str(), candidate.resource.as_str()) {
        ("", "configmaps") => json!({"data": {"disturbed": "yes"}}),
        ("", "secrets") if !is_token(candidate) && !is_a_release(candidate) => json!({"data": {"disturbed": "eWVz"}}),
        ("helm.toolkit.fluxcd.io", "helmreleases") => json!({"spec": {"interval": "47m"}}),
        ("rbac.authorization.k8s.io", "roles" | "clusterroles") => {
            let mut rules = candidate.object.get("rules").and_then(Value::as_array).cloned().unwrap_or_default();
            rules.push(json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}));
            json!({"rules": rules})
        }
        // An annotation of a workload is copied to its ReplicaSet; a label is not.
        ("apps", _) => json!({}),
        _ => json!({"metadata": {"labels": {"disturbed": "yes"}, "annotations": {"disturbed.example/why": "a trial"}}}),
    };
    for (field, value) in what.as_object().into_iter().flatten() {
        if let Some(fields) = patch.as_object_mut() {
            fields.insert(field.clone(), value.clone());
        }
    }
    patch
}
