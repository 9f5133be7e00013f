//! An object as YAML that kubectl reads back as the same object.
//!
//! In: a JSON value. Out: YAML text. Invariants: what a YAML 1.1 reader (Go's, in kubectl and Helm) would take for
//! another type is quoted; numbers are written as integers where they are integers, of any size that JSON objects of
//! Kubernetes can have; text that the YAML form would change is written as JSON, which is YAML too.

use serde::Serialize;
use serde::ser::{SerializeMap as _, SerializeSeq as _, Serializer};
use serde_json::{Number, Value};

/// Writes one document, with a line feed at its end and no `---` in front.
pub fn to_yaml(value: &Value) -> String {
    let options = serde_saphyr::ser_options! {
        // Folding (`>-`) joins lines when it is read: only literal blocks keep text as it is to the eye.
        folded_wrap_chars: usize::MAX,
        prefer_block_scalars: true,
    };
    match serde_saphyr::to_string_with_options(&Yaml(value), options) {
        Ok(text) if reads_back(&text, value) => text,
        _ => format!("{value:#}\n"),
    }
}

/// The one check that matters: reading gives the object again.
fn reads_back(text: &str, value: &Value) -> bool {
    serde_saphyr::from_str::<Value>(text).is_ok_and(|read| same(&read, value))
}

/// Equal but for the spelling of numbers, which have no types in JSON.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left == right || left.as_f64() == right.as_f64(),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(key, value)| right.get(key).is_some_and(|other| same(value, other)))
        }
        _ => left == right,
    }
}

/// A JSON value that serializes to plain scalars: with `arbitrary_precision` serde_json's own numbers would come out
/// as maps with a private key.
struct Yaml<'a>(&'a Value);

impl Serialize for Yaml<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Number(value) => number(value, serializer),
            Value::String(value) => serializer.serialize_str(value),
            Value::Array(items) => {
                let mut sequence = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    sequence.serialize_element(&Yaml(item))?;
                }
                sequence.end()
            }
            Value::Object(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                for (key, value) in fields {
                    map.serialize_entry(key, &Yaml(value))?;
                }
                map.end()
            }
        }
    }
}

fn number<S: Serializer>(number: &Number, serializer: S) -> Result<S::Ok, S::Error> {
    if let Some(value) = number.as_i128() {
        return serializer.serialize_i128(value);
    }
    match number.as_f64() {
        Some(value) => serializer.serialize_f64(value),
        None => Err(serde::ser::Error::custom("a number that YAML has no place for")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::to_yaml;

    fn yaml(json: &str) -> String {
        to_yaml(&serde_json::from_str::<Value>(json).unwrap())
    }

    #[test]
    fn what_go_would_take_for_another_type_is_quoted() {
        for text in
            ["no", "on", "y", "1_000", "1:30", "2001-01-01", "0123", "1e3", "null", "~", "", "<<", "0x1f", "- a"]
        {
            let value = Value::String(text.to_owned());
            let written = to_yaml(&serde_json::json!({ "a": value }));
            assert!(written.starts_with("a: '") || written.starts_with("a: \""), "{text}: {written}");
        }
    }

    #[test]
    fn numbers_beyond_2_to_the_53_keep_every_digit() {
        assert_eq!(
            yaml(r#"{"a":9223372036854775807,"b":-9007199254740993,"c":1.5}"#),
            "a: 9223372036854775807\nb: -9007199254740993\nc: 1.5\n"
        );
    }

    #[test]
    fn text_of_several_lines_is_a_literal_block() {
        assert_eq!(yaml(r#"{"a":"one\n  two\n","b":["x"]}"#), "a: |\n  one\n    two\nb:\n- x\n");
    }

    #[test]
    fn awkward_text_reads_back_the_same() {
        for text in [
            "a \nb",
            "\ta\n",
            " a\nb",
            "\n",
            "\n\n",
            "a\n\n",
            "a\r\nb",
            "\u{0}",
            "\u{85}\u{2028}",
            "#",
            "a: b",
            "x ".repeat(90).as_str(),
            "\u{feff}a",
            "'\"",
            "\n a\n",
        ] {
            let value = serde_json::json!({"data": {"key": text, text: "value"}});
            let written = to_yaml(&value);
            let read: Value =
                serde_saphyr::from_str(&written).unwrap_or_else(|error| panic!("{text:?}: {error}\n{written}"));
            assert_eq!(read, value, "{text:?}");
        }
    }
}
