//! A type that a cluster serves, and where its objects are.

/// Who defines a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TypeOrigin {
    /// The API server itself.
    BuiltIn,
    /// A CustomResourceDefinition.
    CustomResource {
        /// The version that objects are written to etcd in.
        storage_version: String,
        /// The versions that are served, in the CRD's order.
        served_versions: Vec<String>,
    },
    /// Another API server, through an APIService: a view, never captured.
    Remote {
        /// `namespace/name` of the Service.
        service: String,
    },
}

/// A type, at the one version that it is captured at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedType {
    /// API group; empty for the core group.
    pub group: String,
    /// The version that is captured: a CRD's storage version where it is served and nobody chose another one, else the
    /// preferred one.
    pub version: String,
    /// Plural name, as in URLs.
    pub resource: String,
    /// Singular name, as people may type it.
    pub singular: String,
    /// Kind at that version.
    pub kind: String,
    /// Its objects live in namespaces.
    pub namespaced: bool,
    /// What can be done with it at that version.
    pub verbs: Vec<String>,
    /// Short names, such as `cm`.
    pub short_names: Vec<String>,
    /// Groups of types, such as `all`.
    pub categories: Vec<String>,
    /// It has the subresource `status`.
    pub has_status: bool,
    /// Who defines it.
    pub origin: TypeOrigin,
}

/// `configmaps` or `deployments.apps`: how a type is named to people, and by them.
pub fn type_name(group: &str, resource: &str) -> String {
    if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") }
}

impl ServedType {
    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `configmaps` or `deployments.apps`: how errors name it.
    pub fn full_name(&self) -> String {
        type_name(&self.group, &self.resource)
    }

    /// Its objects are CustomResourceDefinitions.
    pub fn defines_types(&self) -> bool {
        self.group == "apiextensions.k8s.io" && self.resource == "customresourcedefinitions"
    }

    /// The server offers this verb.
    pub fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|known| known == verb)
    }

    /// Where all its objects are listed, in all namespaces or in one.
    pub fn list_url(&self, namespace: Option<&str>) -> String {
        let mut url = if self.group.is_empty() { "/api/".to_owned() } else { format!("/apis/{}/", self.group) };
        url.push_str(&self.version);
        if let (true, Some(namespace)) = (self.namespaced, namespace) {
            url.push_str("/namespaces/");
            url.push_str(&encode_segment(namespace));
        }
        url.push('/');
        url.push_str(&self.resource);
        url
    }

    /// Where one object is.
    pub fn object_url(&self, namespace: Option<&str>, name: &str) -> String {
        let mut url = self.list_url(namespace);
        url.push('/');
        url.push_str(&encode_segment(name));
        url
    }
}

/// Percent-encodes one segment of a URL's path: names of RBAC objects hold `:`, blanks and more.
fn encode_segment(text: &str) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b':') {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::{ServedType, TypeOrigin};

    #[test]
    fn urls_follow_the_group_the_scope_and_the_name() {
        let mut kind = ServedType {
            group: String::new(),
            version: "v1".to_owned(),
            resource: "configmaps".to_owned(),
            singular: "configmap".to_owned(),
            kind: "ConfigMap".to_owned(),
            namespaced: true,
            verbs: vec!["list".to_owned()],
            short_names: Vec::new(),
            categories: Vec::new(),
            has_status: false,
            origin: TypeOrigin::BuiltIn,
        };
        assert_eq!(kind.list_url(None), "/api/v1/configmaps");
        assert_eq!(kind.object_url(Some("a"), "b"), "/api/v1/namespaces/a/configmaps/b");
        kind.group = "rbac.authorization.k8s.io".to_owned();
        kind.resource = "clusterroles".to_owned();
        kind.namespaced = false;
        assert_eq!(
            kind.object_url(None, "system:a b/c?d"),
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:a%20b%2Fc%3Fd"
        );
    }
}
