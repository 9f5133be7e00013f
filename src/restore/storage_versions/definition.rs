//! What a CRD says of how its objects are stored, and the union of several forms of one CRD.
//!
//! Pure. In: CRDs as the API server gives them. Out: facts, and the body of a union: the wanted CRD's versions with its
//! storage version, and every version that another form of it has besides, so that whatever is stored can be read.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::restore::address::{CRD_GROUP, CRD_RESOURCE, TypeAddress};
use crate::restore::object;
use crate::snapshot::ObjectPath;
use crate::store::ContentHash;

/// On a CRD that is such a union: the hash of the spec that it leads to. A run that knows nothing of the one before it
/// sees by it how far that one came.
const UNION_MARK: &str = "snapback/union-towards";

/// A CRD.
#[derive(Clone, Copy, Debug)]
pub(super) struct Definition<'a>(&'a Value);

/// A CRD at one state of its spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct At {
    uid: String,
    generation: String,
}

/// How much of the schemas of versions that will go a union carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Schemas {
    /// All of them.
    Whole,
    /// One that takes everything, for a union that would not fit into etcd.
    Open,
}

impl<'a> Definition<'a> {
    pub(super) fn of(crd: &'a Value) -> Self {
        Self(crd)
    }

    fn text(self, pointer: &str) -> &'a str {
        object::text(self.0, pointer).unwrap_or_default()
    }

    pub(super) fn name(self) -> &'a str {
        object::name(self.0)
    }

    pub(super) fn group(self) -> &'a str {
        self.text("/spec/group")
    }

    pub(super) fn plural(self) -> &'a str {
        self.text("/spec/names/plural")
    }

    pub(super) fn kind(self) -> &'a str {
        self.text("/spec/names/kind")
    }

    fn is_namespaced(self) -> bool {
        self.text("/spec/scope") == "Namespaced"
    }

    fn versions(self) -> &'a [Value] {
        self.0.pointer("/spec/versions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    fn version(self, name: &str) -> Option<&'a Value> {
        self.versions().iter().find(|version| version_name(version) == name)
    }

    pub(super) fn version_names(self) -> BTreeSet<String> {
        self.versions().iter().map(|version| version_name(version).to_owned()).collect()
    }

    /// The version that objects are written in.
    pub(super) fn storage(self) -> &'a str {
        let storage = self.versions().iter().find(|version| version.get("storage") == Some(&Value::Bool(true)));
        storage.map(version_name).unwrap_or_default()
    }

    /// Versions whose objects can be read.
    pub(super) fn served(self) -> impl Iterator<Item = &'a str> {
        let served = |version: &&Value| version.get("served") == Some(&Value::Bool(true));
        self.versions().iter().filter(served).map(version_name)
    }

    pub(super) fn serves(self, version: &str) -> bool {
        self.served().any(|served| served == version)
    }

    /// Where the type is read so that as little as possible is converted.
    pub(super) fn read_version(self) -> Option<&'a str> {
        let storage = self.storage();
        if self.serves(storage) { Some(storage) } else { self.served().next() }
    }

    /// Versions that objects may be stored in, as the CRD says.
    pub(super) fn stored(self) -> Vec<String> {
        let known = self.version_names();
        let list = self.0.pointer("/status/storedVersions").and_then(Value::as_array);
        let stored = list.into_iter().flatten().filter_map(Value::as_str).filter(|name| known.contains(*name));
        let stored: Vec<String> = stored.map(str::to_owned).collect();
        if stored.is_empty() { vec![self.storage().to_owned()] } else { stored }
    }

    /// The same, and the version that objects are written in now: a list that somebody shortened says too little.
    pub(super) fn may_be_stored(self) -> BTreeSet<String> {
        self.stored().into_iter().chain([self.storage().to_owned()]).collect()
    }

    /// `None` or `Webhook`.
    pub(super) fn conversion(self) -> &'a str {
        object::text(self.0, "/spec/conversion/strategy").unwrap_or("None")
    }

    /// The schema that objects at this version must fit; `None` when they may hold anything.
    pub(super) fn schema(self, version: &str) -> Option<&'a Value> {
        if self.0.pointer("/spec/preserveUnknownFields") == Some(&Value::Bool(true)) {
            return None;
        }
        self.version(version)?.pointer("/schema/openAPIV3Schema")
    }

    pub(super) fn at(self) -> At {
        let generation = self.0.pointer("/metadata/generation").map(Value::to_string).unwrap_or_default();
        At { uid: object::uid(self.0), generation }
    }

    pub(super) fn is_terminating(self) -> bool {
        object::is_terminating(self.0)
    }

    /// Where in a snapshot it lies.
    pub(super) fn tree_path(self) -> ObjectPath {
        ObjectPath {
            group: CRD_GROUP.to_owned(),
            resource: CRD_RESOURCE.to_owned(),
            namespace: None,
            name: self.name().to_owned(),
        }
    }

    /// Its type at a version.
    pub(super) fn address(self, version: &str) -> TypeAddress {
        TypeAddress {
            group: self.group().to_owned(),
            version: version.to_owned(),
            resource: self.plural().to_owned(),
            kind: self.kind().to_owned(),
            namespaced: self.is_namespaced(),
            has_status: false,
            custom: true,
        }
    }

    /// What of the type's storage decides whether it is as it should be: whatever else differs is an ordinary update.
    pub(super) fn stores_like(self, wanted: Self) -> bool {
        self.mark().is_none()
            && self.version_names() == wanted.version_names()
            && self.storage() == wanted.storage()
            && self.conversion() == wanted.conversion()
            && is_within(&self.may_be_stored(), &wanted.stored())
    }

    /// It is the union that leads to `wanted` and has all of `needed` besides.
    pub(super) fn is_union_towards(self, wanted: Self, needed: &BTreeSet<String>) -> bool {
        let names = self.version_names();
        self.mark() == Some(mark_of(wanted).as_str())
            && self.conversion() == "None"
            && self.storage() == wanted.storage()
            && wanted.version_names().is_subset(&names)
            && needed.is_subset(&names)
    }

    /// A conversion is half-way, wherever it leads.
    pub(super) fn is_union(self) -> bool {
        self.mark().is_some()
    }

    fn mark(self) -> Option<&'a str> {
        self.0.pointer("/metadata/annotations")?.get(UNION_MARK)?.as_str()
    }
}

/// Putting the wanted CRD in the place of the live one takes more than an update: objects are, or may be, stored at a
/// version that the wanted one does not count among its own. A union that a run left behind says of no version that
/// nothing is stored at it.
pub(super) fn needs_conversion(live: &Value, wanted: &Value) -> bool {
    let (live, wanted) = (Definition::of(live), Definition::of(wanted));
    let left_behind = live.mark().is_some() && !live.version_names().is_subset(&wanted.version_names());
    left_behind || !is_within(&live.may_be_stored(), &wanted.stored())
}

/// Where all objects of a CRD's type are listed; `None` when no version of it is served.
pub(in crate::restore) fn list_url(crd: &Value) -> Option<String> {
    let definition = Definition::of(crd);
    definition.read_version().map(|version| definition.address(version).list_url(None))
}

/// The live CRD as the union of the wanted one and all other forms of it that are known, and of versions of which no
/// more than their names are known.
pub(super) fn union(
    live: &Value,
    wanted: &Value,
    others: &[Value],
    named: &BTreeSet<String>,
    schemas: Schemas,
) -> Value {
    let target = Definition::of(wanted);
    let mut versions: Vec<Value> = target.versions().to_vec();
    for version in &mut versions {
        // Objects are read and written at it meanwhile.
        if version_name(version) == target.storage() {
            object::set(version, "", "served", Value::Bool(true));
        }
    }
    let mut add = |mut version: Value| {
        if versions.iter().any(|known| version_name(known) == version_name(&version)) {
            return;
        }
        object::set(&mut version, "", "storage", Value::Bool(false));
        if schemas == Schemas::Open {
            object::set(&mut version, "", "schema", open_schema());
        }
        versions.push(version);
    };
    for other in std::iter::once(live).chain(others) {
        Definition::of(other).versions().iter().cloned().for_each(&mut add);
    }
    for name in named {
        add(json!({"name": name, "served": false, "storage": false, "schema": open_schema()}));
    }
    let mut union = live.clone();
    let mut spec = wanted.get("spec").cloned().unwrap_or_default();
    object::set(&mut spec, "", "versions", Value::Array(versions));
    object::set(&mut spec, "", "conversion", json!({"strategy": "None"}));
    object::set(&mut union, "", "spec", spec);
    if !union.pointer("/metadata/annotations").is_some_and(Value::is_object) {
        object::set(&mut union, "/metadata", "annotations", Value::Object(Map::new()));
    }
    object::set(&mut union, "/metadata/annotations", UNION_MARK, Value::String(mark_of(target)));
    union
}

/// The union that the first step of a conversion writes, for a dry run: small enough in any case.
pub(in crate::restore) fn first_union(live: &Value, wanted: &Value) -> Value {
    union(live, wanted, &[], &BTreeSet::new(), Schemas::Open)
}

fn open_schema() -> Value {
    json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}})
}

fn mark_of(wanted: Definition<'_>) -> String {
    let spec = wanted.0.get("spec").map(Value::to_string).unwrap_or_default();
    ContentHash::of(spec.as_bytes()).to_string()
}

fn version_name(version: &Value) -> &str {
    version.get("name").and_then(Value::as_str).unwrap_or_default()
}

/// Each of these is among those.
pub(super) fn is_within(these: &BTreeSet<String>, those: &[String]) -> bool {
    these.iter().all(|name| those.contains(name))
}
