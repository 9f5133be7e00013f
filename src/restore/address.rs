//! Where a type's objects are written: known from discovery, or from a CRD that the restore will bring back.

use serde::{Deserialize, Serialize};

use crate::cluster::{ServedType, TypeOrigin};
use crate::snapshot::ObjectPath;

/// A type at one version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeAddress {
    /// API group; empty for the core group.
    pub group: String,
    /// Version.
    pub version: String,
    /// Plural name, as in URLs.
    pub resource: String,
    /// Kind.
    pub kind: String,
    /// Its objects live in namespaces.
    pub namespaced: bool,
    /// It has the subresource `status`.
    pub has_status: bool,
    /// A CRD defines it.
    pub custom: bool,
}

impl TypeAddress {
    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// Where its objects are created.
    pub fn list_url(&self, namespace: Option<&str>) -> String {
        self.served().list_url(namespace)
    }

    /// Where one object is.
    pub fn object_url(&self, namespace: Option<&str>, name: &str) -> String {
        self.served().object_url(namespace, name)
    }

    /// The path of the CRD that defines it, if one does.
    pub fn crd_path(&self) -> Option<String> {
        self.custom.then(|| crd_path(&self.group, &self.resource))
    }

    fn served(&self) -> ServedType {
        ServedType {
            group: self.group.clone(),
            version: self.version.clone(),
            resource: self.resource.clone(),
            singular: String::new(),
            kind: self.kind.clone(),
            namespaced: self.namespaced,
            verbs: Vec::new(),
            short_names: Vec::new(),
            categories: Vec::new(),
            has_status: self.has_status,
            origin: TypeOrigin::BuiltIn,
        }
    }
}

impl From<&ServedType> for TypeAddress {
    fn from(served: &ServedType) -> Self {
        Self {
            group: served.group.clone(),
            version: served.version.clone(),
            resource: served.resource.clone(),
            kind: served.kind.clone(),
            namespaced: served.namespaced,
            has_status: served.has_status,
            custom: matches!(served.origin, TypeOrigin::CustomResource { .. }),
        }
    }
}

/// The group of CRDs.
pub(super) const CRD_GROUP: &str = "apiextensions.k8s.io";
/// Their plural name.
pub(super) const CRD_RESOURCE: &str = "customresourcedefinitions";

/// A CRD lies there.
pub(super) fn is_crd(path: &ObjectPath) -> bool {
    path.group == CRD_GROUP && path.resource == CRD_RESOURCE
}

/// A namespace lies there.
pub(super) fn is_namespace(path: &ObjectPath) -> bool {
    path.group.is_empty() && path.resource == "namespaces"
}

/// Group and plural name of the type whose CRD lies there.
pub(super) fn defined_type(path: &ObjectPath) -> Option<(String, String)> {
    let (plural, group) = path.name.split_once('.').filter(|_| is_crd(path))?;
    Some((group.to_owned(), plural.to_owned()))
}

/// Where in a snapshot the CRD of a type lies.
pub(super) fn crd_path(group: &str, resource: &str) -> String {
    ObjectPath {
        group: CRD_GROUP.to_owned(),
        resource: CRD_RESOURCE.to_owned(),
        namespace: None,
        name: format!("{resource}.{group}"),
    }
    .to_tree_path()
}
