//! Every place where an object names another one by its UID.
//!
//! In: an object. Out: the paths of the objects it names, with the UIDs it believes they have. Three kinds count:
//! owner references, the claim of a PersistentVolume, the ServiceAccount of a token Secret (facts/k8s-backup.md,
//! section 5). Invariant: mapping changes UIDs only, never what is named.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::snapshot::ObjectPath;

use super::object;

/// The UID of a ServiceAccount, in the annotations of its token Secret.
pub(super) const TOKEN_UID: &str = "kubernetes.io/service-account.uid";
/// Its name there.
const TOKEN_NAME: &str = "kubernetes.io/service-account.name";
/// The type of such a Secret.
const TOKEN_TYPE: &str = "kubernetes.io/service-account-token";

/// What a reference is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Owner,
    Claim,
    ServiceAccount,
}

/// One reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) purpose: Purpose,
    /// Where the named object lies in a snapshot; `None` when nobody knows its type.
    pub(super) path: Option<String>,
    pub(super) uid: String,
}

/// Which resource a kind is served as: `(group, kind)` to `(resource, namespaced)`.
#[derive(Clone, Debug, Default)]
pub(super) struct Kinds(BTreeMap<(String, String), (String, bool)>);

impl Kinds {
    pub(super) fn insert(&mut self, group: &str, kind: &str, resource: &str, namespaced: bool) {
        self.0.entry((group.to_owned(), kind.to_owned())).or_insert_with(|| (resource.to_owned(), namespaced));
    }

    /// Where the owner that a reference names lies, given the namespace of who refers to it.
    pub(super) fn owner_path(&self, reference: &Value, namespace: Option<&str>) -> Option<String> {
        let group = object::group_of(reference.get("apiVersion")?.as_str()?);
        let kind = reference.get("kind")?.as_str()?;
        let (resource, namespaced) = self.0.get(&(group.to_owned(), kind.to_owned()))?;
        let path = ObjectPath {
            group: group.to_owned(),
            resource: resource.clone(),
            namespace: if *namespaced { Some(namespace?.to_owned()) } else { None },
            name: reference.get("name")?.as_str()?.to_owned(),
        };
        Some(path.to_tree_path())
    }
}

/// Everything that an object refers to.
pub(super) fn references(path: &ObjectPath, value: &Value, kinds: &Kinds) -> Vec<Reference> {
    let mut found: Vec<Reference> = owner_references(value)
        .iter()
        .filter_map(|owner| {
            let uid = owner.get("uid")?.as_str()?.to_owned();
            let path = kinds.owner_path(owner, path.namespace.as_deref());
            Some(Reference { purpose: Purpose::Owner, path, uid })
        })
        .collect();
    if is_volume(path)
        && let (Some(namespace), Some(name), Some(uid)) = (
            object::text(value, "/spec/claimRef/namespace"),
            object::text(value, "/spec/claimRef/name"),
            object::text(value, "/spec/claimRef/uid"),
        )
    {
        let path = Some(core_path("persistentvolumeclaims", Some(namespace), name));
        found.push(Reference { purpose: Purpose::Claim, path, uid: uid.to_owned() });
    }
    if is_token(path, value)
        && let (Some(namespace), Some(name), Some(uid)) =
            (path.namespace.as_deref(), annotation(value, TOKEN_NAME), annotation(value, TOKEN_UID))
    {
        let path = Some(core_path("serviceaccounts", Some(namespace), name));
        found.push(Reference { purpose: Purpose::ServiceAccount, path, uid: uid.to_owned() });
    }
    found
}

/// `metadata.ownerReferences`, empty when there are none.
pub(super) fn owner_references(value: &Value) -> &[Value] {
    value.pointer("/metadata/ownerReferences").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Writes the UIDs that owners, claims and ServiceAccounts have now. Gives the number of owner references mapped.
pub(super) fn map_uids(path: &ObjectPath, value: &mut Value, uids: &BTreeMap<String, String>) -> u64 {
    let mut mapped = 0;
    if let Some(owners) = value.pointer_mut("/metadata/ownerReferences").and_then(Value::as_array_mut) {
        for uid in owners.iter_mut().filter_map(|owner| owner.get_mut("uid")) {
            mapped += u64::from(replace(uid, uids));
        }
    }
    if is_volume(path)
        && let Some(uid) = value.pointer_mut("/spec/claimRef/uid")
        && replace(uid, uids)
    {
        // The claim's own version is not known before it is back; without one the volume controller looks it up.
        object::remove(value, "/spec/claimRef", "resourceVersion");
    }
    if is_token(path, value)
        && let Some(uid) = value.pointer_mut("/metadata/annotations").and_then(|all| all.get_mut(TOKEN_UID))
        && replace(uid, uids)
    {
        // A token names its ServiceAccount's UID: the old one is void, and the controller manager issues another.
        object::remove(value, "", "data");
    }
    mapped
}

fn replace(uid: &mut Value, uids: &BTreeMap<String, String>) -> bool {
    match uid.as_str().and_then(|old| uids.get(old)) {
        Some(new) if uid.as_str() != Some(new) => {
            *uid = Value::String(new.clone());
            true
        }
        _ => false,
    }
}

/// A PersistentVolume.
pub(super) fn is_volume(path: &ObjectPath) -> bool {
    path.group.is_empty() && path.resource == "persistentvolumes"
}

/// A PersistentVolumeClaim.
pub(super) fn is_claim(path: &ObjectPath) -> bool {
    path.group.is_empty() && path.resource == "persistentvolumeclaims"
}

/// A Secret with the token of a ServiceAccount.
pub(super) fn is_token(path: &ObjectPath, value: &Value) -> bool {
    path.group.is_empty() && path.resource == "secrets" && object::text(value, "/type") == Some(TOKEN_TYPE)
}

fn annotation<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.pointer("/metadata/annotations")?.get(key)?.as_str()
}

/// Where an object of the core group lies in a snapshot.
pub(super) fn core_path(resource: &str, namespace: Option<&str>, name: &str) -> String {
    ObjectPath {
        group: String::new(),
        resource: resource.to_owned(),
        namespace: namespace.map(str::to_owned),
        name: name.to_owned(),
    }
    .to_tree_path()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::{Kinds, Purpose, map_uids, references};
    use crate::snapshot::ObjectPath;

    #[test]
    fn owners_are_found_in_the_dependents_namespace_or_in_none() {
        let mut kinds = Kinds::default();
        kinds.insert("db.example", "Database", "databases", true);
        kinds.insert("", "Node", "nodes", false);
        let path = ObjectPath::parse("cluster/core/configmaps/a/b.json").unwrap();
        let object = json!({"metadata": {"ownerReferences": [
            {"apiVersion": "db.example/v1", "kind": "Database", "name": "orders", "uid": "1"},
            {"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "2"},
            {"apiVersion": "v1", "kind": "Unheard", "name": "n", "uid": "3"}]}});
        let found: Vec<_> = references(&path, &object, &kinds).into_iter().map(|found| found.path).collect();
        assert_eq!(
            found,
            [
                Some("cluster/db.example/databases/a/orders.json".to_owned()),
                Some("cluster/core/nodes/_/n.json".to_owned()),
                None
            ]
        );
    }

    #[test]
    fn a_volume_forgets_the_version_of_a_claim_with_another_uid() {
        let path = ObjectPath::parse("cluster/core/persistentvolumes/_/v.json").unwrap();
        let claim = json!({"namespace": "a", "name": "b", "uid": "1", "resourceVersion": "7"});
        let mut volume = json!({"spec": {"claimRef": claim}});
        assert_eq!(references(&path, &volume, &Kinds::default())[0].purpose, Purpose::Claim);
        map_uids(&path, &mut volume, &BTreeMap::from([("1".to_owned(), "2".to_owned())]));
        assert_eq!(volume, json!({"spec": {"claimRef": {"namespace": "a", "name": "b", "uid": "2"}}}));
    }

    #[test]
    fn a_token_of_a_service_account_with_another_uid_is_void() {
        let path = ObjectPath::parse("cluster/core/secrets/a/b.json").unwrap();
        let notes = json!({"kubernetes.io/service-account.name": "s", "kubernetes.io/service-account.uid": "1"});
        let secret = json!({"type": "kubernetes.io/service-account-token", "data": {"token": "x"},
            "metadata": {"annotations": notes}});
        let mut kept = secret.clone();
        map_uids(&path, &mut kept, &BTreeMap::new());
        assert_eq!(kept, secret);
        map_uids(&path, &mut kept, &BTreeMap::from([("1".to_owned(), "2".to_owned())]));
        assert_eq!(kept.pointer("/data"), None);
    }
}
