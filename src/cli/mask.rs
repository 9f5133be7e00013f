//! What is secret in an object, and how it is shown instead (I10).
//!
//! Secret are: `data` and `stringData` of Secrets (Helm's release payload lies there), the `release` payload of
//! ConfigMaps named `sh.helm.release.v1.*` (Helm's other driver), and the annotation that `kubectl apply` leaves, which
//! repeats the object. A masked value shows its size; names of keys are shown.

use serde_json::Value;
use snapback::snapshot::ObjectPath;

/// What `kubectl apply` keeps of the object that was applied.
pub(crate) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// How Helm names what holds a release.
const HELM_RELEASE_PREFIX: &str = "sh.helm.release.v1.";

/// The object is a Secret, or a ConfigMap that Helm uses as one.
pub(crate) fn holds_secrets(place: &ObjectPath) -> bool {
    place.group.is_empty()
        && (place.resource == "secrets"
            || (place.resource == "configmaps" && place.name.starts_with(HELM_RELEASE_PREFIX)))
}

/// Masks what is secret in a whole object.
pub(crate) fn mask_object(place: &ObjectPath, object: &mut Value) {
    mask_field(place, "", object);
}

/// Masks what is secret in the value of one field (empty path: the whole object). True when anything was.
pub(crate) fn mask_field(place: &ObjectPath, path: &str, value: &mut Value) -> bool {
    let names = segments(path);
    let mut masked = false;
    let mut mask_at = |secret: &[&str], encoded: bool| {
        if names.len() >= secret.len() {
            // The field is the secret one, or lies inside of it.
            if names.iter().zip(secret).all(|(name, secret)| name == secret) {
                mask_leaves(value, encoded);
                masked = true;
            }
        } else if names.iter().zip(secret).all(|(name, secret)| name == secret)
            && let Some(inside) = descend(value, secret.get(names.len()..).unwrap_or_default())
        {
            mask_leaves(inside, encoded);
            masked = true;
        }
    };
    if holds_secrets(place) {
        mask_at(&["data"], place.resource == "secrets");
        mask_at(&["stringData"], false);
        mask_at(&["binaryData"], true);
    }
    mask_at(&["metadata", "annotations", LAST_APPLIED], false);
    masked
}

fn descend<'v>(value: &'v mut Value, names: &[&str]) -> Option<&'v mut Value> {
    names.iter().try_fold(value, |inside, name| inside.get_mut(*name))
}

fn mask_leaves(value: &mut Value, encoded: bool) {
    match value {
        Value::Null => {}
        Value::Array(items) => items.iter_mut().for_each(|item| mask_leaves(item, encoded)),
        Value::Object(fields) => fields.values_mut().for_each(|field| mask_leaves(field, encoded)),
        Value::String(text) => {
            let size = if encoded { decoded_size(text) } else { text.len() };
            *value = Value::String(format!("(masked, {size} bytes)"));
        }
        Value::Bool(_) | Value::Number(_) => *value = Value::String("(masked)".to_owned()),
    }
}

/// Bytes behind a base64 text.
fn decoded_size(text: &str) -> usize {
    text.trim_end_matches('=').len() * 3 / 4
}

/// The names along a field path such as `metadata.labels["a.b/c"]` or `spec.containers[0].image`.
pub(crate) fn segments(path: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix("[\"") {
            let mut name = String::new();
            let mut letters = quoted.char_indices();
            let mut end = quoted.len();
            while let Some((index, letter)) = letters.next() {
                match letter {
                    '\\' => name.extend(letters.next().map(|(_, letter)| letter)),
                    '"' => {
                        end = index;
                        break;
                    }
                    _ => name.push(letter),
                }
            }
            names.push(name);
            rest = quoted.get(end..).unwrap_or_default().strip_prefix("\"]").unwrap_or_default();
        } else if let Some(index) = rest.strip_prefix('[') {
            let (name, after) = index.split_once(']').unwrap_or((index, ""));
            names.push(name.to_owned());
            rest = after;
        } else {
            let text = rest.strip_prefix('.').unwrap_or(rest);
            let end = text.find(['.', '[']).unwrap_or(text.len());
            let (name, after) = text.split_at(end);
            names.push(name.to_owned());
            rest = after;
            if name.is_empty() && after.starts_with('.') {
                rest = after.get(1..).unwrap_or_default();
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn place(resource: &str, name: &str) -> ObjectPath {
        let namespace = Some("default".to_owned());
        ObjectPath { group: String::new(), resource: resource.to_owned(), namespace, name: name.to_owned() }
    }

    #[test]
    fn secrets_show_keys_and_sizes_only() {
        let mut secret =
            json!({"data": {"password": "aHVudGVyMg==", "n": null}, "stringData": {"a": "bc"}, "type": "Opaque"});
        mask_object(&place("secrets", "a"), &mut secret);
        assert_eq!(
            secret,
            json!({"data": {"password": "(masked, 7 bytes)", "n": null}, "stringData": {"a": "(masked, 2 bytes)"}, "type": "Opaque"})
        );
    }

    #[test]
    fn last_applied_is_masked_in_every_object_and_helm_payloads_in_config_maps() {
        let mut object =
            json!({"metadata": {"annotations": {LAST_APPLIED: "abc", "other": "kept"}}, "data": {"release": "x"}});
        mask_object(&place("configmaps", "a"), &mut object);
        assert_eq!(object["metadata"]["annotations"], json!({LAST_APPLIED: "(masked, 3 bytes)", "other": "kept"}));
        assert_eq!(object["data"]["release"], "x");
        mask_object(&place("configmaps", "sh.helm.release.v1.a.v1"), &mut object);
        assert_eq!(object["data"]["release"], "(masked, 1 bytes)");
    }

    #[test]
    fn a_field_is_masked_wherever_the_change_begins() {
        let annotation = format!("metadata.annotations[\"{LAST_APPLIED}\"]");
        for (path, value, shown) in [
            ("data", json!({"a": "YWI="}), json!({"a": "(masked, 2 bytes)"})),
            ("data.a", json!("YWI="), json!("(masked, 2 bytes)")),
            ("data[\"tls.crt\"]", json!("YWI="), json!("(masked, 2 bytes)")),
            (
                "metadata.annotations",
                json!({LAST_APPLIED: "x", "b": "c"}),
                json!({LAST_APPLIED: "(masked, 1 bytes)", "b": "c"}),
            ),
            (annotation.as_str(), json!("x"), json!("(masked, 1 bytes)")),
            ("dataset", json!("x"), json!("x")),
            ("metadata.labels.data", json!("x"), json!("x")),
            ("type", json!("Opaque"), json!("Opaque")),
        ] {
            let mut masked = value.clone();
            assert_eq!(mask_field(&place("secrets", "a"), path, &mut masked), masked != value, "{path}");
            assert_eq!(masked, shown, "{path}");
        }
    }

    #[test]
    fn paths_are_cut_into_names() {
        assert_eq!(segments("metadata.labels[\"a.b/c\"]"), ["metadata", "labels", "a.b/c"]);
        assert_eq!(segments("spec.containers[0].image"), ["spec", "containers", "0", "image"]);
        assert_eq!(segments(r#"data["a\"b"].c"#), ["data", "a\"b", "c"]);
        assert!(segments("").is_empty());
    }
}
