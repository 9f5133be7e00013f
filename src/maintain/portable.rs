//! An object as another cluster takes it: without what only its own cluster could have given it.
//!
//! In: an object as it was stored. Out: what `kubectl apply` creates elsewhere. Invariant: nothing is taken away that a
//! person wrote. Sources of the fields: facts tried on kube-apiserver 1.37 (design, section 5).

use serde_json::{Map, Value};

use crate::snapshot::ObjectPath;

/// What the API server itself writes into `metadata`, and references to UIDs that do not exist elsewhere: an owner that
/// is not there gets its dependents deleted.
const SERVER_METADATA: [&str; 9] = [
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
    "ownerReferences",
];

/// Annotations about this cluster's own state, or that repeat the object.
const STATE_ANNOTATIONS: [&str; 4] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    "pv.kubernetes.io/bind-completed",
    "pv.kubernetes.io/bound-by-controller",
    "deployment.kubernetes.io/revision",
];

/// Labels that name a Job's own UID.
const JOB_LABELS: [&str; 2] = ["controller-uid", "batch.kubernetes.io/controller-uid"];

/// Takes away what another cluster would refuse or misread.
pub(super) fn make_portable(place: &ObjectPath, object: &mut Value) {
    let Some(fields) = object.as_object_mut() else { return };
    fields.remove("status");
    if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in SERVER_METADATA {
            metadata.remove(field);
        }
        remove_keys(metadata, "annotations", &STATE_ANNOTATIONS);
    }
    match (place.group.as_str(), place.resource.as_str()) {
        ("", "services") => addresses(fields),
        ("", "persistentvolumes") => {
            if let Some(claim) = fields.get_mut("spec").and_then(|spec| spec.get_mut("claimRef")?.as_object_mut()) {
                claim.remove("uid");
                claim.remove("resourceVersion");
            }
        }
        ("", "namespaces") => {
            fields.remove("spec");
        }
        ("batch", "jobs") => job(fields),
        _ => {}
    }
}

/// Another cluster has other addresses to give. A headless Service says `None` on purpose.
fn addresses(service: &mut Map<String, Value>) {
    let Some(spec) = service.get_mut("spec").and_then(Value::as_object_mut) else { return };
    if spec.get("clusterIP").and_then(Value::as_str) != Some("None") {
        spec.remove("clusterIP");
        spec.remove("clusterIPs");
    }
}

/// The API server writes a Job's UID into its selector and labels, unless the selector is the user's own.
fn job(job: &mut Map<String, Value>) {
    if let Some(metadata) = job.get_mut("metadata").and_then(Value::as_object_mut) {
        remove_keys(metadata, "labels", &JOB_LABELS);
    }
    let Some(spec) = job.get_mut("spec").and_then(Value::as_object_mut) else { return };
    if spec.get("manualSelector") == Some(&Value::Bool(true)) {
        return;
    }
    spec.remove("selector");
    if let Some(metadata) = spec.get_mut("template").and_then(|template| template.get_mut("metadata")?.as_object_mut())
    {
        remove_keys(metadata, "labels", &JOB_LABELS);
    }
}

fn remove_keys(metadata: &mut Map<String, Value>, map: &str, keys: &[&str]) {
    let Some(entries) = metadata.get_mut(map).and_then(Value::as_object_mut) else { return };
    for key in keys {
        entries.remove(*key);
    }
    if entries.is_empty() {
        metadata.remove(map);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{ObjectPath, make_portable};

    fn portable(path: &str, mut object: Value) -> Value {
        make_portable(&ObjectPath::parse(path).unwrap(), &mut object);
        object
    }

    #[test]
    fn what_the_server_wrote_is_taken_away_and_nothing_else() {
        let object = json!({"kind": "ConfigMap", "status": {}, "data": {"uid": "kept"}, "metadata": {
            "name": "a", "uid": "u", "resourceVersion": "1", "managedFields": [], "generation": 2, "creationTimestamp": "t",
            "ownerReferences": [{"uid": "x"}], "finalizers": ["kept"], "labels": {"controller-uid": "kept"},
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}}});
        assert_eq!(
            portable("cluster/core/configmaps/a/a.json", object),
            json!({"kind": "ConfigMap", "data": {"uid": "kept"},
                "metadata": {"name": "a", "finalizers": ["kept"], "labels": {"controller-uid": "kept"}}})
        );
    }

    #[test]
    fn addresses_volumes_and_jobs_lose_what_belongs_to_one_cluster() {
        let service = |ip: &str| json!({"spec": {"clusterIP": ip, "clusterIPs": [ip], "type": "ClusterIP"}});
        let path = "cluster/core/services/a/b.json";
        assert_eq!(portable(path, service("10.0.0.1")), json!({"spec": {"type": "ClusterIP"}}));
        assert_eq!(portable(path, service("None")), service("None"));
        assert_eq!(
            portable(
                "cluster/core/persistentvolumes/_/b.json",
                json!({"spec": {"claimRef": {"name": "c", "uid": "u"}}})
            ),
            json!({"spec": {"claimRef": {"name": "c"}}})
        );
        let job = json!({"spec": {"selector": {"matchLabels": {"controller-uid": "u"}},
            "template": {"metadata": {"labels": {"controller-uid": "u", "app": "kept"}}}}});
        assert_eq!(
            portable("cluster/batch/jobs/a/b.json", job),
            json!({"spec": {"template": {"metadata": {"labels": {"app": "kept"}}}}})
        );
    }
}
