//! Reading what every stage needs to know of an object.
//!
//! A snapshot may have been written by anyone: an object is only taken from the place that it names itself, and depth
//! is bounded before anything is read recursively.

use serde::Deserialize as _;
use serde_json::Value;

use crate::snapshot::{MAX_DEPTH, ObjectPath};

use super::address::is_crd;
use super::error::RestoreError;

/// Parses an object; the error says where it broke, never what was there.
pub(super) fn parse(path: &str, bytes: &[u8]) -> Result<Value, RestoreError> {
    let broken = |problem: String| RestoreError::NotAnObject { path: path.to_owned(), problem };
    if depth(bytes) > MAX_DEPTH {
        return Err(broken(format!("it is nested deeper than {MAX_DEPTH} levels")));
    }
    // serde_json's own limit is 128 levels, and API servers keep objects that are nested deeper.
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    reader.disable_recursion_limit();
    Value::deserialize(&mut reader).and_then(|value| reader.end().map(|()| value)).map_err(|error| {
        broken(format!("{:?} error at line {} column {}", error.classify(), error.line(), error.column()))
    })
}

/// How deep the lists and maps of a JSON text are nested.
fn depth(bytes: &[u8]) -> usize {
    let (mut now, mut deepest, mut in_text, mut escaped) = (0_usize, 0, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'{' | b'[' => {
                now += 1;
                deepest = deepest.max(now);
            }
            b'}' | b']' => now = now.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Refuses an object that lies at the path of another one: it would be written to a place that it does not name.
pub(super) fn check_place(path: &str, object: &Value) -> Result<(), RestoreError> {
    let misplaced = || RestoreError::Misplaced { path: path.to_owned(), found: described(object) };
    let parsed = ObjectPath::parse(path).ok_or_else(misplaced)?;
    let named = ObjectPath {
        group: group_of(text(object, "/apiVersion").unwrap_or_default()).to_owned(),
        resource: parsed.resource,
        namespace: namespace(object).map(str::to_owned),
        name: name(object).to_owned(),
    };
    if named.to_tree_path() != path {
        return Err(misplaced());
    }
    // A CRD's name says which type it defines.
    let part = |pointer: &str| text(object, pointer).unwrap_or_default();
    if is_crd(&named) && named.name != format!("{}.{}", part("/spec/names/plural"), part("/spec/group")) {
        return Err(misplaced());
    }
    Ok(())
}

/// What an object says that it is, for an error: never more than its identity.
pub(super) fn described(object: &Value) -> String {
    let part = |pointer: &str| text(object, pointer).unwrap_or("(none)");
    let name = match namespace(object) {
        Some(namespace) => format!("{namespace}/{}", name(object)),
        None => name(object).to_owned(),
    };
    format!("{} {} `{name}`", part("/apiVersion"), part("/kind"))
}

/// A text inside an object, by JSON pointer.
pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer).and_then(Value::as_str)
}

/// `metadata.uid`, empty when there is none.
pub(super) fn uid(object: &Value) -> String {
    text(object, "/metadata/uid").unwrap_or_default().to_owned()
}

/// `metadata.resourceVersion`, empty when there is none.
pub(super) fn resource_version(object: &Value) -> String {
    text(object, "/metadata/resourceVersion").unwrap_or_default().to_owned()
}

/// It is being deleted.
pub(super) fn is_terminating(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null())
}

/// The true name: that in a path may be cut.
pub(super) fn name(object: &Value) -> &str {
    text(object, "/metadata/name").unwrap_or_default()
}

/// The namespace, if it has one.
pub(super) fn namespace(object: &Value) -> Option<&str> {
    text(object, "/metadata/namespace").filter(|namespace| !namespace.is_empty())
}

/// The group of an `apiVersion`: empty for `v1`.
pub(super) fn group_of(api_version: &str) -> &str {
    api_version.rsplit_once('/').map_or("", |(group, _)| group)
}

/// The version of an `apiVersion`.
pub(super) fn version_of(api_version: &str) -> &str {
    api_version.rsplit_once('/').map_or(api_version, |(_, version)| version)
}

/// Removes a member of the object at a pointer.
pub(super) fn remove(object: &mut Value, parent: &str, key: &str) -> Option<Value> {
    object.pointer_mut(parent)?.as_object_mut()?.remove(key)
}

/// Sets a member of the object at a pointer; nothing happens when there is no object.
pub(super) fn set(object: &mut Value, parent: &str, key: &str, value: Value) {
    if let Some(parent) = object.pointer_mut(parent).and_then(Value::as_object_mut) {
        parent.insert(key.to_owned(), value);
    }
}

/// Removes a member that is an empty map or list.
pub(super) fn remove_empty(object: &mut Value, parent: &str, key: &str) {
    let Some(parent) = object.pointer_mut(parent).and_then(Value::as_object_mut) else { return };
    let empty = match parent.get(key) {
        Some(Value::Object(map)) => map.is_empty(),
        Some(Value::Array(list)) => list.is_empty(),
        _ => false,
    };
    if empty {
        parent.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{check_place, parse};

    fn place(path: &str, object: &Value) -> Result<(), String> {
        check_place(path, object).map_err(|error| error.to_string())
    }

    #[test]
    fn an_object_is_only_taken_from_the_place_that_it_names() {
        let object =
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "a", "name": "b"}});
        assert_eq!(place("cluster/apps/deployments/a/b.json", &object), Ok(()));
        for path in [
            "cluster/core/deployments/a/b.json",
            "cluster/apps/deployments/other/b.json",
            "cluster/apps/deployments/_/b.json",
            "cluster/apps/deployments/a/c.json",
            "cluster/apps/deployments/a/%62.json",
            "cluster/_types.json",
        ] {
            let error = place(path, &object).unwrap_err();
            assert!(error.contains("apps/v1 Deployment `a/b`"), "{error}");
        }
        // A name that a path cannot hold whole is compared as it is cut.
        let long = "x".repeat(253);
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": long}});
        let path = crate::snapshot::ObjectPath {
            group: String::new(),
            resource: "namespaces".to_owned(),
            namespace: None,
            name: long,
        };
        assert_eq!(place(&path.to_tree_path(), &object), Ok(()));
    }

    #[test]
    fn a_crd_defines_the_type_in_its_name() {
        let crd = |plural: &str| {
            json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": {"name": "a.x.io"}, "spec": {"group": "x.io", "names": {"plural": plural}}})
        };
        let path = "cluster/apiextensions.k8s.io/customresourcedefinitions/_/a.x.io.json";
        assert_eq!(place(path, &crd("a")), Ok(()));
        assert!(place(path, &crd("b")).is_err());
    }

    #[test]
    fn depth_is_bounded_and_what_an_api_server_keeps_is_read() {
        let nested = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        assert!(parse("x", nested(500).as_bytes()).is_ok());
        for levels in [513, 1_000_000] {
            let error = parse("x", nested(levels).as_bytes()).unwrap_err().to_string();
            assert!(error.contains("deeper than 512"), "{error}");
        }
        let brackets = json!({"a": "[".repeat(600), "b": r#"\"["#.repeat(600)}).to_string();
        assert!(parse("x", brackets.as_bytes()).is_ok());
        assert!(parse("x", b"{} {}").is_err());
    }
}
