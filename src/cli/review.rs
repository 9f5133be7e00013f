//! A comparison as a change review: what each change means, with what is secret masked and noise told apart.

use serde_json::{Value, json};
use snapback::restore::{NeverRule, Reach, never_list};
use snapback::snapshot::{Change, ObjectPath, field_changes, is_noise};
use snapback::store::{SnapshotTree, TreeEntry, decode_name};

use super::error::Failure;
use super::exit::Exit;
use super::field_text::ShownField;
use super::mask;

/// What happened to a file from one side to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verb {
    /// Only on the second side.
    Added,
    /// On both, but not the same.
    Changed,
    /// Only on the first side.
    Removed,
}

impl Verb {
    /// The word in JSON.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Changed => "changed",
            Self::Removed => "removed",
        }
    }
}

/// One file that differs.
#[derive(Clone, Debug)]
pub(crate) struct Reviewed {
    /// Path inside the snapshots.
    pub(crate) path: String,
    /// The object, when it is one.
    pub(crate) object: Option<ObjectPath>,
    /// Its kind, such as `HelmRelease`; empty for what is no object.
    pub(crate) kind: String,
    /// What happened.
    pub(crate) verb: Verb,
    /// The fields of a changed object, noise included.
    pub(crate) fields: Vec<ShownField>,
    /// Bytes on the first side.
    pub(crate) before: Option<u64>,
    /// Bytes on the second side.
    pub(crate) after: Option<u64>,
    /// The rule of the never-list by which a restore leaves it alone, as it is on either side.
    pub(crate) untouched: Option<&'static NeverRule>,
}

impl Reviewed {
    /// Nothing but what changes by itself is different.
    pub(crate) fn is_noise(&self) -> bool {
        self.verb == Verb::Changed && !self.fields.is_empty() && self.fields.iter().all(|field| field.noise)
    }

    /// It is left out unless all is wanted: nothing but noise, or what a restore never touches.
    pub(crate) fn is_folded(&self) -> bool {
        self.is_noise() || self.untouched.is_some()
    }

    /// Namespace, or `None` for what has none.
    pub(crate) fn namespace(&self) -> Option<&str> {
        self.object.as_ref().and_then(|object| object.namespace.as_deref())
    }

    /// As it stands in a review: `HelmRelease cozy-proxy`.
    pub(crate) fn title(&self) -> String {
        match &self.object {
            Some(object) => format!("{} {}", self.kind, object.name),
            None => self.path.clone(),
        }
    }

    /// As JSON. Noise is left out unless all fields are wanted.
    pub(crate) fn document(&self, all_fields: bool) -> Value {
        let fields: Vec<Value> =
            self.fields.iter().filter(|field| all_fields || !field.noise).map(ShownField::document).collect();
        let object = self.object.as_ref();
        json!({
            "path": self.path,
            "change": self.verb.word(),
            "group": object.map(|object| &object.group),
            "resource": object.map(|object| &object.resource),
            "kind": object.map(|_| &self.kind),
            "namespace": self.namespace(),
            "name": object.map(|object| &object.name),
            "noiseOnly": self.is_noise(),
            "neverList": self.untouched.map(|rule| rule.name),
            "bytesBefore": self.before,
            "bytesAfter": self.after,
            "fields": fields,
        })
    }
}

/// Reads both sides of a change and says what it means.
pub(crate) async fn review(
    change: &Change,
    before: &SnapshotTree,
    after: &SnapshotTree,
    reveal: bool,
) -> Result<Reviewed, Failure> {
    let mut object = ObjectPath::parse(&change.path);
    let old = content(before, change.before.as_ref(), object.is_some()).await?;
    let new = content(after, change.after.as_ref(), object.is_some()).await?;
    let named = new.as_ref().or(old.as_ref());
    let kind = named.and_then(|object| object.get("kind")?.as_str()).unwrap_or_default().to_owned();
    // A name of over 200 bytes is cut in the path; the true one is inside.
    if let (Some(place), Some(name)) =
        (&mut object, named.and_then(|object| object.pointer("/metadata/name")?.as_str()))
    {
        name.clone_into(&mut place.name);
    }
    let verb = match (&change.before, &change.after) {
        (None, _) => Verb::Added,
        (_, None) => Verb::Removed,
        _ => Verb::Changed,
    };
    let fields = match (&object, &old, &new) {
        (Some(place), Some(old), Some(new)) => shown_fields(place, old, new, reveal),
        _ => Vec::new(),
    };
    let sides = [&old, &new].map(Option::as_ref);
    let untouched = object.as_ref().and_then(|place| untouched(place, sides.into_iter().flatten()));
    Ok(Reviewed {
        path: change.path.split('/').map(decode_name).collect::<Vec<_>>().join("/"),
        object,
        kind,
        verb,
        fields,
        before: change.before.as_ref().map(|entry| entry.size),
        after: change.after.as_ref().map(|entry| entry.size),
        untouched,
    })
}

/// The rule by which a restore would not touch it, whichever of the two sides it went back to.
fn untouched<'a>(place: &ObjectPath, mut sides: impl Iterator<Item = &'a Value> + Clone) -> Option<&'static NeverRule> {
    let mut rules = never_list().iter().filter(|rule| rule.reach == Reach::Untouched);
    rules.find(|rule| sides.clone().all(|side| rule.matches(place, side))).filter(|_| sides.next().is_some())
}

/// The changed fields of two versions of an object.
pub(crate) fn shown_fields(place: &ObjectPath, old: &Value, new: &Value, reveal: bool) -> Vec<ShownField> {
    field_changes(old, new)
        .into_iter()
        .map(|mut change| {
            let mut masked = false;
            if !reveal {
                for value in [&mut change.before, &mut change.after].into_iter().flatten() {
                    masked |= mask::mask_field(place, &change.path, value);
                }
            }
            let noise = is_noise(&change.path) || is_owner_uid(&change.path);
            ShownField { path: change.path, before: change.before, after: change.after, masked, noise }
        })
        .collect()
}

/// The UID in a reference to an owner that was made anew: its name stands beside it.
fn is_owner_uid(path: &str) -> bool {
    path.starts_with("metadata.ownerReferences[") && path.ends_with("].uid")
}

async fn content(tree: &SnapshotTree, entry: Option<&TreeEntry>, is_object: bool) -> Result<Option<Value>, Failure> {
    let Some(entry) = entry.filter(|_| is_object) else { return Ok(None) };
    let bytes = tree.blob(&entry.hash).await?;
    let value = serde_json::from_slice(&bytes)
        .map_err(|error| Failure::new(Exit::Damaged, format!("`{}` is not JSON", entry.name)).caused_by(&error))?;
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{ObjectPath, shown_fields};

    #[test]
    fn an_owner_under_a_new_uid_is_noise_and_another_owner_is_not() {
        let owner = |name: &str, uid: &str| json!({"metadata": {"ownerReferences": [{"name": name, "uid": uid}]}});
        let place = ObjectPath::parse("cluster/core/configmaps/a/b.json").unwrap();
        let noise = |before: &Value, after: &Value| -> Vec<bool> {
            shown_fields(&place, before, after, false).iter().map(|field| field.noise).collect()
        };
        assert_eq!(noise(&owner("a.b", "1"), &owner("a.b", "2")), [true]);
        assert_eq!(noise(&owner("a", "1"), &owner("b", "2")), [false, false]);
    }
}
