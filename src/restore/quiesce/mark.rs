//! What an object looks like while a transaction holds it, and the marks by which a person sees that.
//!
//! In: an object, and what the journal says it was. Out: the same object held: it says by which transaction and what it
//! was before, and does nothing. Pure. Invariants: holding what is held already changes nothing; the marks are written
//! with the very request that stops it, so that nothing is ever stopped without saying so (I8).

use serde_json::{Map, Value, json};

use crate::journal::{Held, Prior};
use crate::store::SnapshotTree;

use super::super::error::RestoreError;
use super::super::object;

/// The transaction that holds the object.
pub const HELD_BY: &str = "snapback.io/held-by";

/// How many replicas it had, or `unset`.
pub const HELD_REPLICAS: &str = "snapback.io/held-replicas";
/// What `spec.paused` was: `true`, `false` or `unset`.
pub const HELD_PAUSED: &str = "snapback.io/held-paused";
/// The field was not there.
const UNSET: &str = "unset";
/// Every mark.
const MARKS: [&str; 3] = [HELD_BY, HELD_REPLICAS, HELD_PAUSED];

/// Makes of an object what it looks like while the transaction holds it. An APIService is not there then.
pub(super) fn overlay(item: &Held, was: &Prior, transaction: &str, value: &mut Value) {
    if matches!(item, Held::ApiService { .. }) {
        return;
    }
    let was = match was {
        // Nobody wrote down what it was: whoever holds it first does so here.
        Prior::Absent if holder(value) == Some(transaction) => None,
        Prior::Absent => Some(now(item, value)),
        known => Some(known.clone()),
    };
    match was {
        Some(Prior::Replicas(number)) => annotate(value, HELD_REPLICAS, or_unset(number)),
        Some(Prior::Paused(paused)) => annotate(value, HELD_PAUSED, or_unset(paused)),
        Some(Prior::Content(_) | Prior::Absent) | None => {}
    }
    annotate(value, HELD_BY, transaction.to_owned());
    match item {
        Held::Deployment { .. } | Held::StatefulSet { .. } => object::set(value, "/spec", "replicas", json!(0)),
        Held::ClusterApi { .. } => object::set(value, "/spec", "paused", json!(true)),
        // The API server leaves an empty list out of its answers.
        Held::MutatingWebhook { .. } | Held::ValidatingWebhook { .. } => drop(object::remove(value, "", "webhooks")),
        Held::ApiService { .. } => {}
    }
}

/// It was not there before, and only all of it would say how it was: what is there now stays as it is. What comes back
/// during the restore comes back held.
pub(super) fn stays(item: &Held, was: &Prior) -> bool {
    let told_by_content =
        matches!(item, Held::MutatingWebhook { .. } | Held::ValidatingWebhook { .. } | Held::ApiService { .. });
    told_by_content && *was == Prior::Absent
}

/// Takes off what holds the object, and nothing else: what does so comes from `target`.
pub(super) fn let_go(item: &Held, value: &mut Value, target: &Value) {
    let (parent, key) = match item {
        Held::Deployment { .. } | Held::StatefulSet { .. } => ("/spec", "replicas"),
        Held::ClusterApi { .. } => ("/spec", "paused"),
        Held::MutatingWebhook { .. } | Held::ValidatingWebhook { .. } => ("", "webhooks"),
        Held::ApiService { .. } => return,
    };
    match target.pointer(parent).and_then(|parent| parent.get(key)) {
        Some(wanted) => object::set(value, parent, key, wanted.clone()),
        None => drop(object::remove(value, parent, key)),
    }
    unmark(value);
}

/// What has to be known of an object as it was in order to let go of it: the journal says it, or else the marks do.
pub(super) fn told(was: &Prior, value: &Value) -> Value {
    let parsed = |key: &str| mark(value, key).and_then(|text| serde_json::from_str::<Value>(text).ok());
    let (key, told) = match was {
        Prior::Replicas(number) => ("replicas", number.map(Value::from)),
        Prior::Paused(paused) => ("paused", paused.map(Value::from)),
        Prior::Content(_) => return json!({}),
        Prior::Absent => match parsed(HELD_REPLICAS) {
            Some(number) => ("replicas", Some(number)),
            None => ("paused", parsed(HELD_PAUSED)),
        },
    };
    told.map_or_else(|| json!({}), |told| json!({"spec": {key: told}}))
}

/// Takes the marks off.
pub(super) fn unmark(value: &mut Value) {
    for mark in MARKS {
        object::remove(value, "/metadata/annotations", mark);
    }
    object::remove_empty(value, "/metadata", "annotations");
}

/// Which of these things bear a transaction's mark in a tree, with the transaction.
///
/// # Errors
/// The tree cannot be read.
pub async fn marked(tree: &SnapshotTree, items: &[Held]) -> Result<Vec<(Held, String)>, RestoreError> {
    let mut found = Vec::new();
    for item in items {
        let path = item.object_path().to_tree_path();
        let Some(bytes) = tree.read(&path).await? else { continue };
        if let Some(holder) = holder(&object::parse(&path, &bytes)?) {
            found.push((item.clone(), holder.to_owned()));
        }
    }
    Ok(found)
}

/// The transaction that holds the object.
pub(super) fn holder(value: &Value) -> Option<&str> {
    mark(value, HELD_BY)
}

fn mark<'a>(value: &'a Value, mark: &str) -> Option<&'a str> {
    value.pointer("/metadata/annotations")?.get(mark)?.as_str()
}

/// What an object says itself that it is; webhooks and APIServices are told by their whole content, which is not here.
pub(super) fn now(item: &Held, value: &Value) -> Prior {
    match item {
        Held::Deployment { .. } | Held::StatefulSet { .. } => {
            Prior::Replicas(value.pointer("/spec/replicas").and_then(Value::as_i64))
        }
        Held::ClusterApi { .. } => Prior::Paused(value.pointer("/spec/paused").and_then(Value::as_bool)),
        Held::MutatingWebhook { .. } | Held::ValidatingWebhook { .. } | Held::ApiService { .. } => Prior::Absent,
    }
}

fn or_unset(value: Option<impl ToString>) -> String {
    value.map_or_else(|| UNSET.to_owned(), |value| value.to_string())
}

fn annotate(value: &mut Value, key: &str, text: String) {
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        let annotations = metadata.entry("annotations").or_insert_with(|| Value::Object(Map::new()));
        if !annotations.is_object() {
            *annotations = Value::Object(Map::new());
        }
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(key.to_owned(), Value::String(text));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{let_go, now, overlay, told};
    use crate::journal::{Held, Prior};

    fn deployment() -> Held {
        Held::Deployment { namespace: "a".to_owned(), name: "b".to_owned() }
    }

    fn cluster() -> Held {
        Held::ClusterApi { namespace: "a".to_owned(), name: "b".to_owned() }
    }

    #[test]
    fn a_held_object_says_by_whom_and_what_the_journal_says_it_was() {
        let mut value = json!({"metadata": {"name": "b"}, "spec": {"replicas": 7, "paused": false}});
        for was in [Prior::Replicas(Some(3)), Prior::Absent] {
            overlay(&deployment(), &was, "t1", &mut value);
            let marks = json!({"snapback.io/held-by": "t1", "snapback.io/held-replicas": "3"});
            let spec = json!({"replicas": 0, "paused": false});
            assert_eq!(value, json!({"metadata": {"name": "b", "annotations": marks}, "spec": spec}), "{was:?}");
            // Someone scaled it meanwhile: what it was before it was held stays.
            value["spec"]["replicas"] = json!(9);
        }
    }

    #[test]
    fn without_a_snapshot_of_it_the_journal_or_the_marks_tell_how_to_let_go() {
        for (item, spec) in [
            (deployment(), json!({"replicas": 3})),
            (deployment(), json!({"other": 1})),
            (cluster(), json!({"paused": false})),
            (cluster(), json!({"other": 1})),
        ] {
            let before = json!({"metadata": {"name": "b"}, "spec": spec});
            for was in [now(&item, &before), Prior::Absent] {
                let mut value = before.clone();
                overlay(&item, &was, "t1", &mut value);
                assert_ne!(value, before);
                let told = told(&was, &value);
                let_go(&item, &mut value, &told);
                assert_eq!(value, before, "{was:?}");
            }
        }
    }

    #[test]
    fn letting_go_undoes_it_and_nothing_else() {
        let webhooks = || json!({"webhooks": [{"name": "w"}]});
        let items = [
            (deployment(), json!({"spec": {"replicas": 3}})),
            (deployment(), json!({"spec": {}})),
            (cluster(), json!({"spec": {"paused": false}})),
            (cluster(), json!({"spec": {}})),
            (Held::MutatingWebhook { name: "b".to_owned() }, webhooks()),
            (Held::ValidatingWebhook { name: "b".to_owned() }, webhooks()),
        ];
        for (item, mut target) in items {
            target["metadata"] = json!({"name": "b"});
            let mut value = target.clone();
            overlay(&item, &now(&item, &target), "t1", &mut value);
            assert_ne!(value, target, "{item}");
            value["metadata"]["labels"] = json!({"mine": "1"});
            let_go(&item, &mut value, &target);
            let mut expected: Value = target.clone();
            expected["metadata"]["labels"] = json!({"mine": "1"});
            assert_eq!(value, expected, "{item}");
        }
    }
}
