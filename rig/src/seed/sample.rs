//! Sample objects from OpenAPI schemas: required fields, enums, bounds, patterns where a known text matches, and as many
//! optional fields as the shape asks for. Rules in CEL are not read: the API server judges, and another shape is tried.
//!
//! A [`Shape`] decides which fields are there, the value generator decides what is in them: objects of one type look
//! alike and hold different values, as real ones do.

use serde_json::{Map, Value, json};

use super::random::Random;
use super::sample_text::text_for;

/// Which optional fields a sample has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Decides which of them.
    pub seed: u64,
    /// How many of a hundred.
    pub optional_percent: u64,
    /// How deep optional fields go.
    pub depth: usize,
    /// How many values a sample may hold before only required fields are added.
    pub values: usize,
    /// One optional field, by its position, that is there in any case: at the top, and in every object with rules in CEL
    /// (these often want one of several fields).
    pub forced: Option<usize>,
}

impl Shape {
    /// Shapes to try for one type, the fullest first; the later ones are for types whose rules want some field that
    /// the schema calls optional.
    pub fn attempts() -> Vec<Shape> {
        let shape =
            |seed, optional_percent, depth, values| Shape { seed, optional_percent, depth, values, forced: None };
        let mut attempts =
            vec![shape(1, 70, 5, 60), shape(2, 50, 4, 40), shape(3, 30, 3, 24), shape(4, 20, 2, 12), shape(0, 0, 0, 0)];
        attempts.extend((0..10).map(|position| Shape { forced: Some(position), ..shape(0, 0, 0, 0) }));
        attempts
    }
}

/// A value that fits the schema as far as it is understood, or nothing when a required part of it cannot be made up.
pub fn sample(schema: &Value, shape: Shape, values: &mut Random) -> Option<Value> {
    let mut sampler = Sampler { shape, choices: Random::new(shape.seed), values, left: shape.values };
    sampler.value(schema, "", 0)
}

struct Sampler<'a> {
    shape: Shape,
    choices: Random,
    values: &'a mut Random,
    left: usize,
}

fn number_at(schema: &Value, key: &str) -> Option<u64> {
    let number = schema.get(key)?;
    number.as_u64().or_else(|| number.as_f64().filter(|float| *float >= 0.0).map(|float| float.ceil() as u64))
}

fn is_true(schema: &Value, key: &str) -> bool {
    schema.get(key) == Some(&Value::Bool(true))
}

fn names(schema: &Value, key: &str) -> Vec<String> {
    let list = schema.get(key).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

impl Sampler<'_> {
    fn value(&mut self, schema: &Value, name: &str, depth: usize) -> Option<Value> {
        self.left = self.left.saturating_sub(1);
        if let Some(choices) = schema.get("enum").and_then(Value::as_array) {
            let full: Vec<&Value> = choices.iter().filter(|choice| choice.as_str() != Some("")).collect();
            return self.values.pick(&full).map(|choice| (*choice).clone());
        }
        if is_true(schema, "x-kubernetes-int-or-string") {
            return match schema.get("pattern") {
                Some(_) => text_for(schema, name, self.values).map(Value::String),
                None => Some(json!(self.values.between(1, 100))),
            };
        }
        if is_true(schema, "x-kubernetes-embedded-resource") {
            return Some(
                json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": self.values.word() } }),
            );
        }
        match schema.get("type").and_then(Value::as_str) {
            Some("object") => self.object(schema, depth),
            Some("array") => self.array(schema, name, depth),
            Some("boolean") => Some(Value::Bool(self.values.chance(50))),
            Some("integer") => Some(self.integer(schema)),
            Some("number") => Some(json!(number_at(schema, "minimum").unwrap_or(1))),
            Some("string") => text_for(schema, name, self.values).map(Value::String),
            _ if is_true(schema, "x-kubernetes-preserve-unknown-fields") => Some(self.free_form()),
            _ => None,
        }
    }

    fn integer(&mut self, schema: &Value) -> Value {
        let least = number_at(schema, "minimum").unwrap_or(1);
        let room = if schema.get("format").and_then(Value::as_str) == Some("int64") && self.values.chance(5) {
            // A number beyond 2^53, which a client that reads floats would not give back.
            9_007_199_254_740_993
        } else {
            1000
        };
        let most = number_at(schema, "maximum").unwrap_or(least.saturating_add(room));
        if room > 1000 && schema.get("maximum").is_none() {
            return json!(most);
        }
        json!(self.values.between(least, most.max(least)))
    }

    /// Where the schema promises to keep anything: what values of Helm charts look like.
    fn free_form(&mut self) -> Value {
        json!({
            "replicas": self.values.between(1, 5),
            "size": format!("{}Gi", self.values.between(1, 64)),
            "enabled": self.values.chance(50),
            self.values.word(): self.values.words(3),
        })
    }

    fn object(&mut self, schema: &Value, depth: usize) -> Option<Value> {
        let mut object = Map::new();
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
            if let Some(item) = schema.get("additionalProperties").filter(|item| item.is_object()) {
                let count = number_at(schema, "minProperties").unwrap_or(1).max(1);
                for number in 0..count {
                    let value = self.value(item, "", depth + 1)?;
                    object.insert(format!("{}-{number}", self.values.word()), value);
                }
            } else if is_true(schema, "x-kubernetes-preserve-unknown-fields") {
                return Some(self.free_form());
            }
            return Some(Value::Object(object));
        };
        let mut required = names(schema, "required");
        let mut excluded = Vec::new();
        for (key, exclusive) in [("oneOf", true), ("anyOf", false)] {
            let branches = schema.get(key).and_then(Value::as_array);
            let branches: Vec<Vec<String>> =
                branches.into_iter().flatten().map(|branch| names(branch, "required")).collect();
            if let Some(chosen) = self.choices.pick(&branches).cloned() {
                if exclusive {
                    excluded.extend(branches.into_iter().flatten().filter(|name| !chosen.contains(name)));
                }
                required.extend(chosen);
            }
        }
        let optional: Vec<&String> = properties.keys().filter(|name| !required.contains(name)).collect();
        let has_rules = depth == 0 || schema.get("x-kubernetes-validations").is_some();
        let forced = self.shape.forced.filter(|_| has_rules).and_then(|position| optional.get(position).copied());
        for (name, property) in properties {
            let is_required = required.contains(name) || forced == Some(name);
            if !is_required {
                // Drawn in any case, so that the same shape chooses the same fields whatever the values were.
                let chosen = self.choices.chance(self.shape.optional_percent);
                if !chosen || depth >= self.shape.depth || self.left == 0 || excluded.contains(name) {
                    continue;
                }
            }
            // What cannot be made up is left out where it may be.
            match self.value(property, name, depth + 1) {
                Some(value) => object.insert(name.clone(), value),
                None if is_required => return None,
                None => continue,
            };
        }
        if object.is_empty() && number_at(schema, "minProperties").unwrap_or(0) > 0 {
            return None;
        }
        Some(Value::Object(object))
    }

    fn array(&mut self, schema: &Value, name: &str, depth: usize) -> Option<Value> {
        let least = number_at(schema, "minItems").unwrap_or(0).max(1);
        let keyed = matches!(schema.get("x-kubernetes-list-type").and_then(Value::as_str), Some("set" | "map"));
        let most = number_at(schema, "maxItems").unwrap_or(3).min(3).max(least);
        let count = if keyed || self.left == 0 { least } else { self.choices.between(least, most) };
        let items = schema.get("items")?;
        let values: Option<Vec<Value>> = (0..count).map(|_| self.value(items, name, depth + 1)).collect();
        match values {
            Some(values) => Some(Value::Array(values)),
            None if number_at(schema, "minItems").unwrap_or(0) == 0 => Some(json!([])),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Shape, sample};
    use crate::seed::random::Random;
    use serde_json::json;

    #[test]
    fn required_fields_are_there_and_bounds_are_kept() {
        let schema = json!({
            "type": "object",
            "required": ["mode", "count", "peers"],
            "properties": {
                "mode": { "type": "string", "enum": ["", "Active"] },
                "count": { "type": "integer", "minimum": 3, "maximum": 4 },
                "peers": { "type": "array", "minItems": 2, "items": { "type": "string", "pattern": "^[a-z-]+$" } },
                "note": { "type": "string" },
            },
        });
        let least = Shape { seed: 0, optional_percent: 0, depth: 0, values: 0, forced: None };
        let value = sample(&schema, least, &mut Random::new(1)).expect("a sample");
        assert_eq!(value["mode"], "Active");
        assert!((3..=4).contains(&value["count"].as_u64().expect("a number")));
        assert_eq!(value["peers"].as_array().map(Vec::len), Some(2));
        assert_eq!(value.get("note"), None);
        let forced = Shape { forced: Some(0), ..least };
        assert!(sample(&schema, forced, &mut Random::new(1)).expect("a sample").get("note").is_some());
    }

    #[test]
    fn of_one_of_several_fields_exactly_one_is_there() {
        let schema = json!({
            "type": "object",
            "properties": { "a": { "type": "string" }, "b": { "type": "string" } },
            "oneOf": [{ "required": ["a"] }, { "required": ["b"] }],
        });
        let full = Shape { seed: 1, optional_percent: 100, depth: 5, values: 9, forced: None };
        let value = sample(&schema, full, &mut Random::new(1)).expect("a sample");
        assert_eq!(value.as_object().map(serde_json::Map::len), Some(1));
    }
}
