//! What `kubectl apply` does, for many objects of one type at once.
//!
//! In: objects with their last-applied annotation. Out: requests for those that are missing or differ, and none for the
//! others. As with kubectl, a field that the wanted object does not name is left alone: that is why the installer
//! unsuspends releases separately. Left out: removing fields that an earlier release applied and a later one does not,
//! of which there are none here.

use http::Method;
use serde_json::Value;

use super::last_applied::MANAGER;
use crate::api::{Api, ApiError};

/// The objects of one type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collection {
    /// `/api/v1` or `/apis/GROUP/VERSION`.
    pub base: &'static str,
    /// The plural name.
    pub plural: &'static str,
}

/// Namespaces.
pub const NAMESPACES: Collection = Collection { base: "/api/v1", plural: "namespaces" };
/// ConfigMaps.
pub const CONFIG_MAPS: Collection = Collection { base: "/api/v1", plural: "configmaps" };
/// HelmReleases.
pub const HELM_RELEASES: Collection = Collection { base: "/apis/helm.toolkit.fluxcd.io/v2", plural: "helmreleases" };
/// HelmRepositories.
pub const HELM_REPOSITORIES: Collection =
    Collection { base: "/apis/source.toolkit.fluxcd.io/v1", plural: "helmrepositories" };
/// CRDs.
pub const DEFINITIONS: Collection =
    Collection { base: "/apis/apiextensions.k8s.io/v1", plural: "customresourcedefinitions" };

impl Collection {
    /// The URL of all of them.
    pub fn all(&self) -> String {
        format!("{}/{}", self.base, self.plural)
    }

    /// The URL of those in the namespace of an object, or of all where it has none.
    pub fn beside(&self, object: &Value) -> String {
        match namespace(object) {
            "" => self.all(),
            namespace => format!("{}/namespaces/{namespace}/{}", self.base, self.plural),
        }
    }

    /// The URL of an object.
    pub fn url(&self, object: &Value) -> String {
        format!("{}/{}", self.beside(object), name(object))
    }

    /// The URL of an object by its names.
    pub fn named(&self, namespace: &str, name: &str) -> String {
        format!("{}/namespaces/{namespace}/{}/{name}", self.base, self.plural)
    }
}

/// An object's namespace, empty where it has none.
pub fn namespace(object: &Value) -> &str {
    object.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default()
}

/// An object's name.
pub fn name(object: &Value) -> &str {
    object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}

/// Makes what is missing and changes what differs; says how many objects that were.
///
/// # Errors
/// [`ApiError`] when the API server does not answer or refuses one.
pub async fn apply(api: &Api, collection: Collection, wanted: &[Value]) -> Result<usize, ApiError> {
    let live = api.list(&collection.all()).await?;
    let mut written = 0;
    for object in wanted {
        let found = live.iter().find(|live| namespace(live) == namespace(object) && name(live) == name(object));
        match found {
            None => {
                let url = format!("{}?fieldManager={MANAGER}", collection.beside(object));
                api.demand(Method::POST, &url, Some(object)).await?;
            }
            Some(found) if is_so(found, object) => continue,
            Some(_) => {
                let url = format!("{}?fieldManager={MANAGER}", collection.url(object));
                api.demand(Method::PATCH, &url, Some(object)).await?;
            }
        }
        written += 1;
    }
    Ok(written)
}

/// An object is as it is wanted. Items of built-in types lack kind and apiVersion.
fn is_so(live: &Value, wanted: &Value) -> bool {
    let Some(wanted) = wanted.as_object() else { return false };
    let fields = wanted.iter().filter(|(name, _)| !matches!(name.as_str(), "apiVersion" | "kind"));
    fields.into_iter().all(|(name, wanted)| live.get(name).is_some_and(|live| contains(live, wanted)))
}

/// Every field of `wanted` has the same value in `live`.
fn contains(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => {
            wanted.iter().all(|(name, wanted)| live.get(name).is_some_and(|live| contains(live, wanted)))
        }
        _ => live == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::is_so;
    use serde_json::json;

    #[test]
    fn only_what_is_wanted_is_looked_at() {
        let live = json!({ "metadata": { "name": "a", "uid": "1" }, "spec": { "suspend": true, "list": [1, 2] } });
        assert!(is_so(&live, &json!({ "kind": "A", "metadata": { "name": "a" }, "spec": { "list": [1, 2] } })));
        assert!(!is_so(&live, &json!({ "spec": { "list": [1] } })), "a list is one value");
        assert!(!is_so(&live, &json!({ "spec": { "interval": "5m" } })));
    }
}
