//! The canonical form of an object: the bytes that are hashed, stored and compared.
//!
//! In: one item of a list, as the API server wrote it. Out: the same object with sorted keys, no blanks, and
//! `apiVersion` and `kind` present (items of built-in types lack them). Invariants: parsing both gives the same value;
//! numbers keep their text (`1.0`, `1e5` and 2^63 stay as they are); the same object always gives the same bytes,
//! whichever way its strings were escaped on the wire.

use serde::Deserialize;

use super::sorted_json::{Fault, MAX_DEPTH, Sorted, sorted};

/// What names an object and its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectIdentity {
    /// Namespace, or `None` for what has none.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// resourceVersion.
    pub resource_version: String,
}

/// An object that cannot be brought into its canonical form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    /// The text is no JSON object with `metadata.name`.
    #[error("an object of kind `{kind}` is not a JSON object with metadata.name")]
    NotAnObject {
        /// Its kind.
        kind: String,
    },
    /// Nested deeper than any real object.
    #[error("an object of kind `{kind}` is nested deeper than {limit} levels")]
    TooDeep {
        /// Its kind.
        kind: String,
        /// The limit.
        limit: usize,
    },
}

/// Sorts the keys, puts `apiVersion` and `kind` in where they are missing, alters nothing else. The item must be valid
/// JSON, as a `RawValue` is.
///
/// # Errors
/// The item is no object with `metadata.name`, or nested too deep.
pub fn canonical_object(
    item: &str,
    api_version: &str,
    kind: &str,
) -> Result<(ObjectIdentity, Vec<u8>), CanonicalError> {
    let not_an_object = || CanonicalError::NotAnObject { kind: kind.to_owned() };
    let explain = |fault| match fault {
        Fault::TooDeep => CanonicalError::TooDeep { kind: kind.to_owned(), limit: MAX_DEPTH },
        Fault::Malformed => not_an_object(),
    };
    let defaults = [("apiVersion", api_version), ("kind", kind)];
    // The rest, which is most of it, need not be read once more to learn the name.
    let Sorted { text: bytes, value } = sorted(item.as_bytes(), &defaults, "metadata").map_err(explain)?;
    let Ok(metadata) = serde_json::from_slice::<Metadata<'_>>(&value) else {
        return Err(not_an_object());
    };
    let name = metadata.name.filter(|name| !name.is_empty()).ok_or_else(not_an_object)?;
    let text = |text: Option<std::borrow::Cow<'_, str>>| text.unwrap_or_default().into_owned();
    let identity = ObjectIdentity {
        namespace: metadata.namespace.filter(|namespace| !namespace.is_empty()).map(std::borrow::Cow::into_owned),
        name: name.into_owned(),
        uid: text(metadata.uid),
        resource_version: text(metadata.resource_version),
    };
    Ok((identity, bytes))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    #[serde(borrow)]
    name: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow)]
    namespace: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow)]
    uid: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow)]
    resource_version: Option<std::borrow::Cow<'a, str>>,
}

#[cfg(test)]
mod tests {
    use super::{CanonicalError, MAX_DEPTH, canonical_object};
    use proptest::prelude::*;
    use serde_json::Value;

    fn canonical(item: &str) -> String {
        String::from_utf8(canonical_object(item, "v1", "ConfigMap").unwrap().1).unwrap()
    }

    #[test]
    fn keys_are_sorted_and_what_a_built_in_item_lacks_is_put_in() {
        let (identity, bytes) = canonical_object(
            r#" { "metadata" : {"resourceVersion":"7","uid":"u","namespace":"n","name":"a"}, "data":{"b":"1","a":"2"}, "é":[ 1 , {} , [ ] ] } "#,
            "v1",
            "ConfigMap",
        )
        .unwrap();
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            r#"{"apiVersion":"v1","data":{"a":"2","b":"1"},"kind":"ConfigMap","metadata":{"name":"a","namespace":"n","resourceVersion":"7","uid":"u"},"é":[1,{},[]]}"#
        );
        assert_eq!((identity.namespace.as_deref(), identity.name.as_str()), (Some("n"), "a"));
        assert_eq!((identity.uid.as_str(), identity.resource_version.as_str()), ("u", "7"));
        let own = r#"{"apiVersion":"x/v2","kind":"Y","metadata":{"name":"a"}}"#;
        assert_eq!(canonical(own), own);
    }

    #[test]
    fn numbers_keep_their_text() {
        let spec = r#"{"a":1e5,"b":9223372036854775808,"c":1.0,"d":-0,"e":0.30000000000000004,"f":1E+2}"#;
        let item = format!(r#"{{"apiVersion":"v1","kind":"K","metadata":{{"name":"a"}},"spec":{spec}}}"#);
        assert_eq!(canonical(&item), item);
    }

    #[test]
    fn the_same_string_has_one_form() {
        let item = |text: &str| canonical(&format!(r#"{{"metadata":{{"name":"a"}},"s":"{text}"}}"#));
        assert_eq!(item(r"\u003cb\u003e \u00e9 \/"), item("<b> é /"));
        assert!(item(r"\u003c").contains("\"<\""));
        assert!(item(r#"a\"b\\\n"#).contains(r#""a\"b\\\n""#));
        assert!(item(r"\ud800").contains(r"\ud800"), "half a pair stays");
    }

    #[test]
    fn keys_that_need_escapes_sort_by_what_they_mean() {
        let item = r#"{"metadata":{"name":"a"},"spec":{"b":1,"\"":2,"\\":3,"\u0061":4}}"#;
        assert!(canonical(item).contains(r#""spec":{"\"":2,"\\":3,"a":4,"b":1}"#), "{}", canonical(item));
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for item in
            ["", "[]", "null", "{}", r#"{"metadata":{}}"#, r#"{"metadata":{"name":""}}"#, r#"{"metadata":{"name":"a"}"#]
        {
            let found = canonical_object(item, "v1", "K");
            assert!(matches!(found, Err(CanonicalError::NotAnObject { .. })), "{item}: {found:?}");
        }
        let deep = |levels: usize| {
            format!(r#"{{"metadata":{{"name":"a"}},"s":{}{}}}"#, "[".repeat(levels), "]".repeat(levels))
        };
        assert!(canonical_object(&deep(100), "v1", "K").is_ok());
        assert!(matches!(canonical_object(&deep(MAX_DEPTH), "v1", "K"), Err(CanonicalError::TooDeep { .. })));
    }

    fn json() -> impl Strategy<Value = Value> {
        let number = prop_oneof![
            any::<i64>().prop_map(|number| number.to_string()),
            any::<u64>().prop_map(|number| number.to_string()),
            any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(|number| format!("{number:e}")),
            Just("123456789012345678901234567890".to_owned()),
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            number.prop_map(|text| serde_json::from_str(&text).unwrap()),
            any::<String>().prop_map(Value::String),
        ];
        leaf.prop_recursive(5, 60, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
                prop::collection::vec((any::<String>(), inner), 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_value_stays_and_so_does_the_form(
            members in prop::collection::vec((any::<String>(), json()), 0..6),
            pretty in any::<bool>(),
            backwards in any::<bool>(),
        ) {
            let mut members: Vec<(String, Value)> = members
                .into_iter()
                .filter(|(key, _)| !["apiVersion", "kind", "metadata"].contains(&key.as_str()))
                .collect();
            members.push(("metadata".to_owned(), serde_json::json!({"name": "a"})));
            members.sort_by(|a, b| a.0.cmp(&b.0));
            members.dedup_by(|a, b| a.0 == b.0);
            if backwards {
                members.reverse();
            }
            let text: Vec<String> = members
                .iter()
                .map(|(key, value)| {
                    let key = serde_json::to_string(key).unwrap();
                    let value = if pretty { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
                    format!("{key}:{}", value.unwrap())
                })
                .collect();
            let item = format!("{{{}}}", text.join(","));
            let mut wanted: Value = serde_json::from_str(&item).unwrap();
            wanted["apiVersion"] = "v1".into();
            wanted["kind"] = "ConfigMap".into();
            let found = canonical(&item);
            prop_assert_eq!(serde_json::from_str::<Value>(&found).unwrap(), wanted.clone());
            // A `Value` keeps its keys sorted, so its own text is the form that is wanted.
            prop_assert_eq!(&found, &serde_json::to_string(&wanted).unwrap());
            prop_assert_eq!(canonical(&found), found);
        }
    }
}
