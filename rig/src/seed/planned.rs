//! An object before it is posted.

use serde_json::{Map, Value, json};

use super::random::Random;

/// One object to create.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// The URL of its collection.
    pub url: String,
    /// The field manager that creates it.
    pub manager: &'static str,
    /// The object.
    pub body: Value,
}

/// Begins an object: `apiVersion`, `kind`, names and the labels that charts set.
pub fn object(api_version: &str, kind: &str, namespace: Option<&str>, name: &str, random: &mut Random) -> Value {
    let mut metadata = Map::new();
    metadata.insert("name".to_owned(), json!(name));
    if let Some(namespace) = namespace {
        metadata.insert("namespace".to_owned(), json!(namespace));
    }
    let part = random.word();
    metadata.insert(
        "labels".to_owned(),
        json!({
            "app.kubernetes.io/name": part,
            "app.kubernetes.io/instance": name.chars().take(60).collect::<String>().trim_end_matches(['-', '.', ':']).replace(':', "-"),
            "app.kubernetes.io/part-of": "cozystack",
            "app.kubernetes.io/managed-by": "Helm",
            "helm.sh/chart": format!("{part}-0.{}.{}", random.below(30), random.below(10)),
        }),
    );
    json!({ "apiVersion": api_version, "kind": kind, "metadata": metadata })
}

/// Puts fields at the top of an object.
pub fn with(mut object: Value, fields: Value) -> Value {
    if let (Some(object), Value::Object(fields)) = (object.as_object_mut(), fields) {
        object.extend(fields);
    }
    object
}

/// Gives an object these labels in place of those it has.
pub fn labelled(mut object: Value, labels: Value) -> Value {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("labels".to_owned(), labels);
    }
    object
}
