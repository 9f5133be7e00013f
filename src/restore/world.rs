//! Both sides of a restore: the live cluster and the wanted snapshot, and the types that the two know.
//!
//! In: two trees and discovery. Out: objects, addresses of types, and where the objects stand that others refer to.
//! Invariant: what is not selected was not captured, so it is asked of the API server instead of taken for missing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use futures::StreamExt as _;
use serde_json::Value;

use crate::cluster::{Cluster, ServedType, TypeOrigin, discover};
use crate::snapshot::{ObjectPath, Selection, TYPES_PATH, TypeNames, TypesDocument};
use crate::store::{ContentHash, SnapshotTree};

use super::address::{CRD_GROUP, CRD_RESOURCE, TypeAddress, crd_path};
use super::error::RestoreError;
use super::judge::{Neighbour, Neighbours};
use super::object;
use super::references::{Kinds, references};

/// Both sides.
pub(super) struct World<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) live: &'a SnapshotTree,
    pub(super) wanted: &'a SnapshotTree,
    pub(super) selection: Selection,
    pub(super) doomed: Doomed,
    kinds: Kinds,
    served: BTreeMap<(String, String), ServedType>,
    returning: BTreeMap<(String, String), WantedType>,
    uids: Mutex<BTreeMap<String, Option<String>>>,
}

/// What goes away by itself or with something that is made anew: whatever is in it now does not count.
#[derive(Clone, Debug, Default)]
pub(super) struct Doomed {
    pub(super) namespaces: BTreeSet<String>,
    pub(super) types: BTreeSet<(String, String)>,
}

impl Doomed {
    pub(super) fn is_empty(&self) -> bool {
        self.namespaces.is_empty() && self.types.is_empty()
    }

    pub(super) fn covers(&self, path: &ObjectPath) -> bool {
        path.namespace.as_ref().is_some_and(|namespace| self.namespaces.contains(namespace))
            || self.types.contains(&(path.group.clone(), path.resource.clone()))
    }
}

/// A type whose CRD the restore creates or changes.
struct WantedType {
    kind: String,
    singular: String,
    namespaced: bool,
    /// Served versions, with whether each has the subresource `status`.
    versions: BTreeMap<String, bool>,
}

impl<'a> World<'a> {
    pub(super) async fn load(
        cluster: &'a Cluster,
        live: &'a SnapshotTree,
        wanted: &'a SnapshotTree,
        selection: &Selection,
    ) -> Result<Self, RestoreError> {
        let served: BTreeMap<_, _> = discover(cluster)
            .await?
            .into_iter()
            .map(|served| ((served.group.clone(), served.resource.clone()), served))
            .collect();
        let returning = returning_types(live, wanted).await?;
        let mut kinds = Kinds::default();
        for ((group, resource), wanted_type) in &returning {
            kinds.insert(group, &wanted_type.kind, resource, wanted_type.namespaced);
        }
        for ((group, resource), served) in &served {
            kinds.insert(group, &served.kind, resource, served.namespaced);
        }
        // A type that the snapshot knows and the cluster lost is one that a restore is asked for by name.
        let names: Vec<TypeNames> = served
            .values()
            .map(TypeNames::from)
            .chain(recorded_names(wanted).await?)
            .chain(returning.iter().map(|((group, resource), wanted_type)| TypeNames {
                group: group.clone(),
                resource: resource.clone(),
                singular: wanted_type.singular.clone(),
                kind: wanted_type.kind.clone(),
                short_names: Vec::new(),
                categories: Vec::new(),
            }))
            .collect();
        let selection = selection.resolve(&names)?;
        Ok(Self {
            cluster,
            live,
            wanted,
            selection,
            doomed: Doomed::default(),
            kinds,
            served,
            returning,
            uids: Mutex::default(),
        })
    }

    pub(super) const fn kinds(&self) -> &Kinds {
        &self.kinds
    }

    /// Where the object's type is written, and whether it is served there now.
    pub(super) fn address(&self, path: &ObjectPath, value: &Value) -> Option<(TypeAddress, bool)> {
        let key = (path.group.clone(), path.resource.clone());
        let version = object::version_of(object::text(value, "/apiVersion")?);
        if let Some(wanted_type) = self.returning.get(&key)
            && self.selection.includes_path(&crd_path(&path.group, &path.resource))
        {
            let address = TypeAddress {
                group: path.group.clone(),
                version: version.to_owned(),
                resource: path.resource.clone(),
                kind: wanted_type.kind.clone(),
                namespaced: wanted_type.namespaced,
                has_status: *wanted_type.versions.get(version)?,
                custom: true,
            };
            return Some((address, false));
        }
        let served = self.served.get(&key)?;
        let offered = match &served.origin {
            TypeOrigin::BuiltIn => served.version == version,
            TypeOrigin::CustomResource { served_versions, .. } => served_versions.iter().any(|known| known == version),
            TypeOrigin::Remote { .. } => false,
        };
        offered.then(|| (TypeAddress { version: version.to_owned(), ..TypeAddress::from(served) }, true))
    }

    pub(super) async fn live_object(&self, path: &str, hash: &ContentHash) -> Result<Value, RestoreError> {
        object::parse(path, &self.live.blob(hash).await?)
    }

    pub(super) async fn wanted_object(&self, path: &str, hash: &ContentHash) -> Result<Value, RestoreError> {
        object::parse(path, &self.wanted.blob(hash).await?)
    }

    /// What is known of the objects that these values refer to.
    pub(super) async fn neighbours(
        &self,
        path: &ObjectPath,
        values: &[&Value],
    ) -> Result<Neighbours<'_>, RestoreError> {
        let mut by_path = BTreeMap::new();
        for value in values {
            for named in references(path, value, &self.kinds).into_iter().filter_map(|reference| reference.path) {
                if by_path.contains_key(&named) {
                    continue;
                }
                let neighbour = match self.live_uid(&named).await? {
                    Some(uid) => Neighbour::Live(uid),
                    None if self.wanted.entry(&named).await?.is_some() => Neighbour::Coming,
                    None => Neighbour::Nowhere,
                };
                by_path.insert(named, neighbour);
            }
        }
        Ok(Neighbours { by_path, kinds: &self.kinds })
    }

    /// The UID of a live object that stays; `None` when there is none.
    pub(super) async fn live_uid(&self, path: &str) -> Result<Option<String>, RestoreError> {
        if let Some(known) = self.uids.lock().unwrap_or_else(PoisonError::into_inner).get(path) {
            return Ok(known.clone());
        }
        let uid = self.read_live_uid(path).await?;
        self.uids.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), uid.clone());
        Ok(uid)
    }

    async fn read_live_uid(&self, path: &str) -> Result<Option<String>, RestoreError> {
        let Some(parsed) = ObjectPath::parse(path) else { return Ok(None) };
        if self.doomed.covers(&parsed) {
            return Ok(None);
        }
        let found = if self.selection.includes_path(path) {
            match self.live.read(path).await? {
                Some(bytes) => Some(object::parse(path, &bytes)?),
                None => None,
            }
        } else {
            self.ask(&parsed).await?
        };
        Ok(found.filter(|found| !object::is_terminating(found)).map(|found| object::uid(&found)))
    }

    async fn ask(&self, path: &ObjectPath) -> Result<Option<Value>, RestoreError> {
        let Some(served) = self.served.get(&(path.group.clone(), path.resource.clone())) else { return Ok(None) };
        match self.cluster.get(&served.object_url(path.namespace.as_deref(), &path.name)).await {
            Ok(bytes) => Ok(Some(object::parse(&path.to_tree_path(), &bytes)?)),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// What people may call the types of a snapshot.
async fn recorded_names(tree: &SnapshotTree) -> Result<Vec<TypeNames>, RestoreError> {
    let Some(bytes) = tree.read(TYPES_PATH).await? else { return Ok(Vec::new()) };
    Ok(TypesDocument::parse(&bytes).map_err(RestoreError::Types)?.names())
}

/// The types whose CRDs are not the same on both sides.
async fn returning_types(
    live: &SnapshotTree,
    wanted: &SnapshotTree,
) -> Result<BTreeMap<(String, String), WantedType>, RestoreError> {
    let folder = format!("cluster/{CRD_GROUP}/{CRD_RESOURCE}");
    let mut found = BTreeMap::new();
    let mut files = wanted.walk(&folder);
    while let Some(file) = files.next().await {
        let (path, entry) = file?;
        if live.entry(&path).await?.is_some_and(|known| known.hash == entry.hash) {
            continue;
        }
        let crd = object::parse(&path, &wanted.blob(&entry.hash).await?)?;
        let text = |pointer: &str| object::text(&crd, pointer).unwrap_or_default().to_owned();
        let versions = crd.pointer("/spec/versions").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let wanted_type = WantedType {
            kind: text("/spec/names/kind"),
            singular: text("/spec/names/singular"),
            namespaced: text("/spec/scope") == "Namespaced",
            versions: versions
                .iter()
                .filter(|version| version.get("served") == Some(&Value::Bool(true)))
                .filter_map(|version| {
                    let name = version.get("name")?.as_str()?.to_owned();
                    Some((name, version.pointer("/subresources/status").is_some()))
                })
                .collect(),
        };
        found.insert((text("/spec/group"), text("/spec/names/plural")), wanted_type);
    }
    Ok(found)
}
