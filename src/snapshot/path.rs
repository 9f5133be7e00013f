//! Where an object lies inside a snapshot: `cluster/<group or core>/<resource>/<namespace or _>/<name>.json`.

use crate::store::{decode_name, encode_name};

/// The list of every type of the cluster.
pub const TYPES_PATH: &str = "cluster/_types.json";

/// The folder of the core group, whose own name is empty.
const CORE: &str = "core";
/// The folder of objects that have no namespace.
const NO_NAMESPACE: &str = "_";
/// What follows the name.
const SUFFIX: &str = ".json";

/// An object's place. A name of over 200 encoded bytes is cut in the path: the true one is inside the object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectPath {
    /// API group; empty for the core group.
    pub group: String,
    /// Plural name, as in URLs.
    pub resource: String,
    /// Namespace, or `None` for what has none.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
}

impl ObjectPath {
    /// The path inside a snapshot, encoded.
    pub fn to_tree_path(&self) -> String {
        let group = if self.group.is_empty() { CORE.to_owned() } else { encode_name(&self.group) };
        let namespace = self.namespace.as_deref().map_or_else(|| NO_NAMESPACE.to_owned(), encode_name);
        let name = encode_name(&self.name);
        format!("cluster/{group}/{}/{namespace}/{name}{SUFFIX}", encode_name(&self.resource))
    }

    /// Undoes [`ObjectPath::to_tree_path`]; `None` for what is no object's path. A cut name stays cut.
    pub fn parse(tree_path: &str) -> Option<Self> {
        let mut parts = tree_path.split('/');
        if parts.next()? != "cluster" {
            return None;
        }
        let (group, resource, namespace) = (parts.next()?, parts.next()?, parts.next()?);
        let name = parts.next()?.strip_suffix(SUFFIX)?;
        if parts.next().is_some() || [group, resource, namespace, name].contains(&"") {
            return None;
        }
        Some(Self {
            group: if group == CORE { String::new() } else { decode_name(group) },
            resource: decode_name(resource),
            namespace: (namespace != NO_NAMESPACE).then(|| decode_name(namespace)),
            name: decode_name(name),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::ObjectPath;

    fn path(group: &str, resource: &str, namespace: Option<&str>, name: &str) -> ObjectPath {
        let namespace = namespace.map(str::to_owned);
        ObjectPath { group: group.to_owned(), resource: resource.to_owned(), namespace, name: name.to_owned() }
    }

    #[test]
    fn a_path_survives_its_own_text() {
        for (object, text) in [
            (path("", "configmaps", Some("a"), "b.json"), "cluster/core/configmaps/a/b.json.json"),
            (path("apps", "deployments", Some("a"), "b"), "cluster/apps/deployments/a/b.json"),
            (
                path("rbac.authorization.k8s.io", "clusterroles", None, "system:a b/c"),
                "cluster/rbac.authorization.k8s.io/clusterroles/_/system:a%20b%2Fc.json",
            ),
        ] {
            assert_eq!(object.to_tree_path(), text);
            assert_eq!(ObjectPath::parse(text), Some(object));
        }
    }

    #[test]
    fn long_names_stay_apart_and_fit_a_file_system() {
        let long = path("", "configmaps", Some("a"), &"x".repeat(253)).to_tree_path();
        let other = path("", "configmaps", Some("a"), &("x".repeat(252) + "y")).to_tree_path();
        assert_ne!(long, other);
        assert!(long.rsplit('/').next().unwrap().len() <= 255);
    }

    #[test]
    fn what_is_no_object_is_none() {
        for text in ["", "cluster/_types.json", "etcd/snapshot.db", "cluster/core/a/b/c", "cluster/core/a/b/c/d.json"] {
            assert_eq!(ObjectPath::parse(text), None, "{text}");
        }
    }
}
