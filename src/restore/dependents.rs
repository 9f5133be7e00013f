//! Live objects that refer to what goes, or to what comes back under another UID.
//!
//! In: the decisions of a plan. Out: which dependents are let go of first, and which get their references back. While an
//! owner's type is missing, garbage collection leaves its dependents alone; within 84 seconds of the type's return it
//! deletes those that name a UID that is no more (facts/apiserver-tried.md). They need not differ from the snapshot in
//! anything, nor be selected, so every live object with owners is looked at. One that is not restored itself is touched
//! in its references only. If its owner does not come back with the type, it loses that reference for good: anything
//! else would delete it. So does what the snapshot has though its owner is deleted: its own reference there was to an
//! owner of a type that was missing, and no such reference outlives the moment in which that type goes.

use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt as _;
use serde_json::Value;

use crate::snapshot::ObjectPath;
use crate::store::TreeEntry;

use super::address::{defined_type, is_namespace};
use super::decide::{Decisions, Draft, owner_uids, owners_of};
use super::error::RestoreError;
use super::never_list::{Reach, covering};
use super::object;
use super::options::RestoreOptions;
use super::plan::{Bound, Operation};
use super::references::{Purpose, Reference, references};
use super::world::World;

/// What a scan of the live objects found.
#[derive(Default)]
pub(super) struct Dependents {
    /// Actions that take references off.
    pub(super) releases: Vec<Draft>,
    /// Actions that write references back onto objects that do not differ otherwise, or are not restored themselves.
    pub(super) rewrites: Vec<Draft>,
    /// UIDs of live objects that own something.
    pub(super) owners: BTreeSet<String>,
    /// UIDs of live objects that own something which is not deleted.
    pub(super) staying: BTreeSet<String>,
    /// UIDs under which dependents know what comes back, by its path.
    pub(super) known_as: BTreeMap<String, BTreeSet<String>>,
    by_namespace: BTreeMap<String, u64>,
    by_type: BTreeMap<(String, String), u64>,
}

impl Dependents {
    /// Objects that go with a CRD or a namespace.
    pub(super) fn inside(&self, path: &ObjectPath) -> u64 {
        if is_namespace(path) {
            return self.by_namespace.get(&path.name).copied().unwrap_or_default();
        }
        defined_type(path).and_then(|of| self.by_type.get(&of).copied()).unwrap_or_default()
    }
}

/// What comes back, seen from those that it owns.
struct Returning<'a> {
    made: BTreeSet<&'a str>,
    /// UIDs that these had.
    replaced: BTreeSet<&'a String>,
    /// Types that are made anew: nothing that their objects were called by exists any more.
    types: BTreeSet<(String, String)>,
}

impl<'a> Returning<'a> {
    fn of(drafts: &'a [Draft]) -> Self {
        let made = || drafts.iter().filter(|draft| draft.makes());
        Self {
            made: made().map(|draft| draft.path.as_str()).collect(),
            replaced: made().flat_map(|draft| &draft.replaces).collect(),
            types: made().filter_map(Draft::type_made).collect(),
        }
    }

    /// Garbage collection would delete whoever has this reference.
    fn endangers(&self, reference: &Reference) -> bool {
        let returns = |path: &String| {
            self.made.contains(path.as_str())
                || ObjectPath::parse(path).is_some_and(|path| self.types.contains(&(path.group, path.resource)))
        };
        self.replaced.contains(&reference.uid) || reference.path.as_ref().is_some_and(returns)
    }

    fn makes(&self, reference: &Reference) -> bool {
        reference.path.as_deref().is_some_and(|path| self.made.contains(path))
    }
}

/// What is deleted, and would take with it whom it owns.
pub(super) struct Going {
    paths: BTreeSet<String>,
    types: BTreeSet<(String, String)>,
}

impl Going {
    pub(super) fn of(drafts: &[Draft]) -> Self {
        let deleted = || drafts.iter().filter(|draft| matches!(draft.operation, Operation::Delete { .. }));
        Self {
            paths: deleted().map(|draft| draft.path.clone()).collect(),
            types: deleted().filter_map(|draft| defined_type(&draft.object_path)).collect(),
        }
    }

    pub(super) fn takes(&self, reference: &Reference) -> bool {
        reference.path.as_deref().is_some_and(|path| {
            self.paths.contains(path)
                || ObjectPath::parse(path).is_some_and(|path| self.types.contains(&(path.group, path.resource)))
        })
    }
}

/// Looks at every live object.
pub(super) async fn find_dependents(
    world: &World<'_>,
    decisions: &Decisions,
    options: &RestoreOptions,
) -> Result<Dependents, RestoreError> {
    let mut found = Dependents::default();
    let drafts = &decisions.drafts;
    let (returning, going) = (Returning::of(drafts), Going::of(drafts));
    let deletes = drafts.iter().any(|draft| matches!(draft.operation, Operation::Delete { .. }));
    if returning.made.is_empty() && !deletes {
        return Ok(found);
    }
    let by_path: BTreeMap<&str, &Draft> = drafts.iter().map(|draft| (draft.path.as_str(), draft)).collect();
    let skipped: BTreeSet<&str> = decisions.skipped.iter().map(|skipped| skipped.path.as_str()).collect();
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
        found.owners.extend(owner_uids(&live));
        let draft = by_path.get(path.as_str()).copied();
        if matches!(draft.map(|draft| &draft.operation), Some(Operation::Delete { .. })) {
            continue;
        }
        let untouched =
            covering(&object_path, &live, &options.force_kinds).is_some_and(|rule| rule.reach == Reach::Untouched);
        if !untouched {
            found.staying.extend(owner_uids(&live));
        }
        let stays = matches!(draft.map(|draft| &draft.operation), None | Some(Operation::Update { .. }));
        if !stays || object::is_terminating(&live) || world.doomed.covers(&object_path) {
            continue;
        }
        let restored = !untouched && !skipped.contains(path.as_str()) && world.selection.includes_path(&path);
        let wanted = restored && world.wanted.entry(&path).await?.is_some();
        let endangered: Vec<Reference> = references(&object_path, &live, world.kinds())
            .into_iter()
            .filter(|reference| reference.purpose == Purpose::Owner)
            .filter(|reference| returning.endangers(reference) || wanted && going.takes(reference))
            // What the control plane's controllers make for its own types they adopt again, or make anew.
            .filter(|reference| !untouched || is_custom(world, reference))
            .collect();
        if endangered.is_empty() {
            continue;
        }
        let dependent = Dependent { path: &path, object_path: &object_path, entry: &entry, live: &live };
        let (back, lasting): (Vec<Reference>, Vec<Reference>) =
            endangered.iter().cloned().partition(|reference| returning.makes(reference));
        let release = Operation::Release { uids: uids(&endangered), lasting: uids(&lasting) };
        let Some(release) = dependent.draft(world, release, &live)? else { continue };
        for (owner, uid) in back.iter().filter_map(|owner| Some((owner.path.clone()?, owner.uid.clone()))) {
            found.known_as.entry(owner).or_default().insert(uid);
        }
        if draft.is_none() {
            let comes_back = !back.is_empty() || lasting.iter().any(|reference| returning.endangers(reference));
            let rewrite = if restored && comes_back { dependent.rewrite(world).await? } else { None };
            let readopt = || match back.as_slice() {
                [] => Ok(None),
                back => dependent.draft(world, Operation::Readopt { uids: uids(back) }, &live),
            };
            found.rewrites.extend(match rewrite {
                Some(rewrite) => Some(rewrite),
                None => readopt()?,
            });
        }
        found.releases.push(release);
    }
    Ok(found)
}

fn is_custom(world: &World<'_>, reference: &Reference) -> bool {
    reference.path.as_deref().and_then(ObjectPath::parse).is_some_and(|path| world.is_custom(&path))
}

fn uids(references: &[Reference]) -> Vec<String> {
    references.iter().map(|reference| reference.uid.clone()).collect()
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
        Ok(self.draft(world, operation, &wanted)?.map(|draft| Draft { wanted: Some(entry.hash), ..draft }))
    }

    fn draft(&self, world: &World<'_>, operation: Operation, named: &Value) -> Result<Option<Draft>, RestoreError> {
        let Some((address, _)) = world.address(self.object_path, self.live)? else { return Ok(None) };
        let references = references(self.object_path, named, world.kinds());
        Ok(Some(Draft {
            path: self.path.to_owned(),
            object_path: self.object_path.clone(),
            operation,
            address,
            bound: Some(Bound { uid: object::uid(self.live), resource_version: object::resource_version(self.live) }),
            wanted: None,
            live: Some(self.entry.hash),
            unchecked: true,
            refused: None,
            replaces: Vec::new(),
            drops: Vec::new(),
            owners: owners_of(&references),
            references,
            live_owners: owner_uids(self.live),
        }))
    }
}
