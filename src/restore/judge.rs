//! Compares an object with what it should be: each difference is in the closed list, or it counts.
//!
//! In: both values, and what is known of the objects they refer to. Out: the fields that count, and the entries of the
//! closed list that explain the rest. Pure, and used alike by the plan, by each write and by the proof, so that what is
//! planned, what is written and what is proven cannot disagree.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::snapshot::{ObjectPath, at_or_below, field_changes};

use super::address::is_crd;
use super::comparison::Allowed;
use super::controller_owned::{CONTROLLERS, counters, owns_status};
use super::object;
use super::references::{Kinds, TOKEN_UID, is_claim, is_token, is_volume, owner_references};

/// Where an object that is referred to is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Neighbour {
    /// In the cluster, with this UID.
    Live(String),
    /// Not in the cluster, but in the wanted snapshot.
    Coming,
    /// In neither.
    Nowhere,
}

/// What is known of the objects that the compared ones refer to.
#[derive(Clone, Debug)]
pub(super) struct Neighbours<'a> {
    pub(super) by_path: BTreeMap<String, Neighbour>,
    pub(super) kinds: &'a Kinds,
}

/// Flux's mark on what it is asked to reconcile at once (fluxcd.io, "Reconcile request").
const ASKED_AGAIN: &str = "reconcile.fluxcd.io/requestedAt";

/// The result of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Judgement {
    /// Fields whose difference nothing explains.
    pub(super) fields: Vec<String>,
    /// What explains the others.
    pub(super) by: BTreeSet<Allowed>,
}

impl Judgement {
    /// Explains what a running controller reports in its own custom resources.
    pub(super) fn leave_to_controllers(&mut self) {
        for field in self.fields.extract_if(.., |field| is_report(field)) {
            let status = at_or_below(&field, "status");
            self.by.insert(if status { Allowed::ControllerStatus } else { Allowed::ControllerField });
        }
    }
}

/// What a running controller writes into its own custom resources without changing what anybody wants: the status, who
/// wrote it, and the mark by which Flux is asked to look again.
pub(super) fn is_report(field: &str) -> bool {
    at_or_below(field, "status")
        || at_or_below(field, "metadata.managedFields")
        || field == format!("metadata.annotations[\"{ASKED_AGAIN}\"]")
}

/// Compares a live object with the wanted one.
pub(super) fn judge(path: &ObjectPath, wanted: &Value, live: &Value, neighbours: &Neighbours<'_>) -> Judgement {
    let mut sides = Sides { wanted: wanted.clone(), live: live.clone(), judgement: Judgement::default() };
    sides.drop_member("/metadata", "uid", Allowed::Uid);
    sides.drop_member("/metadata", "resourceVersion", Allowed::ResourceVersion);
    sides.drop_member("/metadata", "creationTimestamp", Allowed::CreationTimestamp);
    sides.drop_member("/metadata", "generation", Allowed::Generation);
    sides.owners(path, neighbours);
    sides.status(path);
    for counter in counters(path) {
        sides.drop_member("/metadata/annotations", counter, Allowed::ControllerField);
    }
    match (path.group.as_str(), path.resource.as_str()) {
        ("batch", "jobs") => sides.job(wanted, live),
        ("rbac.authorization.k8s.io", "clusterroles") if has_rule(wanted) && has_rule(live) => {
            sides.drop_member("", "rules", Allowed::ControllerField);
        }
        _ if is_claim(path) => sides.claim(),
        _ if is_volume(path) => sides.volume(neighbours),
        _ if is_token(path, wanted) => sides.token(path, neighbours),
        _ => {}
    }
    sides.field_managers();
    let Sides { wanted, live, mut judgement } = sides;
    judgement.fields.extend(field_changes(&live, &wanted).into_iter().map(|change| change.path));
    judgement
}

fn has_rule(role: &Value) -> bool {
    role.get("aggregationRule").is_some_and(|rule| !rule.is_null())
}

struct Sides {
    wanted: Value,
    live: Value,
    judgement: Judgement,
}

impl Sides {
    /// Takes a member off both sides; a difference is explained by `entry`.
    fn drop_member(&mut self, parent: &str, key: &str, entry: Allowed) {
        let wanted = object::remove(&mut self.wanted, parent, key);
        let live = object::remove(&mut self.live, parent, key);
        if wanted != live {
            self.judgement.by.insert(entry);
        }
        // What held nothing else is as good as missing.
        if let (Some((above, name)), true) = (parent.rsplit_once('/'), parent != "/metadata") {
            object::remove_empty(&mut self.wanted, above, name);
            object::remove_empty(&mut self.live, above, name);
        }
    }

    /// References to owners: the same owners by apiVersion, kind and name, under the UIDs that they have now.
    fn owners(&mut self, path: &ObjectPath, neighbours: &Neighbours<'_>) {
        let identity = |owner: &Value| -> (Value, Value, Value) {
            let part = |key: &str| owner.get(key).cloned().unwrap_or_default();
            (part("apiVersion"), part("kind"), part("name"))
        };
        let mut wanted_owners = owner_references(&self.wanted).to_vec();
        let live_owners = owner_references(&self.live).to_vec();
        let mut kept = Vec::new();
        for mut owner in std::mem::take(&mut wanted_owners) {
            let twin = live_owners.iter().find(|live| identity(live) == identity(&owner));
            let place = neighbours.kinds.owner_path(&owner, path.namespace.as_deref());
            let neighbour = match &place {
                Some(place) => neighbours.by_path.get(place),
                // Of a type that neither side has.
                None => Some(&Neighbour::Nowhere),
            };
            let twin_uid = twin.and_then(|twin| twin.get("uid"));
            match (twin, neighbour) {
                (None, Some(Neighbour::Nowhere)) => {
                    self.judgement.by.insert(Allowed::OwnerCollected);
                    continue;
                }
                // A live reference with any other UID names an owner that is no more: it will be written anew.
                (Some(_), Some(Neighbour::Live(uid))) => {
                    let up_to_date = twin_uid.and_then(Value::as_str) == Some(uid);
                    if up_to_date && owner.get("uid") != twin_uid {
                        self.judgement.by.insert(Allowed::OwnerUid);
                    }
                    object::set(&mut owner, "", "uid", Value::String(uid.clone()));
                }
                _ => {}
            }
            kept.push(owner);
        }
        if kept.is_empty() {
            object::remove(&mut self.wanted, "/metadata", "ownerReferences");
        } else {
            object::set(&mut self.wanted, "/metadata", "ownerReferences", Value::Array(kept));
        }
    }

    fn status(&mut self, path: &ObjectPath) {
        if is_crd(path) {
            self.stored_versions();
            self.drop_member("", "status", Allowed::CrdConditions);
        } else if owns_status(path) {
            self.drop_member("", "status", Allowed::ControllerStatus);
        } else {
            return;
        }
        self.drop_managers(Allowed::ControllerStatus, |entry| {
            entry.get("subresource").and_then(Value::as_str) == Some("status")
        });
    }

    /// Objects stored at a version that the wanted CRD does not know of are a difference that counts.
    fn stored_versions(&mut self) {
        let stored = |side: &Value| -> BTreeSet<String> {
            let list = side.pointer("/status/storedVersions").and_then(Value::as_array);
            list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        if !stored(&self.live).is_subset(&stored(&self.wanted)) {
            self.judgement.fields.push("status.storedVersions".to_owned());
        }
    }

    /// A Job's own UID in its selector and labels. One with a selector of its own keeps it.
    fn job(&mut self, wanted: &Value, live: &Value) {
        if wanted.pointer("/spec/manualSelector") == Some(&Value::Bool(true)) {
            return;
        }
        if object::uid(wanted) != object::uid(live) {
            for (parent, key) in JOB_UID_PLACES {
                self.drop_member(parent, key, Allowed::JobUid);
            }
        }
    }

    fn claim(&mut self) {
        for key in ["pv.kubernetes.io/bind-completed", "pv.kubernetes.io/bound-by-controller"] {
            self.drop_member("/metadata/annotations", key, Allowed::VolumeBinding);
        }
    }

    /// The claim that a volume is bound to: the same one by name, under the UID that it has now.
    fn volume(&mut self, neighbours: &Neighbours<'_>) {
        self.drop_member("/metadata/annotations", "pv.kubernetes.io/bound-by-controller", Allowed::VolumeBinding);
        self.drop_member("/spec/claimRef", "resourceVersion", Allowed::VolumeBinding);
        let reference = super::references::references(
            &ObjectPath {
                group: String::new(),
                resource: "persistentvolumes".to_owned(),
                namespace: None,
                name: String::new(),
            },
            &self.wanted,
            neighbours.kinds,
        );
        let claim = reference
            .into_iter()
            .find(|reference| reference.purpose == super::references::Purpose::Claim)
            .and_then(|reference| reference.path);
        let Some(neighbour) = claim.and_then(|path| neighbours.by_path.get(&path)) else { return };
        let live_uid = object::text(&self.live, "/spec/claimRef/uid").map(str::to_owned);
        match neighbour {
            Neighbour::Live(uid) if live_uid.as_ref() == Some(uid) => {
                self.drop_member("/spec/claimRef", "uid", Allowed::VolumeBinding);
            }
            // Bound to a claim that is gone: the volume waits for the one that comes back.
            Neighbour::Coming if live_uid.is_some() => self.judgement.fields.push("spec.claimRef.uid".to_owned()),
            Neighbour::Coming => self.drop_member("/spec/claimRef", "uid", Allowed::VolumeBinding),
            Neighbour::Live(_) => {
                object::remove(&mut self.wanted, "/spec/claimRef", "uid");
            }
            Neighbour::Nowhere => {}
        }
    }

    /// A token is issued for the UID of a ServiceAccount.
    fn token(&mut self, path: &ObjectPath, neighbours: &Neighbours<'_>) {
        let kinds = neighbours.kinds;
        let account = super::references::references(path, &self.wanted, kinds).into_iter().find_map(|reference| {
            (reference.purpose == super::references::Purpose::ServiceAccount).then_some(reference.path).flatten()
        });
        let live_uid =
            |side: &Value| side.pointer("/metadata/annotations")?.get(TOKEN_UID)?.as_str().map(str::to_owned);
        if let Some(Neighbour::Live(uid)) = account.and_then(|path| neighbours.by_path.get(&path))
            && live_uid(&self.live).as_ref() == Some(uid)
            && live_uid(&self.wanted).as_ref() != Some(uid)
        {
            self.drop_member("", "data", Allowed::ServiceAccountToken);
            self.drop_member("/metadata/annotations", TOKEN_UID, Allowed::ServiceAccountToken);
        }
    }

    /// The entries of the control plane's controllers are theirs; the others must be equal, in whatever order the API
    /// server lists them.
    fn field_managers(&mut self) {
        self.drop_managers(Allowed::ControllerField, |entry| {
            entry.get("manager").and_then(Value::as_str).is_some_and(|name| CONTROLLERS.contains(&name))
        });
        for side in [&mut self.wanted, &mut self.live] {
            if let Some(entries) = side.pointer_mut("/metadata/managedFields").and_then(Value::as_array_mut) {
                entries.sort_by_cached_key(Value::to_string);
            }
        }
    }

    fn drop_managers(&mut self, entry: Allowed, belongs: impl Fn(&Value) -> bool) {
        let mut taken = [Vec::new(), Vec::new()];
        for (side, taken) in [&mut self.wanted, &mut self.live].into_iter().zip(&mut taken) {
            if let Some(entries) = side.pointer_mut("/metadata/managedFields").and_then(Value::as_array_mut) {
                let (theirs, others) = std::mem::take(entries).into_iter().partition(&belongs);
                (*taken, *entries) = (theirs, others);
            }
            object::remove_empty(side, "/metadata", "managedFields");
        }
        let [wanted, live] = taken;
        if wanted != live {
            self.judgement.by.insert(entry);
        }
    }
}

/// Where the API server writes a Job's UID.
pub(super) const JOB_UID_PLACES: [(&str, &str); 5] = [
    ("/spec", "selector"),
    ("/spec/template/metadata/labels", "controller-uid"),
    ("/spec/template/metadata/labels", "batch.kubernetes.io/controller-uid"),
    ("/metadata/labels", "controller-uid"),
    ("/metadata/labels", "batch.kubernetes.io/controller-uid"),
];

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Neighbour, Neighbours, judge};
    use crate::restore::comparison::Allowed;
    use crate::restore::references::Kinds;
    use crate::snapshot::ObjectPath;

    fn judged(
        path: &str,
        wanted: &Value,
        live: &Value,
        neighbours: &[(&str, Neighbour)],
    ) -> (Vec<String>, Vec<Allowed>) {
        let mut kinds = Kinds::default();
        kinds.insert("db.example", "Database", "databases", true);
        let by_path = neighbours.iter().map(|(path, state)| ((*path).to_owned(), state.clone())).collect();
        let path = ObjectPath::parse(path).unwrap();
        let found = judge(&path, wanted, live, &Neighbours { by_path, kinds: &kinds });
        (found.fields, found.by.into_iter().collect())
    }

    const CONFIG_MAP: &str = "cluster/core/configmaps/a/b.json";
    const OWNER: &str = "cluster/db.example/databases/a/orders.json";

    fn owned(uid: &str) -> Value {
        json!({"metadata": {"ownerReferences": [
            {"apiVersion": "db.example/v1", "kind": "Database", "name": "orders", "uid": uid}]}})
    }

    #[test]
    fn what_the_api_server_sets_is_explained_and_nothing_else() {
        let wanted = json!({"data": {"a": "1"},
            "metadata": {"uid": "1", "resourceVersion": "1", "generation": 1, "creationTimestamp": "t"}});
        let mut live = json!({"data": {"a": "1"},
            "metadata": {"uid": "2", "resourceVersion": "2", "generation": 2, "creationTimestamp": "u"}});
        let (fields, by) = judged(CONFIG_MAP, &wanted, &live, &[]);
        assert!(fields.is_empty(), "{fields:?}");
        assert_eq!(by, [Allowed::Uid, Allowed::ResourceVersion, Allowed::CreationTimestamp, Allowed::Generation]);
        live["data"]["a"] = json!("2");
        assert_eq!(judged(CONFIG_MAP, &wanted, &live, &[]).0, ["data.a"]);
    }

    #[test]
    fn a_reference_is_equal_when_it_names_the_owner_under_its_uid_of_now() {
        let live = |uid: &str| [(OWNER, Neighbour::Live(uid.to_owned()))];
        assert_eq!(judged(CONFIG_MAP, &owned("1"), &owned("2"), &live("2")), (vec![], vec![Allowed::OwnerUid]));
        assert_eq!(judged(CONFIG_MAP, &owned("1"), &owned("1"), &live("1")), (vec![], vec![]));
        for (live_reference, owner_now) in [("1", "2"), ("3", "2")] {
            let (fields, _) = judged(CONFIG_MAP, &owned("1"), &owned(live_reference), &live(owner_now));
            assert_eq!(fields, ["metadata.ownerReferences[orders].uid"], "{live_reference} {owner_now}");
        }
    }

    #[test]
    fn a_missing_reference_is_explained_only_when_its_owner_is_nowhere() {
        let bare = json!({"metadata": {}});
        let (fields, by) = judged(CONFIG_MAP, &owned("1"), &bare, &[(OWNER, Neighbour::Nowhere)]);
        assert_eq!((fields, by), (vec![], vec![Allowed::OwnerCollected]));
        let (fields, _) = judged(CONFIG_MAP, &owned("1"), &bare, &[(OWNER, Neighbour::Coming)]);
        assert_eq!(fields, ["metadata.ownerReferences"]);
        let (fields, _) = judged(CONFIG_MAP, &bare, &owned("1"), &[(OWNER, Neighbour::Nowhere)]);
        assert_eq!(fields, ["metadata.ownerReferences"], "one that was added counts");
    }

    #[test]
    fn a_controllers_status_is_its_own_and_a_custom_resources_is_not() {
        let (wanted, live) = (json!({"metadata": {}, "status": {"a": 1}}), json!({"metadata": {}, "status": {"a": 2}}));
        let deployment = judged("cluster/apps/deployments/a/b.json", &wanted, &live, &[]);
        assert_eq!(deployment, (vec![], vec![Allowed::ControllerStatus]));
        assert_eq!(judged(OWNER, &wanted, &live, &[]).0, ["status.a"]);
    }

    #[test]
    fn field_managers_count_save_those_of_controllers() {
        let with = |managers: &[&str], time: &str| {
            let entries: Vec<Value> = managers.iter().map(|name| json!({"manager": name, "time": time})).collect();
            json!({"metadata": {"managedFields": entries}})
        };
        let (fields, by) =
            judged(CONFIG_MAP, &with(&["b", "a"], "t"), &with(&["a", "b", "kube-controller-manager"], "t"), &[]);
        assert_eq!((fields, by), (vec![], vec![Allowed::ControllerField]));
        assert!(!judged(CONFIG_MAP, &with(&["a"], "t"), &with(&["a"], "u"), &[]).0.is_empty());
    }

    #[test]
    fn a_volume_waits_for_the_claim_that_comes_back() {
        let path = "cluster/core/persistentvolumes/_/v.json";
        let volume =
            |uid: &str| json!({"metadata": {}, "spec": {"claimRef": {"namespace": "a", "name": "c", "uid": uid}}});
        let claim = "cluster/core/persistentvolumeclaims/a/c.json";
        let now = |uid: &str| [(claim, Neighbour::Live(uid.to_owned()))];
        assert_eq!(judged(path, &volume("1"), &volume("2"), &now("2")), (vec![], vec![Allowed::VolumeBinding]));
        assert_eq!(judged(path, &volume("1"), &volume("1"), &[(claim, Neighbour::Coming)]).0, ["spec.claimRef.uid"]);
        assert_eq!(judged(path, &volume("1"), &volume("1"), &now("2")).0, ["spec.claimRef.uid"]);
    }

    #[test]
    fn an_object_stored_at_a_version_unknown_to_the_wanted_crd_counts() {
        let path = "cluster/apiextensions.k8s.io/customresourcedefinitions/_/a.b.json";
        let with = |versions: &[&str]| json!({"metadata": {}, "status": {"storedVersions": versions}});
        assert!(judged(path, &with(&["v1", "v2"]), &with(&["v1"]), &[]).0.is_empty());
        assert_eq!(judged(path, &with(&["v1"]), &with(&["v1", "v2"]), &[]).0, ["status.storedVersions"]);
    }
}
