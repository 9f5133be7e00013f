//! Which fields of an object a structural schema would refuse.
//!
//! In: an object, and the `openAPIV3Schema` of the version that it is about to be stored in. Out: the rules that it
//! breaks, by field, never a value (I10); and the rules that only the API server can judge (patterns, formats and CEL).
//! What the schema does not know is left out: it is dropped before anything is judged. An object that breaks a rule
//! still passes as a write that changes nothing, but the next change of it by its owner is refused.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

use super::pruning::{Below, flag, members, schema_of};
use crate::snapshot::member;

/// A rule that a field breaks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BrokenRule {
    /// The field.
    pub field: String,
    /// The schema's word for the rule, such as `required`, `enum` or `maximum`.
    pub rule: String,
}

/// What a schema says of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Judgement {
    pub(super) broken: Vec<BrokenRule>,
    /// Rules that were met and not judged, such as `spec.host: pattern`.
    pub(super) unchecked: BTreeSet<String>,
}

/// Judges a resource by its schema.
pub(super) fn judge_by_schema(resource: &Value, schema: &Value) -> Judgement {
    let mut judgement = Judgement::default();
    judgement.value("", resource, schema);
    judgement
}

/// Rules that need a regular expression or CEL.
const UNJUDGED: [&str; 3] = ["pattern", "format", "x-kubernetes-validations"];
/// Formats that only say how wide a number is.
const WIDTHS: [&str; 4] = ["int32", "int64", "float", "double"];

impl Judgement {
    fn breaks(&mut self, field: &str, rule: &str) {
        self.broken.push(BrokenRule { field: field.to_owned(), rule: rule.to_owned() });
    }

    fn value(&mut self, path: &str, value: &Value, schema: &Value) {
        if value.is_null() && (flag(schema, "nullable") || schema.get("type").is_none()) {
            return;
        }
        if !has_type(value, schema) {
            return self.breaks(path, "type");
        }
        let allowed = schema.get("enum").and_then(Value::as_array);
        if allowed.is_some_and(|allowed| !allowed.contains(value)) {
            self.breaks(path, "enum");
        }
        self.combined(path, value, schema);
        for rule in UNJUDGED {
            let Some(rule_value) = schema.get(rule) else { continue };
            if !rule_value.as_str().is_some_and(|format| WIDTHS.contains(&format)) {
                self.unchecked.insert(format!("{}: {rule}", without_indexes(path)));
            }
        }
        match value {
            Value::Number(number) => self.number(path, number, schema),
            Value::String(text) => {
                self.size(path, text.chars().count(), schema, ["minLength", "maxLength"]);
            }
            Value::Array(items) => self.list(path, items, schema),
            Value::Object(fields) => self.object(path, fields, schema),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn object(&mut self, path: &str, fields: &Map<String, Value>, schema: &Value) {
        self.size(path, fields.len(), schema, ["minProperties", "maxProperties"]);
        for key in schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            let defaulted = schema.pointer("/properties").and_then(|all| all.get(key)?.get("default")).is_some();
            if !fields.contains_key(key) && !defaulted {
                self.breaks(&member(path, key), "required");
            }
        }
        for (key, value) in members(path, fields, Some(schema)) {
            if let Some(Below::Schema(schema)) = schema_of(schema, key) {
                self.value(&member(path, key), value, schema);
            }
        }
    }

    fn list(&mut self, path: &str, items: &[Value], schema: &Value) {
        self.size(path, items.len(), schema, ["minItems", "maxItems"]);
        if has_twins(items, schema) {
            self.breaks(path, "x-kubernetes-list-type");
        }
        if let Some(schema) = schema.get("items") {
            for (index, item) in items.iter().enumerate() {
                self.value(&format!("{path}[{index}]"), item, schema);
            }
        }
    }

    fn number(&mut self, path: &str, number: &Number, schema: &Value) {
        let bound = |rule: &str| schema.get(rule).and_then(Value::as_f64);
        let Some(value) = number.as_f64() else { return };
        if bound("minimum").is_some_and(|least| value < least || (value <= least && flag(schema, "exclusiveMinimum"))) {
            self.breaks(path, "minimum");
        }
        if bound("maximum").is_some_and(|most| value > most || (value >= most && flag(schema, "exclusiveMaximum"))) {
            self.breaks(path, "maximum");
        }
        let part = bound("multipleOf").filter(|part| *part != 0.0);
        if part.is_some_and(|part| (value / part).fract() != 0.0) {
            self.breaks(path, "multipleOf");
        }
    }

    fn size(&mut self, path: &str, size: usize, schema: &Value, [least, most]: [&str; 2]) {
        let bound = |rule: &str| schema.get(rule).and_then(Value::as_u64);
        if bound(least).is_some_and(|least| (size as u64) < least) {
            self.breaks(path, least);
        }
        if bound(most).is_some_and(|most| size as u64 > most) {
            self.breaks(path, most);
        }
    }

    /// `allOf`, `anyOf`, `oneOf` and `not`. One that holds rules nobody here can judge is left to the API server.
    fn combined(&mut self, path: &str, value: &Value, schema: &Value) {
        let branches = |rule: &str| schema.get(rule).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for branch in branches("allOf") {
            self.value(path, value, branch);
        }
        let judged = |branch: &Value| {
            let mut own = Self::default();
            own.value(path, value, branch);
            own
        };
        for (rule, fits) in [("anyOf", None), ("oneOf", Some(1))] {
            let branches = branches(rule);
            if branches.is_empty() {
                continue;
            }
            let all: Vec<Self> = branches.iter().map(judged).collect();
            let fitting = all.iter().filter(|branch| branch.broken.is_empty()).count();
            if all.iter().any(|branch| !branch.unchecked.is_empty()) && fitting > 0 {
                self.unchecked.insert(format!("{}: {rule}", without_indexes(path)));
            } else if fits.map_or(fitting == 0, |wanted: usize| fitting != wanted) {
                self.breaks(path, rule);
            }
        }
        if let Some(refused) = schema.get("not").map(judged) {
            if !refused.unchecked.is_empty() {
                self.unchecked.insert(format!("{}: not", without_indexes(path)));
            } else if refused.broken.is_empty() {
                self.breaks(path, "not");
            }
        }
    }
}

fn has_type(value: &Value, schema: &Value) -> bool {
    let integer = |number: &Number| {
        number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|number| number.fract() == 0.0)
    };
    if flag(schema, "x-kubernetes-int-or-string") {
        return value.is_string() || value.as_number().is_some_and(integer);
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("number") => value.is_number(),
        Some("integer") => value.as_number().is_some_and(integer),
        _ => true,
    }
}

/// A list whose items must be told apart holds two of one kind.
fn has_twins(items: &[Value], schema: &Value) -> bool {
    let keys: Vec<String> = match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
        Some("set") => items.iter().map(Value::to_string).collect(),
        Some("map") => {
            let names: Vec<&str> = schema
                .get("x-kubernetes-list-map-keys")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let default = |name: &str| schema.pointer("/items/properties")?.get(name)?.get("default").cloned();
            let key = |item: &Value| {
                let parts = names.iter().map(|name| item.get(name).cloned().or_else(|| default(name)));
                format!("{:?}", parts.collect::<Vec<_>>())
            };
            items.iter().map(key).collect()
        }
        _ => return false,
    };
    keys.iter().collect::<BTreeSet<_>>().len() < keys.len()
}

/// The same field of every item is one line.
fn without_indexes(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('[') {
        let digits = after.find(|character: char| !character.is_ascii_digit()).unwrap_or(after.len());
        let (index, behind) = after.split_at(digits);
        text.push_str(before);
        text.push('[');
        text.push_str(if behind.starts_with(']') { "" } else { index });
        rest = behind;
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{judge_by_schema, without_indexes};

    fn broken(spec: &Value, schema: &Value) -> Vec<String> {
        let schema = json!({"type": "object", "properties": {"spec": schema}});
        let judged = judge_by_schema(&json!({"metadata": {"name": 1}, "spec": spec}), &schema);
        judged.broken.into_iter().map(|broken| format!("{} {}", broken.field, broken.rule)).collect()
    }

    #[test]
    fn every_rule_of_a_plain_schema_is_judged() {
        let schema = json!({"type": "object", "required": ["mode", "size", "defaulted"], "maxProperties": 7, "properties": {
            "defaulted": {"type": "string", "default": "a"},
            "mode": {"type": "string", "enum": ["a", "b"], "maxLength": 3},
            "size": {"type": "integer", "minimum": 1, "maximum": 5, "exclusiveMaximum": true, "multipleOf": 2},
            "list": {"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1}},
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "nullable": {"type": "string", "nullable": true}, "plain": {"type": "string"},
            "either": {"x-kubernetes-int-or-string": true}}});
        let fine = json!({"mode": "a", "size": 4.0, "list": ["x"], "set": ["a", "b"], "nullable": null, "either": 1});
        assert!(broken(&fine, &schema).is_empty());
        let bad = json!({"mode": "long", "size": 5, "list": ["", 1], "set": ["a", "a"], "plain": null, "either": 1.5});
        assert_eq!(
            broken(&bad, &schema),
            [
                "spec.either type",
                "spec.list[0] minLength",
                "spec.list[1] type",
                "spec.mode enum",
                "spec.mode maxLength",
                "spec.plain type",
                "spec.set x-kubernetes-list-type",
                "spec.size maximum",
                "spec.size multipleOf"
            ]
        );
        assert_eq!(
            broken(&json!({"list": []}), &schema),
            ["spec.mode required", "spec.size required", "spec.list minItems"]
        );
        assert_eq!(broken(&json!("text"), &schema), ["spec type"]);
    }

    #[test]
    fn list_maps_are_told_apart_by_their_keys_and_defaults() {
        let schema = json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "protocol"],
            "items": {"type": "object", "properties": {"port": {"type": "integer"}, "protocol": {"type": "string", "default": "TCP"}}}});
        assert!(broken(&json!([{"port": 1, "protocol": "UDP"}, {"port": 1}]), &schema).is_empty());
        assert_eq!(
            broken(&json!([{"port": 1, "protocol": "TCP"}, {"port": 1}]), &schema),
            ["spec x-kubernetes-list-type"]
        );
    }

    #[test]
    fn branches_are_judged_and_what_only_the_api_server_can_judge_is_named() {
        let one = json!({"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}], "not": {"required": ["c"]},
            "anyOf": [{"required": ["a"]}, {"required": ["b"]}], "properties": {"a": {}, "b": {}, "c": {}}});
        assert!(broken(&json!({"a": 1}), &one).is_empty());
        assert_eq!(broken(&json!({"a": 1, "b": 1}), &one), ["spec oneOf"]);
        assert_eq!(broken(&json!({"c": 1}), &one), ["spec anyOf", "spec oneOf", "spec not"]);
        let hosts = json!({"type": "object", "properties": {"hosts": {"type": "array", "items": {"type": "string", "pattern": "^a"}},
            "size": {"type": "integer", "format": "int32"},
            "either": {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": "^b"}]}}});
        let schema = json!({"type": "object", "properties": {"spec": hosts}});
        let judged = judge_by_schema(&json!({"spec": {"hosts": ["x", "y"], "size": 1, "either": "c"}}), &schema);
        assert!(judged.broken.is_empty());
        assert_eq!(judged.unchecked.into_iter().collect::<Vec<_>>(), ["spec.either: anyOf", "spec.hosts[]: pattern"]);
    }

    #[test]
    fn indexes_of_lists_are_left_out_and_keys_are_not() {
        assert_eq!(without_indexes("spec.a[0].b[12][\"x[1\"]"), "spec.a[].b[][\"x[1\"]");
    }
}
