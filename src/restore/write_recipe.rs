//! The bodies of the requests that bring an object back.
//!
//! In: an object of the snapshot. Out: what is sent. Rules (facts/apiserver-tried.md): a POST carries no UID and no
//! resourceVersion (500 otherwise); a PUT carries both, so that it reaches only the object that was planned for;
//! managedFields are taken from the request by a PUT of the main resource, and `[{}]` takes them all off.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::snapshot::{ObjectPath, at_or_below, field_changes, is_noise};

use super::controller_owned::counters;
use super::judge::JOB_UID_PLACES;
use super::object;
use super::plan::Bound;
use super::references::{is_claim, is_token, is_volume, map_uids, owner_references};

/// Marks of the volume controller: with them a new claim is taken for one that lost its volume.
const BIND_MARKS: [&str; 2] = ["pv.kubernetes.io/bind-completed", "pv.kubernetes.io/bound-by-controller"];

/// What the API server sets itself.
const SERVER_SET: [&str; 7] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// The object as it should be now: references name the UIDs of today. Gives the number of owner references mapped.
pub(super) fn target(
    path: &ObjectPath,
    mut wanted: Value,
    uids: &BTreeMap<String, String>,
    coming: &BTreeSet<String>,
) -> (Value, u64) {
    let mapped = map_uids(path, &mut wanted, uids);
    if is_volume(path) && object::text(&wanted, "/spec/claimRef/uid").is_some_and(|uid| coming.contains(uid)) {
        // Its claim comes after it, with a UID that nobody knows yet; the volume controller fills it in.
        object::remove(&mut wanted, "/spec/claimRef", "uid");
        object::remove(&mut wanted, "/spec/claimRef", "resourceVersion");
    }
    (wanted, mapped)
}

/// The body of a POST.
pub(super) fn create_body(path: &ObjectPath, target: &Value) -> Value {
    let mut body = target.clone();
    let own_uid = object::uid(target);
    for key in SERVER_SET {
        object::remove(&mut body, "/metadata", key);
    }
    object::remove(&mut body, "/metadata", "managedFields");
    if is_claim(path) {
        for mark in BIND_MARKS {
            object::remove(&mut body, "/metadata/annotations", mark);
        }
    }
    if is_generated_job(path, &body) {
        strip_job_uid(&mut body, &own_uid);
    }
    body
}

/// A Job whose selector the API server wrote.
fn is_generated_job(path: &ObjectPath, job: &Value) -> bool {
    path.group == "batch" && path.resource == "jobs" && job.pointer("/spec/manualSelector") != Some(&json!(true))
}

/// The API server writes a Job's UID itself and refuses that of another Job.
fn strip_job_uid(body: &mut Value, uid: &str) {
    object::remove(body, "/spec", "selector");
    for labels in ["/metadata/labels", "/spec/template/metadata/labels"] {
        for key in ["controller-uid", "batch.kubernetes.io/controller-uid"] {
            if body.pointer(labels).and_then(|labels| labels.get(key)).and_then(Value::as_str) == Some(uid) {
                object::remove(body, labels, key);
            }
        }
    }
}

/// The body of a PUT onto the live object. What a controller wrote into it since it was made stays.
pub(super) fn put_body(path: &ObjectPath, target: &Value, live: &Value) -> Value {
    let mut body = target.clone();
    for key in SERVER_SET {
        object::remove(&mut body, "/metadata", key);
    }
    object::set(&mut body, "/metadata", "uid", json!(object::uid(live)));
    object::set(&mut body, "/metadata", "resourceVersion", json!(object::resource_version(live)));
    if body.pointer("/metadata/managedFields").is_none() {
        object::set(&mut body, "/metadata", "managedFields", json!([{}]));
    }
    keep_controllers_fields(path, &mut body, target, live);
    body
}

/// The same with all field managers taken off: the API server takes no entries over what is there that differ from it
/// in nothing but their times.
pub(super) fn put_without_managers(path: &ObjectPath, target: &Value, live: &Value) -> Value {
    let mut body = put_body(path, target, live);
    object::set(&mut body, "/metadata", "managedFields", json!([{}]));
    body
}

fn keep_controllers_fields(path: &ObjectPath, body: &mut Value, target: &Value, live: &Value) {
    let mut keep = |parent: &str, key: &str| match live.pointer(parent).and_then(|parent| parent.get(key)) {
        Some(value) => object::set(body, parent, key, value.clone()),
        None => drop(object::remove(body, parent, key)),
    };
    for counter in counters(path) {
        keep("/metadata/annotations", counter);
    }
    if is_claim(path) {
        for mark in BIND_MARKS {
            keep("/metadata/annotations", mark);
        }
    }
    if is_token(path, target) && target.get("data").is_none() {
        keep("", "data");
    }
    let same_claim = |part: &str| target.pointer(part) == live.pointer(part);
    if is_volume(path)
        && target.pointer("/spec/claimRef/uid").is_none()
        && ["/spec/claimRef/namespace", "/spec/claimRef/name"].into_iter().all(same_claim)
        && object::uid(target) != object::uid(live)
    {
        // Bound meanwhile to the claim that came back.
        keep("/spec/claimRef", "uid");
        keep("/spec/claimRef", "resourceVersion");
    }
    if is_generated_job(path, target) && object::uid(target) != object::uid(live) {
        for (parent, key) in JOB_UID_PLACES {
            keep(parent, key);
        }
    }
}

/// An object without its references to these owners.
pub(super) fn without_owners(object: &Value, uids: &[String]) -> Value {
    let mut body = object.clone();
    if let Some(owners) = body.pointer_mut("/metadata/ownerReferences").and_then(Value::as_array_mut) {
        owners.retain(|owner| {
            !owner.get("uid").and_then(Value::as_str).is_some_and(|uid| uids.iter().any(|gone| gone == uid))
        });
    }
    object::remove_empty(&mut body, "/metadata", "ownerReferences");
    body
}

/// A live object with the references that it had when it was captured, to owners under the UIDs of today. What else was
/// changed since stays as it is; if nothing was, the field managers are as they were too.
pub(super) fn readopted(captured: &Value, live: &Value, back: &BTreeMap<String, String>) -> Value {
    let mut body = live.clone();
    let uid = |owner: &Value| owner.get("uid").and_then(Value::as_str).map(str::to_owned);
    let now = owner_references(live);
    let has = |owners: &[Value], wanted: &Option<String>| owners.iter().any(|owner| uid(owner) == *wanted);
    let mut owners: Vec<Value> = Vec::new();
    for owner in owner_references(captured) {
        match uid(owner).and_then(|old| back.get(&old)) {
            Some(new) => {
                let mut owner = owner.clone();
                object::set(&mut owner, "", "uid", json!(new));
                owners.push(owner);
            }
            None if has(now, &uid(owner)) => owners.push(owner.clone()),
            None => {}
        }
    }
    let others: Vec<Value> = now.iter().filter(|owner| !has(&owners, &uid(owner))).cloned().collect();
    owners.extend(others);
    object::set(&mut body, "/metadata", "ownerReferences", Value::Array(owners));
    let same = |field: &str| is_noise(field) || at_or_below(field, "metadata.ownerReferences");
    if field_changes(captured, live).iter().all(|change| same(&change.path))
        && let Some(managers) = captured.pointer("/metadata/managedFields")
    {
        object::set(&mut body, "/metadata", "managedFields", managers.clone());
    }
    body
}

/// The body of a DELETE that reaches only the object that was planned for.
pub(super) fn delete_body(bound: &Bound, orphan: bool) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {"uid": bound.uid, "resourceVersion": bound.resource_version},
        "propagationPolicy": if orphan { "Orphan" } else { "Background" },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::json;

    use super::{create_body, put_body, readopted, target, without_owners};
    use crate::snapshot::ObjectPath;

    fn path(text: &str) -> ObjectPath {
        ObjectPath::parse(text).unwrap()
    }

    #[test]
    fn a_new_object_carries_nothing_that_the_server_sets() {
        let object = json!({"metadata": {"name": "b", "uid": "1", "resourceVersion": "1", "generation": 4,
            "creationTimestamp": "t", "managedFields": [{"manager": "m"}], "labels": {"a": "b"}}, "data": {}});
        let body = create_body(&path("cluster/core/configmaps/a/b.json"), &object);
        assert_eq!(body, json!({"metadata": {"name": "b", "labels": {"a": "b"}}, "data": {}}));
    }

    #[test]
    fn a_claim_comes_back_without_its_bind_marks_and_a_job_without_its_uid() {
        let claim = json!({"metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes", "mine": "1"}}});
        let body = create_body(&path("cluster/core/persistentvolumeclaims/a/b.json"), &claim);
        assert_eq!(body, json!({"metadata": {"annotations": {"mine": "1"}}}));
        let labels = json!({"batch.kubernetes.io/controller-uid": "1", "controller-uid": "other", "mine": "1"});
        let job = json!({"metadata": {"uid": "1"},
            "spec": {"selector": {"matchLabels": {}}, "template": {"metadata": {"labels": labels}}}});
        let body = create_body(&path("cluster/batch/jobs/a/b.json"), &job);
        let labels = json!({"controller-uid": "other", "mine": "1"});
        assert_eq!(body, json!({"metadata": {}, "spec": {"template": {"metadata": {"labels": labels}}}}));
    }

    #[test]
    fn a_put_is_bound_to_the_object_it_was_planned_for() {
        let live = json!({"metadata": {"name": "b", "uid": "now", "resourceVersion": "9"}});
        let wanted = json!({"metadata": {"name": "b", "uid": "then", "resourceVersion": "1"}});
        let body = put_body(&path("cluster/core/configmaps/a/b.json"), &wanted, &live);
        let metadata = json!({"name": "b", "uid": "now", "resourceVersion": "9", "managedFields": [{}]});
        assert_eq!(body, json!({"metadata": metadata}));
    }

    #[test]
    fn a_claim_is_never_marked_as_bound_before_the_volume_controller_did_so() {
        let path = path("cluster/core/persistentvolumeclaims/a/b.json");
        let mark = json!({"pv.kubernetes.io/bind-completed": "yes"});
        let wanted = json!({"metadata": {"annotations": mark}});
        let body = put_body(&path, &wanted, &json!({"metadata": {"annotations": {}}}));
        assert_eq!(body.pointer("/metadata/annotations"), Some(&json!({})));
        let body = put_body(&path, &wanted, &wanted);
        assert_eq!(body.pointer("/metadata/annotations"), Some(&mark));
    }

    #[test]
    fn a_volume_waits_for_a_claim_whose_uid_nobody_knows_yet() {
        let volume = json!({"spec": {"claimRef": {"name": "c", "uid": "1", "resourceVersion": "2"}}});
        let volumes = path("cluster/core/persistentvolumes/_/v.json");
        let (body, _) = target(&volumes, volume.clone(), &BTreeMap::new(), &BTreeSet::from(["1".to_owned()]));
        assert_eq!(body, json!({"spec": {"claimRef": {"name": "c"}}}));
        assert_eq!(target(&volumes, volume.clone(), &BTreeMap::new(), &BTreeSet::new()).0, volume);
    }

    #[test]
    fn only_references_to_what_is_gone_are_taken_off() {
        let live = json!({"metadata": {"ownerReferences": [{"uid": "gone"}, {"uid": "there"}]}});
        let body = without_owners(&live, &["gone".to_owned()]);
        assert_eq!(body, json!({"metadata": {"ownerReferences": [{"uid": "there"}]}}));
        assert_eq!(without_owners(&body, &["there".to_owned()]), json!({"metadata": {}}));
    }

    #[test]
    fn references_come_back_beside_what_others_changed_meanwhile() {
        let managers = json!([{"manager": "m"}]);
        let captured = json!({"data": {"a": "1"}, "metadata": {"managedFields": managers,
            "ownerReferences": [{"name": "x", "uid": "then"}, {"name": "y", "uid": "stays"}, {"name": "z", "uid": "left"}]}});
        let back = BTreeMap::from([("then".to_owned(), "now".to_owned())]);
        let live = json!({"data": {"a": "1"}, "metadata": {"managedFields": [{}],
            "ownerReferences": [{"name": "new", "uid": "new"}, {"name": "y", "uid": "stays"}]}});
        let owners = json!([{"name": "x", "uid": "now"}, {"name": "y", "uid": "stays"}, {"name": "new", "uid": "new"}]);
        let body = readopted(&captured, &live, &back);
        assert_eq!(
            body,
            json!({"data": {"a": "1"}, "metadata": {"managedFields": managers, "ownerReferences": owners}})
        );
        let mut changed = live;
        changed["data"]["a"] = json!("2");
        let body = readopted(&captured, &changed, &back);
        assert_eq!(body["data"]["a"], "2");
        assert_eq!(body["metadata"]["managedFields"], json!([{}]));
        // Adopted by its owner's own controller already.
        let twice = readopted(&captured, &body, &back);
        assert_eq!(twice["metadata"]["ownerReferences"], owners);
    }
}
