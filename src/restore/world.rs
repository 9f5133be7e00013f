//! Both sides of a restore: the live cluster and the wanted snapshot, and the types that the two know.
//!
//! In: two trees and discovery. Out: objects, addresses of types, and where the objects stand that others refer to.
//! Invariants: what is not selected was not captured, so it is asked of the API server instead of taken for missing; an
//! object of the snapshot is only used if it lies where it belongs, and one that no API server can have held is not read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use crate::cluster::{Cluster, ServedType, TypeOrigin, discover};
use crate::snapshot::{ObjectPath, Selection, TypeNames, TypesDocument};
use crate::store::{ContentHash, SnapshotTree};

use super::address::{TypeAddress, crd_path, defined_type};
use super::dry_run::DryRuns;
use super::error::RestoreError;
use super::judge::{Neighbour, Neighbours};
use super::never_list::{Reach, covering};
use super::object;
use super::options::RestoreOptions;
use super::quiesce::Holding;
use super::recorded_types::{Unsaved, recorded_types};
use super::references::{Kinds, Purpose, Reference, references};
use super::returning_types::{ReturningType, returning_types};

/// The largest object that is read. An API server takes requests of 3 MiB; what it holds may be longer as JSON, six
/// times at worst, where every byte of a text is escaped.
pub(super) const MOST_OBJECT_BYTES: u64 = 18 << 20;

/// How many owners of owners are followed.
const MOST_GENERATIONS: usize = 8;

/// Both sides.
pub(super) struct World<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) live: &'a SnapshotTree,
    pub(super) wanted: &'a SnapshotTree,
    pub(super) selection: Selection,
    pub(super) doomed: Doomed,
    pub(super) dry_runs: DryRuns<'a>,
    /// What is held still: objects of both sides are seen as they are meanwhile.
    pub(super) holding: &'a Holding,
    force_kinds: &'a [String],
    /// Types that are brought to another storage version, and whether their objects can only be compared afterwards.
    pub(super) conversions: BTreeMap<(String, String), bool>,
    /// Types with namespaces that could not be listed, now or for the snapshot that `undo` goes back to.
    pub(super) unread_in_namespaces: BTreeSet<String>,
    /// Types that the latter does not hold.
    pub(super) unsaved: &'a Unsaved,
    kinds: Kinds,
    served: BTreeMap<(String, String), ServedType>,
    returning: BTreeMap<(String, String), ReturningType>,
    uids: Mutex<BTreeMap<String, Option<String>>>,
    coming: Mutex<BTreeMap<String, bool>>,
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

impl<'a> World<'a> {
    pub(super) async fn load(
        cluster: &'a Cluster,
        live: &'a SnapshotTree,
        wanted: &'a SnapshotTree,
        options: &'a RestoreOptions,
    ) -> Result<Self, RestoreError> {
        let served: BTreeMap<_, _> = discover(cluster)
            .await?
            .into_iter()
            .map(|served| ((served.group.clone(), served.resource.clone()), served))
            .collect();
        let returning = returning_types(live, wanted, MOST_OBJECT_BYTES).await?;
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
            .chain(recorded_types(wanted).await?.iter().flat_map(TypesDocument::names))
            .chain(returning.iter().map(|((group, resource), wanted_type)| TypeNames {
                group: group.clone(),
                resource: resource.clone(),
                singular: wanted_type.singular.clone(),
                kind: wanted_type.kind.clone(),
                short_names: Vec::new(),
                categories: Vec::new(),
            }))
            .collect();
        let selection = options.selection.resolve(&names)?;
        Ok(Self {
            cluster,
            live,
            wanted,
            selection,
            doomed: Doomed::default(),
            dry_runs: DryRuns::new(cluster, options.tried.clone()),
            holding: &options.holding,
            force_kinds: &options.force_kinds,
            conversions: BTreeMap::new(),
            unread_in_namespaces: Unsaved::of(live)
                .await?
                .in_namespaces()
                .chain(options.unsaved.in_namespaces())
                .collect(),
            unsaved: &options.unsaved,
            kinds,
            served,
            returning,
            uids: Mutex::default(),
            coming: Mutex::default(),
        })
    }

    /// The CRD at this path is that of a type which is brought to another storage version.
    pub(super) fn is_converted(&self, crd: &ObjectPath) -> bool {
        defined_type(crd).is_some_and(|of| self.conversions.contains_key(&of))
    }

    pub(super) const fn kinds(&self) -> &Kinds {
        &self.kinds
    }

    /// Where the object's type is written, and whether it is served there now; `None` when nobody offers it.
    ///
    /// # Errors
    /// The object is not of the kind, or not of the scope, that its path says.
    pub(super) fn address(
        &self,
        path: &ObjectPath,
        value: &Value,
    ) -> Result<Option<(TypeAddress, bool)>, RestoreError> {
        let found = self.find_address(path, object::version_of(object::text(value, "/apiVersion").unwrap_or_default()));
        if let Some((address, _)) = &found
            && (object::text(value, "/kind") != Some(&address.kind) || path.namespace.is_some() != address.namespaced)
        {
            return Err(RestoreError::Misplaced { path: path.to_tree_path(), found: object::described(value) });
        }
        Ok(found)
    }

    fn find_address(&self, path: &ObjectPath, version: &str) -> Option<(TypeAddress, bool)> {
        let key = (path.group.clone(), path.resource.clone());
        // An object that its type's other scope has goes with the CRD of that scope; until then it lies where it is served.
        if let Some(wanted_type) = self.returning.get(&key)
            && wanted_type.namespaced == path.namespace.is_some()
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
        let mut live = object::parse(path, &self.live.blob(hash).await?)?;
        self.holding.overlay(path, &mut live);
        Ok(live)
    }

    pub(super) async fn wanted_object(&self, path: &str, hash: &ContentHash) -> Result<Value, RestoreError> {
        let mut wanted = object::parse(path, &self.wanted.blob(hash).await?)?;
        object::check_place(path, &wanted)?;
        self.holding.overlay(path, &mut wanted);
        Ok(wanted)
    }

    /// The size of a wanted object that is too large to be one.
    pub(super) fn oversize(&self, hash: &ContentHash) -> Option<u64> {
        self.wanted.blob_size(hash).filter(|bytes| *bytes > MOST_OBJECT_BYTES)
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
                    None if self.comes(&named, 0).await? => Neighbour::Coming,
                    None => Neighbour::Nowhere,
                };
                by_path.insert(named, neighbour);
            }
        }
        Ok(Neighbours { by_path, kinds: &self.kinds })
    }

    /// Every owner of a missing object is one that is gone for good: it would be collected as soon as it is back.
    pub(super) async fn owners_stay_gone(&self, path: &ObjectPath, wanted: &Value) -> Result<bool, RestoreError> {
        self.orphaned(path, wanted, 0).await
    }

    async fn orphaned(&self, path: &ObjectPath, wanted: &Value, above: usize) -> Result<bool, RestoreError> {
        let mut owned = false;
        for reference in references(path, wanted, &self.kinds) {
            let Reference { purpose: Purpose::Owner, path: owner, .. } = reference else { continue };
            // One that was not asked for, or that the snapshot does not have, is no reason to leave this one out.
            let Some(owner) = owner else { return Ok(false) };
            let known = self.selection.includes_path(&owner) && self.wanted.entry(&owner).await?.is_some();
            if !known || self.live_uid(&owner).await?.is_some() || self.comes(&owner, above).await? {
                return Ok(false);
            }
            owned = true;
        }
        Ok(owned)
    }

    /// An object that is not there is brought back: it is in the snapshot, was asked for, and nothing forbids it.
    async fn comes(&self, path: &str, above: usize) -> Result<bool, RestoreError> {
        if let Some(known) = self.coming.lock().unwrap_or_else(PoisonError::into_inner).get(path) {
            return Ok(*known);
        }
        let entry = if self.selection.includes_path(path) { self.wanted.entry(path).await? } else { None };
        let comes = match (entry, ObjectPath::parse(path)) {
            (Some(entry), Some(parsed)) if self.oversize(&entry.hash).is_none() => {
                let wanted = self.wanted_object(path, &entry.hash).await?;
                let rule = covering(&parsed, &wanted, self.force_kinds);
                let forbidden =
                    rule.is_some_and(|rule| rule.reach == Reach::Untouched) || object::is_terminating(&wanted);
                // Owners that own each other in a circle have to end somewhere.
                let orphaned = above < MOST_GENERATIONS && Box::pin(self.orphaned(&parsed, &wanted, above + 1)).await?;
                !forbidden && !orphaned
            }
            _ => false,
        };
        self.coming.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), comes);
        Ok(comes)
    }

    /// The API server offers this type now.
    pub(super) fn serves(&self, path: &ObjectPath) -> bool {
        self.served.contains_key(&(path.group.clone(), path.resource.clone()))
    }

    /// A CRD defines this type.
    pub(super) fn is_custom(&self, path: &ObjectPath) -> bool {
        let key = (path.group.clone(), path.resource.clone());
        let served = self.served.get(&key).map(|served| &served.origin);
        self.returning.contains_key(&key) || matches!(served, Some(TypeOrigin::CustomResource { .. }))
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

    /// An object that was perhaps not captured.
    pub(super) async fn ask(&self, path: &ObjectPath) -> Result<Option<Value>, RestoreError> {
        let Some(served) = self.served.get(&(path.group.clone(), path.resource.clone())) else { return Ok(None) };
        match self.cluster.get(&served.object_url(path.namespace.as_deref(), &path.name)).await {
            Ok(bytes) => Ok(Some(object::parse(&path.to_tree_path(), &bytes)?)),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
