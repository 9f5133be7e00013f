//! Decides what to do about one file that differs.
//!
//! In: the file on both sides. Out: an action in the making, a reason to leave it alone, or nothing at all.

use crate::snapshot::{Change, ObjectPath};
use crate::store::ContentHash;

use super::address::{CRD_GROUP, CRD_RESOURCE, TypeAddress};
use super::dry_run::{Verdict, try_update};
use super::error::RestoreError;
use super::judge::judge;
use super::never_list::{Reach, covering};
use super::object;
use super::options::RestoreOptions;
use super::plan::{Action, Bound, Operation, SkipReason, Skipped};
use super::references::{Purpose, Reference, is_claim, references};
use super::world::World;
use super::write_recipe::put_body;

/// What is to be done about a file.
pub(super) enum Decision {
    Act(Box<Draft>),
    Skip(Skipped),
    /// It differs only in what the closed list explains.
    Explained,
    /// It is no difference at all, or it goes away by itself.
    Nothing,
}

/// An action that has no place in the order yet.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) path: String,
    pub(super) object_path: ObjectPath,
    pub(super) operation: Operation,
    pub(super) address: TypeAddress,
    pub(super) bound: Option<Bound>,
    pub(super) wanted: Option<ContentHash>,
    pub(super) live: Option<ContentHash>,
    pub(super) unchecked: bool,
    pub(super) replaces: Vec<String>,
    /// Paths of its owners.
    pub(super) owners: Vec<String>,
    pub(super) references: Vec<Reference>,
}

impl Draft {
    pub(super) fn key(&self) -> String {
        self.path.clone()
    }

    /// Where its namespace lies.
    pub(super) fn namespace_path(&self) -> Option<String> {
        let name = self.object_path.namespace.clone()?;
        let path = ObjectPath { group: String::new(), resource: "namespaces".to_owned(), namespace: None, name };
        Some(path.to_tree_path())
    }

    /// The type whose objects go when this is done.
    pub(super) fn type_that_goes(&self) -> Option<(String, String)> {
        let is_crd = self.object_path.group == CRD_GROUP && self.object_path.resource == CRD_RESOURCE;
        let recreated = matches!(self.operation, Operation::Recreate { .. });
        let (plural, group) = self.object_path.name.split_once('.').filter(|_| is_crd && recreated)?;
        Some((group.to_owned(), plural.to_owned()))
    }

    /// Everything that this could depend on.
    pub(super) fn possible_needs(&self) -> Vec<String> {
        let mut needs: Vec<String> = self.address.crd_path().into_iter().chain(self.namespace_path()).collect();
        needs.extend(self.owners.iter().cloned());
        needs
    }

    pub(super) fn into_action(self, wave: u32, needs: Vec<String>) -> Action {
        Action {
            path: self.path,
            operation: self.operation,
            address: self.address,
            wave,
            bound: self.bound,
            wanted: self.wanted,
            live: self.live,
            unchecked: self.unchecked,
            needs,
            replaces: self.replaces,
        }
    }
}

/// Paths of the owners among some references.
pub(super) fn owners_of(references: &[Reference]) -> Vec<String> {
    let owners = references.iter().filter(|reference| reference.purpose == Purpose::Owner);
    owners.filter_map(|reference| reference.path.clone()).collect()
}

/// Decides about one file.
pub(super) async fn decide(
    world: &World<'_>,
    change: Change,
    options: &RestoreOptions,
) -> Result<Decision, RestoreError> {
    let Some(object_path) = ObjectPath::parse(&change.path) else { return Ok(Decision::Nothing) };
    match (change.before, change.after) {
        (None, None) => Ok(Decision::Nothing),
        (Some(live), None) => extra(world, change.path, object_path, live.hash, options).await,
        (None, Some(wanted)) => missing(world, change.path, object_path, wanted.hash, options).await,
        (Some(live), Some(wanted)) => changed(world, change.path, object_path, live.hash, wanted.hash, options).await,
    }
}

fn skip(path: String, reason: SkipReason) -> Decision {
    Decision::Skip(Skipped { path, reason })
}

fn never(path: String, rule: &str) -> Decision {
    skip(path, SkipReason::NeverList { rule: rule.to_owned() })
}

async fn extra(
    world: &World<'_>,
    path: String,
    object_path: ObjectPath,
    hash: ContentHash,
    options: &RestoreOptions,
) -> Result<Decision, RestoreError> {
    let live = world.live_object(&path, &hash).await?;
    if let Some(rule) = covering(&object_path, &live, &options.force_kinds) {
        return Ok(never(path, rule.name));
    }
    let Some((address, _)) = world.address(&object_path, &live) else {
        return Ok(not_served(path, &live));
    };
    let references = references(&object_path, &live, world.kinds());
    Ok(Decision::Act(Box::new(Draft {
        path,
        object_path,
        operation: Operation::Delete { objects: 0, orphan: false },
        address,
        bound: Some(bound(&live)),
        wanted: None,
        live: Some(hash),
        unchecked: true,
        replaces: Vec::new(),
        owners: owners_of(&references),
        references: Vec::new(),
    })))
}

async fn missing(
    world: &World<'_>,
    path: String,
    object_path: ObjectPath,
    hash: ContentHash,
    options: &RestoreOptions,
) -> Result<Decision, RestoreError> {
    let wanted = world.wanted_object(&path, &hash).await?;
    if let Some(rule) = covering(&object_path, &wanted, &options.force_kinds)
        && rule.reach == Reach::Untouched
    {
        return Ok(never(path, rule.name));
    }
    if object::is_terminating(&wanted) {
        return Ok(skip(path, SkipReason::WasTerminating));
    }
    let Some((address, _)) = world.address(&object_path, &wanted) else {
        return Ok(not_served(path, &wanted));
    };
    let references = references(&object_path, &wanted, world.kinds());
    Ok(Decision::Act(Box::new(Draft {
        path,
        object_path,
        operation: Operation::Create { after_gone: false },
        address,
        bound: None,
        wanted: Some(hash),
        live: None,
        unchecked: true,
        replaces: vec![object::uid(&wanted)],
        owners: owners_of(&references),
        references,
    })))
}

async fn changed(
    world: &World<'_>,
    path: String,
    object_path: ObjectPath,
    live_hash: ContentHash,
    wanted_hash: ContentHash,
    options: &RestoreOptions,
) -> Result<Decision, RestoreError> {
    let live = world.live_object(&path, &live_hash).await?;
    let wanted = world.wanted_object(&path, &wanted_hash).await?;
    let rule = covering(&object_path, &wanted, &options.force_kinds);
    if let Some(rule) = rule.filter(|rule| rule.reach == Reach::Untouched) {
        return Ok(never(path, rule.name));
    }
    if object::is_terminating(&wanted) {
        return Ok(skip(path, SkipReason::WasTerminating));
    }
    let neighbours = world.neighbours(&object_path, &[&wanted, &live]).await?;
    let judgement = judge(&object_path, &wanted, &live, &neighbours);
    if judgement.fields.is_empty() {
        return Ok(Decision::Explained);
    }
    let Some((address, served)) = world.address(&object_path, &wanted) else {
        return Ok(not_served(path, &wanted));
    };
    let references = references(&object_path, &wanted, world.kinds());
    let mut draft = Draft {
        path,
        object_path,
        operation: Operation::Update { fields: judgement.fields },
        address,
        bound: Some(bound(&live)),
        wanted: Some(wanted_hash),
        live: Some(live_hash),
        unchecked: true,
        replaces: Vec::new(),
        owners: owners_of(&references),
        references,
    };
    let both = vec![object::uid(&wanted), object::uid(&live)];
    if object::is_terminating(&live) {
        draft.operation = Operation::Create { after_gone: true };
        draft.replaces = both;
        return Ok(Decision::Act(Box::new(draft)));
    }
    if !served {
        return Ok(Decision::Act(Box::new(draft)));
    }
    let url = draft.address.object_url(object::namespace(&wanted), object::name(&wanted));
    match try_update(world.cluster, &url, &put_body(&draft.object_path, &wanted, &live)).await? {
        Verdict::Fine => draft.unchecked = false,
        Verdict::Unclear => {}
        Verdict::Immutable(reason) => {
            if let Some(rule) = rule {
                return Ok(never(draft.path, rule.name));
            }
            if is_claim(&draft.object_path) {
                return Ok(skip(draft.path, SkipReason::VolumeAtRisk));
            }
            draft.unchecked = false;
            draft.operation = Operation::Recreate { reason, orphan: false };
            draft.replaces = both;
        }
    }
    Ok(Decision::Act(Box::new(draft)))
}

fn not_served(path: String, value: &serde_json::Value) -> Decision {
    let api_version = object::text(value, "/apiVersion").unwrap_or_default().to_owned();
    skip(path, SkipReason::NotServed { api_version })
}

fn bound(live: &serde_json::Value) -> Bound {
    Bound { uid: object::uid(live), resource_version: object::resource_version(live) }
}
