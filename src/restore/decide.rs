//! Decides what to do about one file that differs.
//!
//! In: the file on both sides. Out: an action in the making, a reason to leave it alone, or nothing at all. Whatever can
//! be is tried by a dry run, so that what would be refused is known before anything is written.

use serde_json::Value;

use crate::snapshot::{Change, ObjectPath};
use crate::store::ContentHash;

use super::address::{TypeAddress, defined_type, is_namespace};
use super::dry_run::Verdict;
use super::error::RestoreError;
use super::judge::judge;
use super::never_list::{NeverRule, Reach, covering};
use super::object;
use super::options::RestoreOptions;
use super::plan::{Action, Bound, Operation, SkipReason, Skipped};
use super::references::{Purpose, Reference, core_path, is_claim, is_volume, owner_references, references};
use super::refuser::Refuser;
use super::storage_versions::{examine, first_union};
use super::world::World;
use super::write_recipe::{create_body, put_body};

/// What is to be done about a file.
pub(super) enum Decision {
    Act(Box<Draft>),
    Skip(Skipped),
    /// It differs only in what the closed list explains.
    Explained,
    /// It is no difference at all, or it goes away by itself.
    Nothing,
}

/// What was decided about all files.
#[derive(Default)]
pub(super) struct Decisions {
    pub(super) drafts: Vec<Draft>,
    pub(super) skipped: Vec<Skipped>,
    pub(super) explained: u64,
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
    pub(super) refused: Option<Refuser>,
    pub(super) replaces: Vec<String>,
    pub(super) drops: Vec<String>,
    /// Paths of its owners.
    pub(super) owners: Vec<String>,
    pub(super) references: Vec<Reference>,
    /// UIDs of owners that the live object refers to.
    pub(super) live_owners: Vec<String>,
}

impl Draft {
    pub(super) fn key(&self) -> String {
        self.path.clone()
    }

    /// Where its namespace lies.
    pub(super) fn namespace_path(&self) -> Option<String> {
        Some(core_path("namespaces", None, self.object_path.namespace.as_deref()?))
    }

    /// Makes an object that was not there, or not the same one.
    pub(super) const fn makes(&self) -> bool {
        matches!(self.operation, Operation::Create { .. } | Operation::Recreate { .. })
    }

    /// The group and plural name of the type that this makes.
    pub(super) fn type_made(&self) -> Option<(String, String)> {
        defined_type(&self.object_path).filter(|_| self.makes())
    }

    /// The type whose objects go when this is done.
    pub(super) fn type_that_goes(&self) -> Option<(String, String)> {
        self.type_made().filter(|_| matches!(self.operation, Operation::Recreate { .. }))
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
            refused: self.refused,
            needs,
            replaces: self.replaces,
            drops: self.drops,
        }
    }
}

/// Paths of the owners among some references.
pub(super) fn owners_of(references: &[Reference]) -> Vec<String> {
    let owners = references.iter().filter(|reference| reference.purpose == Purpose::Owner);
    owners.filter_map(|reference| reference.path.clone()).collect()
}

/// UIDs of the owners that an object refers to.
pub(super) fn owner_uids(object: &Value) -> Vec<String> {
    owner_references(object).iter().filter_map(|owner| owner.get("uid")?.as_str().map(str::to_owned)).collect()
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
    let Some((address, _)) = world.address(&object_path, &live)? else {
        return Ok(not_served(path, &live));
    };
    if is_namespace(&object_path) && !world.unread_in_namespaces.is_empty() {
        let types = world.unread_in_namespaces.iter().cloned().collect();
        return Ok(skip(path, SkipReason::UnreadInside { types }));
    }
    if is_unsaved(world, &object_path) || defines_unsaved(world, &object_path) {
        return Ok(skip(path, SkipReason::Unsaved));
    }
    let references = references(&object_path, &live, world.kinds());
    let mut draft = Draft {
        path,
        object_path,
        operation: Operation::Delete { objects: 0, orphan: false },
        address,
        bound: Some(bound(&live)),
        wanted: None,
        live: Some(hash),
        unchecked: true,
        refused: None,
        replaces: Vec::new(),
        drops: Vec::new(),
        owners: owners_of(&references),
        references: Vec::new(),
        live_owners: owner_uids(&live),
    };
    if !object::is_terminating(&live) {
        let url = draft.address.object_url(object::namespace(&live), object::name(&live));
        draft.note(world.dry_runs.delete(&url, &bound(&live)).await?);
    }
    Ok(Decision::Act(Box::new(draft)))
}

/// The wanted object with the rule that covers it, or why it is left alone.
async fn read_wanted(
    world: &World<'_>,
    path: &str,
    object_path: &ObjectPath,
    hash: &ContentHash,
    options: &RestoreOptions,
) -> Result<Result<(Value, Option<&'static NeverRule>), SkipReason>, RestoreError> {
    if let Some(bytes) = world.oversize(hash) {
        return Ok(Err(SkipReason::TooLarge { bytes }));
    }
    let wanted = world.wanted_object(path, hash).await?;
    let rule = covering(object_path, &wanted, &options.force_kinds);
    Ok(match rule {
        Some(rule) if rule.reach == Reach::Untouched => Err(SkipReason::NeverList { rule: rule.name.to_owned() }),
        _ if object::is_terminating(&wanted) => Err(SkipReason::WasTerminating),
        _ => Ok((wanted, rule)),
    })
}

async fn missing(
    world: &World<'_>,
    path: String,
    object_path: ObjectPath,
    hash: ContentHash,
    options: &RestoreOptions,
) -> Result<Decision, RestoreError> {
    let wanted = match read_wanted(world, &path, &object_path, &hash, options).await? {
        Ok((wanted, _)) => wanted,
        Err(reason) => return Ok(skip(path, reason)),
    };
    let Some((address, served)) = world.address(&object_path, &wanted)? else {
        return Ok(not_served(path, &wanted));
    };
    if world.owners_stay_gone(&object_path, &wanted).await? {
        return Ok(skip(path, SkipReason::OwnersStayGone));
    }
    let references = references(&object_path, &wanted, world.kinds());
    let mut draft = Draft {
        path,
        object_path,
        operation: Operation::Create { after_gone: false },
        address,
        bound: None,
        wanted: Some(hash),
        live: None,
        unchecked: true,
        refused: None,
        replaces: vec![object::uid(&wanted)],
        drops: Vec::new(),
        owners: owners_of(&references),
        references,
        live_owners: Vec::new(),
    };
    let housed = match draft.namespace_path() {
        Some(namespace) => world.live_uid(&namespace).await?.is_some(),
        None => true,
    };
    // Nothing can be asked of a type, or in a namespace, that is not there yet.
    if served && housed {
        draft.try_create(world, &wanted).await?;
    }
    Ok(Decision::Act(Box::new(draft)))
}

async fn changed(
    world: &World<'_>,
    path: String,
    object_path: ObjectPath,
    live_hash: ContentHash,
    wanted_hash: ContentHash,
    options: &RestoreOptions,
) -> Result<Decision, RestoreError> {
    let (wanted, rule) = match read_wanted(world, &path, &object_path, &wanted_hash, options).await? {
        Ok(found) => found,
        Err(reason) => return Ok(skip(path, reason)),
    };
    let live = world.live_object(&path, &live_hash).await?;
    let neighbours = world.neighbours(&object_path, &[&wanted, &live]).await?;
    let judgement = judge(&object_path, &wanted, &live, &neighbours);
    if judgement.fields.is_empty() && !world.is_converted(&object_path) {
        return Ok(Decision::Explained);
    }
    if is_unsaved(world, &object_path) {
        return Ok(skip(path, SkipReason::Unsaved));
    }
    let Some((address, served)) = world.address(&object_path, &wanted)? else {
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
        refused: None,
        replaces: Vec::new(),
        drops: Vec::new(),
        owners: owners_of(&references),
        references,
        live_owners: owner_uids(&live),
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
    let converts = world.is_converted(&draft.object_path);
    let body = if converts { first_union(&live, &wanted) } else { put_body(&draft.object_path, &wanted, &live) };
    match world.dry_runs.update(&url, &body).await? {
        Verdict::Immutable(reason) => {
            if let Some(rule) = rule {
                return Ok(never(draft.path, rule.name));
            }
            if is_claim(&draft.object_path) {
                let volume = object::text(&live, "/spec/volumeName").map(str::to_owned);
                return Ok(skip(draft.path, SkipReason::VolumeAtRisk { fields: reason, volume }));
            }
            // Its claim would keep it from ending.
            if is_volume(&draft.object_path) && object::text(&live, "/status/phase") == Some("Bound") {
                let volume = Some(object::name(&live).to_owned());
                return Ok(skip(draft.path, SkipReason::VolumeAtRisk { fields: reason, volume }));
            }
            // The objects of a type go with its CRD.
            if defines_unsaved(world, &draft.object_path) {
                return Ok(skip(draft.path, SkipReason::Unsaved));
            }
            let orphan = is_adopted_again(&draft.object_path, &wanted, &live);
            draft.operation = Operation::Recreate { reason, orphan };
            draft.replaces = both;
            draft.try_create(world, &wanted).await?;
        }
        verdict => {
            if converts {
                let storage = Box::new(examine(world.cluster, &live, &wanted, &world.selection).await?);
                draft.operation = Operation::Convert { storage };
            }
            draft.note(verdict);
        }
    }
    Ok(Decision::Act(Box::new(draft)))
}

impl Draft {
    async fn try_create(&mut self, world: &World<'_>, wanted: &Value) -> Result<(), RestoreError> {
        let url = self.address.list_url(object::namespace(wanted));
        let verdict = world.dry_runs.create(&url, &create_body(&self.object_path, wanted)).await?;
        // What is deleted first makes room for itself.
        let room = matches!(verdict, Verdict::Refused(Refuser::Quota { .. })) && self.bound.is_some();
        self.note(if room { Verdict::Unclear } else { verdict });
        Ok(())
    }

    fn note(&mut self, verdict: Verdict) {
        self.unchecked = matches!(verdict, Verdict::Unclear);
        if let Verdict::Refused(refuser) = verdict {
            self.refused = Some(refuser);
        }
    }
}

/// What the live object owns is taken over by the one that is made in its place. A workload adopts by its selector alone,
/// and a Job's is new each time: what it does not adopt would run on for ever.
fn is_adopted_again(path: &ObjectPath, wanted: &Value, live: &Value) -> bool {
    let selector = "/spec/selector";
    match (path.group.as_str(), path.resource.as_str()) {
        ("batch", "jobs") => false,
        ("apps", _) | ("", "replicationcontrollers") => wanted.pointer(selector) == live.pointer(selector),
        _ => true,
    }
}

/// No snapshot would have what is changed or deleted of it.
fn is_unsaved(world: &World<'_>, path: &ObjectPath) -> bool {
    world.unsaved.has(&path.group, &path.resource)
}

/// The same of the type that a CRD defines.
fn defines_unsaved(world: &World<'_>, path: &ObjectPath) -> bool {
    defined_type(path).is_some_and(|(group, resource)| world.unsaved.has(&group, &resource))
}

fn not_served(path: String, value: &Value) -> Decision {
    let api_version = object::text(value, "/apiVersion").unwrap_or_default().to_owned();
    skip(path, SkipReason::NotServed { api_version })
}

fn bound(live: &Value) -> Bound {
    Bound { uid: object::uid(live), resource_version: object::resource_version(live) }
}
