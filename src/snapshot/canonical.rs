//! The canonical form of an object: the bytes that are hashed, stored and compared.
//!
//! In: one item of a list, as the API server wrote it. Out: the same object with sorted keys, no blanks, and
//! `apiVersion` and `kind` present (items of built-in types lack them). Invariants: parsing both gives the same value;
//! numbers keep their text (`1.0`, `1e5` and 2^63 stay as they are); the same object always gives the same bytes,
//! whichever way its strings were escaped on the wire.
//!
//! One pass writes the output and remembers where each member of an object lies; only members that were out of order
//! are moved. That is several times faster than a `Value`, and it is on the way of every byte of a capture.

use serde::Deserialize;

/// Deeper than any real object: the API server refuses CRD schemas and objects long before this. It bounds recursion.
const MAX_DEPTH: usize = 512;

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
    let mut writer = Writer::new(item.as_bytes());
    writer.object(0, Some((api_version, kind))).map_err(explain)?;
    let Writer { out: bytes, metadata, .. } = writer;
    let Ok(metadata) = serde_json::from_slice::<Metadata<'_>>(&metadata) else {
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

enum Fault {
    Malformed,
    TooDeep,
}

/// Where a member of an object lies in the output: its key begins at `start` (with the quote), ends at `key_end`
/// (behind the quote), and its value ends at `end`.
#[derive(Clone, Copy)]
struct Member {
    start: usize,
    key_end: usize,
    end: usize,
}

struct Writer<'a> {
    text: &'a [u8],
    at: usize,
    out: Vec<u8>,
    /// Members of all objects that are open, the innermost one's last.
    members: Vec<Member>,
    /// Reused where members are moved.
    sorted: Vec<u8>,
    /// The outermost object's `metadata`: the rest need not be read once more to learn the name.
    metadata: Vec<u8>,
}

impl<'a> Writer<'a> {
    fn new(text: &'a [u8]) -> Self {
        let out = Vec::with_capacity(text.len() + 64);
        Self { text, at: 0, out, members: Vec::with_capacity(64), sorted: Vec::new(), metadata: Vec::new() }
    }

    /// The next byte that is not blank, without taking it.
    fn peek(&mut self) -> Result<u8, Fault> {
        loop {
            match self.text.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                Some(byte) => return Ok(*byte),
                None => return Err(Fault::Malformed),
            }
        }
    }

    fn expect(&mut self, wanted: u8) -> Result<(), Fault> {
        if self.peek()? != wanted {
            return Err(Fault::Malformed);
        }
        self.at += 1;
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<(), Fault> {
        match self.peek()? {
            b'{' => self.object(depth, None),
            b'[' => self.array(depth),
            b'"' => self.string(),
            _ => {
                let rest = self.text.get(self.at..).unwrap_or_default();
                let length = rest
                    .iter()
                    .position(|byte| matches!(byte, b',' | b']' | b'}' | b':' | b' ' | b'\n' | b'\r' | b'\t'))
                    .unwrap_or(rest.len());
                if length == 0 {
                    return Err(Fault::Malformed);
                }
                self.out.extend_from_slice(rest.get(..length).unwrap_or_default());
                self.at += length;
                Ok(())
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), Fault> {
        if depth >= MAX_DEPTH {
            return Err(Fault::TooDeep);
        }
        self.expect(b'[')?;
        self.out.push(b'[');
        if self.peek()? == b']' {
            self.at += 1;
            self.out.push(b']');
            return Ok(());
        }
        loop {
            self.value(depth + 1)?;
            let byte = self.peek()?;
            self.at += 1;
            self.out.push(byte);
            match byte {
                b',' => {}
                b']' => return Ok(()),
                _ => return Err(Fault::Malformed),
            }
        }
    }

    /// `identity` is put in where the (outermost) object lacks it.
    fn object(&mut self, depth: usize, identity: Option<(&str, &str)>) -> Result<(), Fault> {
        if depth >= MAX_DEPTH {
            return Err(Fault::TooDeep);
        }
        self.expect(b'{')?;
        self.out.push(b'{');
        let base = self.members.len();
        if self.peek()? == b'}' {
            self.at += 1;
        } else {
            loop {
                self.peek()?;
                let start = self.out.len();
                self.string()?;
                let key_end = self.out.len();
                self.expect(b':')?;
                self.out.push(b':');
                self.value(depth + 1)?;
                self.members.push(Member { start, key_end, end: self.out.len() });
                let byte = self.peek()?;
                self.at += 1;
                match byte {
                    b',' => self.out.push(b','),
                    b'}' => break,
                    _ => return Err(Fault::Malformed),
                }
            }
        }
        if let Some((api_version, kind)) = identity {
            self.add_missing(base, "apiVersion", api_version);
            self.add_missing(base, "kind", kind);
        }
        if identity.is_some() {
            let mut members = self.members.get(base..).unwrap_or_default().iter();
            let found = members.find(|member| self.key(member) == b"metadata");
            let value = found.and_then(|member| self.out.get(member.key_end + 1..member.end));
            self.metadata = value.unwrap_or_default().to_vec();
        }
        self.sort_members(base);
        self.members.truncate(base);
        self.out.push(b'}');
        Ok(())
    }

    fn key(&self, member: &Member) -> &[u8] {
        self.out.get(member.start + 1..member.key_end - 1).unwrap_or_default()
    }

    fn add_missing(&mut self, base: usize, key: &str, value: &str) {
        let members = self.members.get(base..).unwrap_or_default();
        if members.iter().any(|member| self.key(member) == key.as_bytes()) {
            return;
        }
        if !members.is_empty() {
            self.out.push(b',');
        }
        let start = self.out.len();
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.push(b'"');
        let key_end = self.out.len();
        self.out.push(b':');
        // Writing a string to memory cannot fail.
        let _ = serde_json::to_writer(&mut self.out, value);
        self.members.push(Member { start, key_end, end: self.out.len() });
    }

    /// Puts the members written since `base` in the order of their keys.
    fn sort_members(&mut self, base: usize) {
        let members = self.members.get(base..).unwrap_or_default();
        let [first, .., last] = members else { return };
        let whole = first.start..last.end;
        if members.iter().any(|member| self.key(member).contains(&b'\\')) {
            // Escaped and plain text sort differently; such keys are rare.
            let decode = |member: &Member| {
                let key = self.out.get(member.start..member.key_end).unwrap_or_default();
                serde_json::from_slice::<String>(key).unwrap_or_else(|_| String::from_utf8_lossy(key).into_owned())
            };
            let mut order: Vec<_> = members.iter().map(|member| (decode(member), *member)).collect();
            order.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
            let order: Vec<_> = order.into_iter().map(|(_, member)| member).collect();
            return self.rewrite(whole, &order);
        }
        if members.is_sorted_by(|a, b| self.key(a) <= self.key(b)) {
            return;
        }
        let mut order = members.to_vec();
        order.sort_by(|a, b| self.key(a).cmp(self.key(b)));
        self.rewrite(whole, &order);
    }

    fn rewrite(&mut self, whole: std::ops::Range<usize>, order: &[Member]) {
        self.sorted.clear();
        for (index, member) in order.iter().enumerate() {
            if index > 0 {
                self.sorted.push(b',');
            }
            self.sorted.extend_from_slice(self.out.get(member.start..member.end).unwrap_or_default());
        }
        // Members and commas are the same bytes in another order, so the length is the same.
        self.out.truncate(whole.start);
        self.out.extend_from_slice(&self.sorted);
    }

    /// Copies a string. Only `\u` and `\/` have more than one way to be written: such a string is decoded and written
    /// anew. (Half a surrogate pair cannot be decoded; it stays as it is.)
    fn string(&mut self) -> Result<(), Fault> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let mut length = 1;
        let mut ambiguous = false;
        loop {
            let tail = rest.get(length..).unwrap_or_default();
            length += memchr::memchr2(b'"', b'\\', tail).ok_or(Fault::Malformed)? + 1;
            if rest.get(length - 1) == Some(&b'"') {
                break;
            }
            ambiguous |= matches!(rest.get(length), Some(b'u' | b'/'));
            length += 1;
        }
        let raw = rest.get(..length).filter(|raw| raw.first() == Some(&b'"')).ok_or(Fault::Malformed)?;
        self.at += length;
        match ambiguous.then(|| serde_json::from_slice::<String>(raw)) {
            // Writing a string to memory cannot fail.
            Some(Ok(decoded)) => drop(serde_json::to_writer(&mut self.out, &decoded)),
            _ => self.out.extend_from_slice(raw),
        }
        Ok(())
    }
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
