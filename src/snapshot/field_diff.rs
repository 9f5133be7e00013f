//! Which fields differ between two versions of an object.
//!
//! In: two values. Out: the changed leaves with paths as a person would write them: `spec.replicas`,
//! `metadata.labels["a.b/c"]`, `spec.containers[app].image`, `spec.ports[0].port`. Invariant: the result is empty
//! exactly when the values are equal.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Map, Value};

/// A field that is not the same on both sides.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct FieldChange {
    /// Where it is.
    pub path: String,
    /// Its value on the first side, if it is there.
    pub before: Option<Value>,
    /// Its value on the second side, if it is there.
    pub after: Option<Value>,
}

/// Paths at or below which a difference says nothing about what someone wanted.
const NOISE: [&str; 6] = [
    "metadata.creationTimestamp",
    "metadata.generation",
    "metadata.managedFields",
    "metadata.resourceVersion",
    "metadata.uid",
    "status",
];

/// This field changes by itself, with every write, or because the object was made anew.
pub fn is_noise(path: &str) -> bool {
    NOISE.iter().any(|noise| at_or_below(path, noise))
}

/// The field lies at `ancestor`, or inside it.
pub fn at_or_below(path: &str, ancestor: &str) -> bool {
    path.strip_prefix(ancestor).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// The changed fields, in the order of their paths' parts.
pub fn field_changes(before: &Value, after: &Value) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    compare("", before, after, &mut changes);
    changes
}

fn compare(path: &str, before: &Value, after: &Value, changes: &mut Vec<FieldChange>) {
    if before == after {
        return;
    }
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => compare_objects(path, old, new, changes),
        (Value::Array(old), Value::Array(new)) => compare_lists(path, old, new, changes),
        _ => changes.push(FieldChange {
            path: path.to_owned(),
            before: Some(before.clone()),
            after: Some(after.clone()),
        }),
    }
}

fn compare_objects(path: &str, old: &Map<String, Value>, new: &Map<String, Value>, changes: &mut Vec<FieldChange>) {
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for key in keys {
        compare_optional(&member(path, key), old.get(key), new.get(key), changes);
    }
}

fn compare_lists(path: &str, old: &[Value], new: &[Value], changes: &mut Vec<FieldChange>) {
    let (Some(old_names), Some(new_names)) = (names(old), names(new)) else {
        for index in 0..old.len().max(new.len()) {
            compare_optional(&format!("{path}[{index}]"), old.get(index), new.get(index), changes);
        }
        return;
    };
    let by_name = |list: &[Value], names: &[String]| -> BTreeMap<String, Value> {
        names.iter().cloned().zip(list.iter().cloned()).collect()
    };
    let (old_items, new_items) = (by_name(old, &old_names), by_name(new, &new_names));
    let keys: BTreeSet<&String> = old_items.keys().chain(new_items.keys()).collect();
    for key in keys {
        let item = if is_plain(key) { format!("{path}[{key}]") } else { format!("{path}[{}]", quoted(key)) };
        compare_optional(&item, old_items.get(key), new_items.get(key), changes);
    }
    let common = |names: &[String], other: &BTreeMap<String, Value>| -> Vec<Value> {
        names.iter().filter(|name| other.contains_key(*name)).map(|name| Value::String(name.clone())).collect()
    };
    let (old_order, new_order) = (common(&old_names, &new_items), common(&new_names, &old_items));
    if old_order != new_order {
        // The items' order is all that this line shows.
        changes.push(FieldChange {
            path: path.to_owned(),
            before: Some(Value::Array(old_order)),
            after: Some(Value::Array(new_order)),
        });
    }
}

fn compare_optional(path: &str, old: Option<&Value>, new: Option<&Value>, changes: &mut Vec<FieldChange>) {
    match (old, new) {
        (Some(old), Some(new)) => compare(path, old, new, changes),
        _ => changes.push(FieldChange { path: path.to_owned(), before: old.cloned(), after: new.cloned() }),
    }
}

/// The items' names, when every item is an object with a `name` of its own.
fn names(list: &[Value]) -> Option<Vec<String>> {
    let names: Vec<String> =
        list.iter().map(|item| item.get("name")?.as_str().map(str::to_owned)).collect::<Option<_>>()?;
    let distinct: BTreeSet<&String> = names.iter().collect();
    (distinct.len() == names.len()).then_some(names)
}

/// The path of a field's own field.
pub(crate) fn member(path: &str, key: &str) -> String {
    if !is_plain(key) {
        return format!("{path}[{}]", quoted(key));
    }
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// A key that can stand behind a dot without being misread.
fn is_plain(key: &str) -> bool {
    !key.is_empty()
        && !key.bytes().all(|byte| byte.is_ascii_digit())
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'$'))
}

fn quoted(key: &str) -> String {
    let mut text = String::with_capacity(key.len() + 2);
    text.push('"');
    for character in key.chars() {
        match character {
            '"' | '\\' => text.extend(['\\', character]),
            // Writing to a String cannot fail.
            control if control.is_control() => drop(write!(text, "\\u{:04x}", u32::from(control))),
            other => text.push(other),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{field_changes, is_noise};

    fn paths(before: &Value, after: &Value) -> Vec<String> {
        field_changes(before, after).into_iter().map(|change| change.path).collect()
    }

    #[test]
    fn paths_read_as_a_person_writes_them() {
        let before = json!({"metadata": {"labels": {"a.b/c": "1", "plain": "1"}},
            "spec": {"replicas": 1, "ports": [{"port": 1}], "containers": [{"name": "app", "image": "a"}]}});
        let after = json!({"metadata": {"labels": {"a.b/c": "2"}},
            "spec": {"replicas": 2, "ports": [{"port": 2}, {"port": 3}], "containers": [{"name": "app", "image": "b"}]}});
        assert_eq!(
            paths(&before, &after),
            [
                "metadata.labels[\"a.b/c\"]",
                "metadata.labels.plain",
                "spec.containers[app].image",
                "spec.ports[0].port",
                "spec.ports[1]",
                "spec.replicas"
            ]
        );
    }

    #[test]
    fn a_named_list_in_another_order_is_a_change() {
        let before = json!({"l": [{"name": "a"}, {"name": "b"}]});
        assert_eq!(paths(&before, &json!({"l": [{"name": "b"}, {"name": "a"}]})), ["l"]);
        assert_eq!(paths(&before, &json!({"l": [{"name": "b"}]})), ["l[a]"]);
    }

    #[test]
    fn numbers_differ_when_their_text_does() {
        let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(paths(&parse("{\"a\":9007199254740993}"), &parse("{\"a\":9007199254740992}")), ["a"]);
        assert!(paths(&parse("{\"a\":9007199254740993}"), &parse("{\"a\":9007199254740993}")).is_empty());
    }

    #[test]
    fn a_field_that_is_gone_differs_from_null() {
        let changes = field_changes(&json!({"a": null}), &json!({}));
        assert_eq!(changes.len(), 1);
        assert_eq!((changes[0].before.clone(), changes[0].after.clone()), (Some(Value::Null), None));
    }

    #[test]
    fn noise_is_known_by_its_place() {
        for path in
            ["status", "status.phase", "metadata.managedFields[0].time", "metadata.resourceVersion", "metadata.uid"]
        {
            assert!(is_noise(path), "{path}");
        }
        for path in ["statusPolicy", "spec.status", "metadata.labels.status", "metadata.generationX", "spec.uid"] {
            assert!(!is_noise(path), "{path}");
        }
    }
}
