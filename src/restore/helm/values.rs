//! The values of a HelmRelease, put together as helm-controller does (github.com/fluxcd/pkg/chartutil,
//! `ChartValuesFromReferences`).
//!
//! In: a HelmRelease, and the ConfigMaps and Secrets that it names. Out: one map, and whether two are the same.
//! `spec.valuesFrom` is merged in its order, `spec.values` last. Invariant: what is not understood here is an error and never a guess, and an error names
//! the source, never a value (I10).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::verdict::Unknown;
use super::view::{CONFIG_MAPS, HelmView, SECRETS};
use crate::restore::object;

/// Where values lie in a ConfigMap or Secret when no key is named.
const DEFAULT_KEY: &str = "values.yaml";

/// What a HelmRelease is installed with.
pub(super) fn compose(view: &HelmView, release: &Value) -> Result<Map<String, Value>, Unknown> {
    let inline = release.pointer("/spec/values").and_then(Value::as_object).cloned().unwrap_or_default();
    let sources = release.pointer("/spec/valuesFrom").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let namespace = object::namespace(release).unwrap_or_default();
    let mut composed = Map::new();
    for source in sources {
        let Source { called, text } = match read(view, namespace, source)? {
            Some(found) => found,
            None => continue,
        };
        let unreadable = || Unknown::UnreadableValues { source: called.clone() };
        match object::text(source, "/targetPath").filter(|path| !path.is_empty()) {
            Some(path) => {
                merge(&mut composed, inline.clone());
                let literal = source.get("literal") == Some(&Value::Bool(true));
                let value = flat_value(&text, literal).ok_or_else(unreadable)?;
                set_at(&mut composed, path, value).ok_or_else(unreadable)?;
            }
            None => merge(&mut composed, parse(&text).ok_or_else(unreadable)?),
        }
    }
    merge(&mut composed, inline);
    Ok(composed)
}

struct Source {
    called: String,
    text: String,
}

/// What one reference leads to; `None` for one that is missing and may be.
fn read(view: &HelmView, namespace: &str, reference: &Value) -> Result<Option<Source>, Unknown> {
    let kind = object::text(reference, "/kind").unwrap_or_default();
    let name = object::text(reference, "/name").unwrap_or_default();
    let key = object::text(reference, "/valuesKey").filter(|key| !key.is_empty()).unwrap_or(DEFAULT_KEY);
    let called = format!("{kind} {namespace}/{name}");
    let is_secret = kind == "Secret";
    let found = view.get(if is_secret { SECRETS } else { CONFIG_MAPS }, namespace, name);
    let Some(data) = found.and_then(|found| found.get("data")?.get(key)?.as_str()) else {
        return match reference.get("optional") {
            Some(Value::Bool(true)) => Ok(None),
            _ => Err(Unknown::NoValues { source: called }),
        };
    };
    let text = if is_secret {
        STANDARD.decode(data).ok().and_then(|bytes| String::from_utf8(bytes).ok())
    } else {
        Some(data.to_owned())
    };
    match text {
        Some(text) => Ok(Some(Source { called, text })),
        None => Err(Unknown::UnreadableValues { source: called }),
    }
}

/// YAML as Go reads it: the truth values of YAML 1.1, and the last of several equal keys.
fn parse(text: &str) -> Option<Map<String, Value>> {
    let options = serde_saphyr::options! {
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::LastWins,
        strict_booleans: false,
        legacy_octal_numbers: true,
        with_snippet: false,
    };
    let values: Value = serde_saphyr::from_str_with_options(text, options).ok()?;
    match values {
        Value::Object(fields) => has_plain_keys(&fields).then_some(fields),
        Value::Null => Some(Map::new()),
        _ => None,
    }
}

/// Go reads a key that is no text to it (`yes`, `0x1f`) as what it is and writes that out again. Whether such a key
/// stood in quotes is not to be seen any more, so that only those are taken that come out the same.
fn has_plain_keys(fields: &Map<String, Value>) -> bool {
    fields.iter().all(|(key, value)| {
        let is_integer = key.parse::<i64>().is_ok_and(|number| number.to_string() == *key);
        (is_integer || reads_as_text(key)) && has_plain_keys_below(value)
    })
}

fn has_plain_keys_below(value: &Value) -> bool {
    match value {
        Value::Object(fields) => has_plain_keys(fields),
        Value::Array(items) => items.iter().all(has_plain_keys_below),
        _ => true,
    }
}

/// Begins with a letter, as no number and no time does, and is none of YAML's words.
fn reads_as_text(key: &str) -> bool {
    let bare = key.trim_start_matches(['.', '-', '_', '/']);
    let is_word = ["y", "n", "yes", "no", "on", "off", "null", "inf", "nan"].contains(&bare.to_lowercase().as_str());
    bare.starts_with(char::is_alphabetic) && !is_word
}

/// Maps are merged, everything else is replaced.
fn merge(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Object(below)), Value::Object(fields)) => merge(below, fields),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// A single value for a path, as `helm --set` reads it. Its lists and escapes are not understood here.
fn flat_value(text: &str, literal: bool) -> Option<Value> {
    if literal {
        return Some(json!(text));
    }
    let quoted = |quote: char| text.starts_with(quote) && text.ends_with(quote);
    let is_quoted = quoted('\'') || quoted('"');
    let text = if is_quoted { text.trim_matches(['\'', '"']) } else { text };
    if text.contains([',', '\\']) || text.starts_with('{') {
        return None;
    }
    let number = || text.parse::<i64>().ok().filter(|_| text == "0" || !text.starts_with('0'));
    Some(match text.to_ascii_lowercase().as_str() {
        _ if is_quoted => json!(text),
        "true" => json!(true),
        "false" => json!(false),
        "null" => Value::Null,
        _ => number().map_or_else(|| json!(text), |number| json!(number)),
    })
}

/// Sets a value at a path of plain names joined by points. `None` when the path is of another kind or leads nowhere.
fn set_at(values: &mut Map<String, Value>, path: &str, value: Value) -> Option<()> {
    if path.contains(['[', '\\', '=', ',']) || path.split('.').any(str::is_empty) {
        return None;
    }
    let (folders, name) = path.rsplit_once('.').map_or((None, path), |(folders, name)| (Some(folders), name));
    let mut at = values;
    for folder in folders.into_iter().flat_map(|folders| folders.split('.')) {
        at = at.entry(folder).or_insert_with(|| json!({})).as_object_mut()?;
    }
    at.insert(name.to_owned(), value);
    Some(())
}

/// Go holds every number as a float64, and no map as an empty one.
pub(super) fn same_values(one: &Map<String, Value>, other: &Map<String, Value>) -> bool {
    one.len() == other.len() && one.iter().all(|(key, value)| other.get(key).is_some_and(|other| is_same(value, other)))
}

fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => same_values(one, other),
        _ => one == other,
    }
}
