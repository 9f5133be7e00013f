//! Reading what every stage needs to know of an object.

use serde_json::Value;

use super::error::RestoreError;

/// Parses an object; the error says where it broke, never what was there.
pub(super) fn parse(path: &str, bytes: &[u8]) -> Result<Value, RestoreError> {
    serde_json::from_slice(bytes).map_err(|error| RestoreError::NotAnObject {
        path: path.to_owned(),
        problem: format!("{:?} error at line {} column {}", error.classify(), error.line(), error.column()),
    })
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
