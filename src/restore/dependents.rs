//! Live objects that refer to what goes, or to what comes back under another UID.
//!
//! In: the drafts of a plan. Out: which dependents are let go of first, and which get their references back. While an
//! owner's type is missing, garbage collection leaves its dependents alone; within 84 seconds of the type's return it
//! deletes those that name a UID that is no more (facts/apiserver-tried.md). They need not differ from the snapshot in
//! anything, so every live object with owners is looked at.

use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt as _;
use serde_json::Value;

use crate::snapshot::ObjectPath;
use crate::store::TreeEntry;

use super::address::{CRD_GROUP, CRD_RESOURCE};
use super::decide::{Draft, owners_of};
use super::error::RestoreError;
use super::never_list::{Reach, covering};
use super::object;
use super::options::RestoreOptions;
use super::plan::{Bound, Operation};
use super::references::{owner_references, references};
use super::world::World;

/// What a scan of the live objects found.
#[derive(Default)]
pub(super) struct Dependents {
    /// Actions that take references off.
    pub(super) releases: Vec<Draft>,
    /// Actions that write references back onto objects that do not differ otherwise.
    pub(super) rewrites: Vec<Draft>,
    /// UIDs of live objects that own something.
    pub(super) owners: BTreeSet<String>,
    /// UIDs of live objects that own something which is not deleted.
    pub(super) staying: BTreeSet<String>,
    by_namespace: BTreeMap<String, u64>,
    by_type: BTreeMap<(String, String), u64>,
}

impl Dependents {
    /// Objects that go with a CRD or a namespace.
    pub(super) fn inside(&self, path: &ObjectPath) -> u64 {
        match (path.group.as_str(), path.resource.as_str()) {
            ("", "namespaces") => self.by_namespace.get(&path.name).copied().unwrap_or_default(),
            (CRD_GROUP, CRD_RESOURCE) => path
                .name
                .split_once('.')
                .and_then(|(plural, group)| self.by_type.get(&(group.to_owned(), plural.to_owned())))
                .copied()
                .unwrap_or_default(),
            _ => 0,
        }
    }
}

/// Looks at every live object.
pub(super) async fn find_dependents(
    world: &World<'_>,
    drafts: &[Draft],
    options: &RestoreOptions,
) -> Result<Dependents, RestoreError> {
    let mut found = Dependents::default();
    let replaced: BTreeSet<&String> = drafts.iter().flat_map(|draft| &draft.replaces).collect();
    let deletes = drafts.iter().any(|draft| matches!(draft.operation, Operation::Delete { .. }));
    if replaced.is_empty() && !deletes {
        return Ok(found);
    }
    let by_path: BTreeMap<&str, &Draft> = drafts.iter().map(|draft| (draft.path.as_str(), draft)).collect();
    let mut files = world.live.walk("cluster");
    while let Some((path, entry)) = files.try_next().await? {
        let Some(object_path) = ObjectPath::parse(&path) else { continue };
        if let Some(namespace) = &object_path.namespace {
            *found.by_namespace.entry(namespace.clone()).or_default() += 1;
        }
        *found.by_type.entry((object_path.group.clone(), object_path.resource.clone())).or_default() += 1;
        let bytes = world.live.blob(&entry.hash).await?;
        if !mentions_owners(&bytes) {
            continue;
        }
        let live = object::parse(&path, &bytes)?;
        let owners: Vec<String> =
            owner_references(&live).iter().filter_map(|owner| owner.get("uid")?.as_str().map(str::to_owned)).collect();
        found.owners.extend(owners.iter().cloned());
        let draft = by_path.get(path.as_str()).copied();
        let untouched =
            covering(&object_path, &live, &options.force_kinds).is_some_and(|rule| rule.reach == Reach::Untouched);
        if matches!(draft.map(|draft| &draft.operation), Some(Operation::Delete { .. })) || untouched {
            continue;
        }
        found.staying.extend(owners.iter().cloned());
        let gone: Vec<String> = owners.into_iter().filter(|uid| replaced.contains(uid)).collect();
        let stays = matches!(draft.map(|draft| &draft.operation), None | Some(Operation::Update { .. }));
        if gone.is_empty() || !stays || object::is_terminating(&live) || world.doomed.covers(&object_path) {
            continue;
        }
        let dependent = Dependent { path: &path, object_path: &object_path, entry: &entry, live: &live };
        let Some(release) = dependent.draft(world, Operation::Release { uids: gone }, &live) else { continue };
        if draft.is_none()
            && let Some(rewrite) = dependent.rewrite(world).await?
        {
            found.rewrites.push(rewrite);
        }
        found.releases.push(release);
    }
    Ok(found)
}

/// A cheap look before parsing.
fn mentions_owners(bytes: &[u8]) -> bool {
    const KEY: &[u8] = b"\"ownerReferences\"";
    bytes.windows(KEY.len()).any(|window| window == KEY)
}

struct Dependent<'a> {
    path: &'a str,
    object_path: &'a ObjectPath,
    entry: &'a TreeEntry,
    live: &'a Value,
}

impl Dependent<'_> {
    /// The whole object as the snapshot has it, with references to the owners' new UIDs.
    async fn rewrite(&self, world: &World<'_>) -> Result<Option<Draft>, RestoreError> {
        let Some(entry) = world.wanted.entry(self.path).await? else { return Ok(None) };
        let wanted = world.wanted_object(self.path, &entry.hash).await?;
        let operation = Operation::Update { fields: vec!["metadata.ownerReferences".to_owned()] };
        Ok(self.draft(world, operation, &wanted).map(|draft| Draft { wanted: Some(entry.hash), ..draft }))
    }

    fn draft(&self, world: &World<'_>, operation: Operation, named: &Value) -> Option<Draft> {
        let (address, _) = world.address(self.object_path, self.live)?;
        let references = references(self.object_path, named, world.kinds());
        Some(Draft {
            path: self.path.to_owned(),
            object_path: self.object_path.clone(),
            operation,
            address,
            bound: Some(Bound { uid: object::uid(self.live), resource_version: object::resource_version(self.live) }),
            wanted: None,
            live: Some(self.entry.hash),
            unchecked: true,
            replaces: Vec::new(),
            owners: owners_of(&references),
            references,
        })
    }
}
