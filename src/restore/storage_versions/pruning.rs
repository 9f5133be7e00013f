//! Which fields of an object a structural schema does not know: the API server drops them without a word.
//!
//! In: an object, and the `openAPIV3Schema` of the version that it is about to be stored in. Out: the paths of what
//! would be dropped. The rules are those of the API server: `x-kubernetes-preserve-unknown-fields` keeps what it does not
//! know but still prunes below what it does, `additionalProperties` is a schema for every other key (`true` keeps
//! scalars and drops what nested objects hold), and an embedded resource keeps its apiVersion, kind and metadata.

use serde_json::{Map, Value};

use crate::snapshot::member;

/// What a resource always has, whatever its schema says.
const RESOURCE_FIELDS: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// The fields of a resource that its schema does not know, by path.
pub(super) fn dropped_fields(resource: &Value, schema: &Value) -> Vec<String> {
    let mut dropped = Vec::new();
    prune("", resource, Some(schema), &mut dropped);
    dropped
}

fn prune(path: &str, value: &Value, schema: Option<&Value>, dropped: &mut Vec<String>) {
    if let Some(schema) = schema.filter(|schema| flag(schema, "x-kubernetes-preserve-unknown-fields")) {
        return prune_known(path, value, schema, dropped);
    }
    match value {
        Value::Object(fields) => {
            for (key, value) in members(path, fields, schema) {
                let below = member(path, key);
                match schema.and_then(|schema| schema_of(schema, key)) {
                    Some(Below::Schema(schema)) => prune(&below, value, Some(schema), dropped),
                    Some(Below::Anything) => prune(&below, value, None, dropped),
                    None => dropped.push(below),
                }
            }
        }
        Value::Array(items) => {
            let schema = schema.and_then(|schema| schema.get("items"));
            for (index, item) in items.iter().enumerate() {
                prune(&format!("{path}[{index}]"), item, schema, dropped);
            }
        }
        _ => {}
    }
}

/// Inside what keeps unknown fields, the known ones are still pruned.
fn prune_known(path: &str, value: &Value, schema: &Value, dropped: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in members(path, fields, Some(schema)) {
                let below = member(path, key);
                match schema_of(schema, key) {
                    Some(Below::Schema(schema)) => prune(&below, value, Some(schema), dropped),
                    Some(Below::Anything) => prune(&below, value, None, dropped),
                    None => {}
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = schema.get("items") else { return };
            for (index, item) in items.iter().enumerate() {
                prune_known(&format!("{path}[{index}]"), item, schema, dropped);
            }
        }
        _ => {}
    }
}

/// What a schema says of a key.
pub(super) enum Below<'a> {
    Schema(&'a Value),
    /// `additionalProperties: true`.
    Anything,
}

/// What a schema says of a key; `None` when it does not know it.
pub(super) fn schema_of<'a>(schema: &'a Value, key: &str) -> Option<Below<'a>> {
    if let Some(property) = schema.get("properties").and_then(|properties| properties.get(key)) {
        return Some(Below::Schema(property));
    }
    match schema.get("additionalProperties")? {
        Value::Bool(true) => Some(Below::Anything),
        additional @ Value::Object(_) => Some(Below::Schema(additional)),
        _ => None,
    }
}

/// The members that the schema has a say in.
pub(super) fn members<'a>(
    path: &str,
    fields: &'a Map<String, Value>,
    schema: Option<&Value>,
) -> impl Iterator<Item = (&'a String, &'a Value)> {
    let resource = path.is_empty() || schema.is_some_and(|schema| flag(schema, "x-kubernetes-embedded-resource"));
    fields.iter().filter(move |(key, _)| !(resource && RESOURCE_FIELDS.contains(&key.as_str())))
}

/// A schema's yes or no; missing is no.
pub(super) fn flag(schema: &Value, name: &str) -> bool {
    schema.get(name) == Some(&Value::Bool(true))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::dropped_fields;

    fn dropped(spec: &Value, schema: &Value) -> Vec<String> {
        let object = json!({"apiVersion": "a/v1", "kind": "A", "metadata": {"name": "a", "odd": 1}, "spec": spec});
        dropped_fields(&object, &json!({"type": "object", "properties": {"spec": schema}}))
    }

    #[test]
    fn what_a_schema_does_not_know_is_dropped_at_any_depth() {
        let port = json!({"type": "object", "properties": {"port": {"type": "integer"}}});
        let schema = json!({"type": "object", "properties": {"ports": {"type": "array", "items": port}, "name": {"type": "string"}}});
        let spec =
            json!({"name": "a", "ports": [{"port": 1}, {"port": 2, "tls": {"a": 1}}], "a.b": {"c": 1}, "gone": null});
        assert_eq!(dropped(&spec, &schema), ["spec[\"a.b\"]", "spec.gone", "spec.ports[1].tls"]);
        assert_eq!(dropped_fields(&json!({"kind": "A", "extra": 1}), &json!({"type": "object"})), ["extra"]);
    }

    #[test]
    fn unknown_fields_are_kept_where_a_schema_says_so_and_known_ones_below_are_still_pruned() {
        let known = json!({"type": "object", "properties": {"a": {"type": "string"}}});
        let schema =
            json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"known": known}});
        let spec = json!({"unknown": {"x": [1, {"y": 2}]}, "known": {"a": "1", "b": "2"}});
        assert_eq!(dropped(&spec, &schema), ["spec.known.b"]);
        let list = json!({"type": "array", "x-kubernetes-preserve-unknown-fields": true, "items": known});
        assert!(dropped(&json!([{"a": "1", "b": "2"}]), &list).is_empty());
    }

    #[test]
    fn additional_properties_are_a_schema_for_every_other_key() {
        let map = json!({"type": "object", "additionalProperties": {"type": "object", "properties": {"a": {"type": "string"}}}});
        assert_eq!(dropped(&json!({"x": {"a": "1"}, "y.z": {"b": "2"}}), &map), ["spec[\"y.z\"].b"]);
        let anything = json!({"type": "object", "additionalProperties": true});
        assert_eq!(
            dropped(&json!({"x": "1", "y": {"b": "2"}, "z": [{"c": 1}]}), &anything),
            ["spec.y.b", "spec.z[0].c"]
        );
    }

    #[test]
    fn an_embedded_resource_keeps_what_every_resource_has() {
        let embedded = json!({"type": "object", "x-kubernetes-embedded-resource": true,
            "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}});
        let spec =
            json!({"apiVersion": "v1", "kind": "B", "metadata": {"name": "b"}, "spec": {"x": 1}, "data": {"y": 1}});
        assert_eq!(dropped(&spec, &embedded), ["spec.data"]);
        let either = json!({"type": "object", "properties": {"port": {"x-kubernetes-int-or-string": true}}});
        assert!(dropped(&json!({"port": "80"}), &either).is_empty());
    }
}
