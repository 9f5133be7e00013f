//! Computes a plan.
//!
//! In: both trees. Out: a [`Plan`]. Flow: the changed files, plus all that lies in what goes away by itself (a
//! namespace or CRD that is being deleted); each is decided on its own; then live dependents of owners that come back
//! under new UIDs are found, and everything is put in order: extra webhooks, policies and API servers go, dependents are
//! let go of, the writes, the other deletes, and what comes back of the first kind. Invariant: nothing is written (I5).

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::progress::{Progress, ProgressEvent};
use crate::snapshot::{Change, ObjectPath, TYPES_PATH, diff_trees};
use crate::store::SnapshotTree;

use super::added_types::keep_types_in_use;
use super::address::{crd_path, is_crd, is_namespace};
use super::decide::{Decision, Decisions, Draft, decide};
use super::dependents::{Dependents, Going, find_dependents};
use super::error::RestoreError;
use super::finalizers::finalizers_waited_for;
use super::never_list;
use super::object;
use super::options::{AddedTypes, RestoreOptions};
use super::order::{Node, Stage, stages};
use super::plan::{Action, Operation, Plan, SkipReason, Skipped};
use super::references::{Purpose, core_path, is_claim};
use super::service_address::{is_service, services, taken};
use super::storage_versions::{find_conversions, put_off};
use super::tokens::tokens_that_end;
use super::world::World;

/// Compares the capture of the live cluster with the wanted snapshot and plans the way back.
///
/// # Errors
/// A snapshot cannot be read, or the cluster does not answer.
pub async fn plan(
    cluster: &Cluster,
    live: &SnapshotTree,
    wanted: &SnapshotTree,
    options: &RestoreOptions,
    progress: &dyn Progress,
) -> Result<Plan, RestoreError> {
    never_list::check_rules(&options.force_kinds)?;
    progress.report(ProgressEvent::Stage("comparing with the cluster".to_owned()));
    let mut world = World::load(cluster, live, wanted, options).await?;
    let mut changes = diff_trees(live, wanted, &world.selection).await?;
    changes.retain(|change| change.path != TYPES_PATH && ObjectPath::parse(&change.path).is_some());
    find_doomed(&mut world, &changes).await?;
    find_conversions(&mut world, &mut changes).await?;

    progress.report(ProgressEvent::Stage("planning".to_owned()));
    let mut planned = decide_all(&world, changes, options, progress).await?;
    // A CRD that is made anew takes its objects with it: they are all decided again.
    let recreated: BTreeSet<_> = planned.drafts.iter().filter_map(Draft::type_that_goes).collect();
    if !recreated.is_empty() {
        world.doomed.types.extend(recreated);
        let changes = diff_trees(live, wanted, &world.selection).await?;
        let mut objects = changes.into_iter().filter(|change| ObjectPath::parse(&change.path).is_some()).collect();
        find_conversions(&mut world, &mut objects).await?;
        planned = decide_all(&world, objects, options, progress).await?;
    }
    drop_homeless(&world, &mut planned).await?;
    if options.added_types == AddedTypes::KeepInUse {
        keep_types_in_use(&world, &mut planned).await?;
    }
    find_taken_addresses(&world, &mut planned.drafts).await?;
    let dependents = find_dependents(&world, &planned, options).await?;
    assemble(&world, planned, dependents).await
}

/// Namespaces and CRDs that are being deleted now.
async fn find_doomed(world: &mut World<'_>, changes: &[Change]) -> Result<(), RestoreError> {
    for change in changes {
        let (Some(path), Some(entry)) = (ObjectPath::parse(&change.path), &change.before) else { continue };
        if !is_crd(&path) && !is_namespace(&path) {
            continue;
        }
        let live = world.live_object(&change.path, &entry.hash).await?;
        if !object::is_terminating(&live) {
            continue;
        }
        if is_namespace(&path) {
            world.doomed.namespaces.insert(path.name);
        } else {
            let text = |pointer: &str| object::text(&live, pointer).unwrap_or_default().to_owned();
            world.doomed.types.insert((text("/spec/group"), text("/spec/names/plural")));
        }
    }
    Ok(())
}

async fn decide_all(
    world: &World<'_>,
    changes: Vec<Change>,
    options: &RestoreOptions,
    progress: &dyn Progress,
) -> Result<Decisions, RestoreError> {
    let mut changes: BTreeMap<String, Change> =
        changes.into_iter().map(|change| (change.path.clone(), change)).collect();
    changes.retain(|path, _| !world.holding.hides(path));
    if !world.doomed.is_empty() {
        add_doomed(world, &mut changes).await?;
    }
    add_volumes(world, &mut changes).await?;
    let later = put_off(world, &mut changes);
    progress.report(ProgressEvent::Expect(changes.len() as u64));
    let mut decisions = futures::stream::iter(changes.into_values())
        .map(|change| decide(world, change, options))
        .buffered(options.parallel.max(1));
    let mut planned = Decisions { skipped: later, ..Decisions::default() };
    while let Some(decision) = decisions.try_next().await? {
        progress.report(ProgressEvent::Done(1));
        match decision {
            Decision::Act(draft) => planned.drafts.push(*draft),
            Decision::Skip(skipped) => planned.skipped.push(skipped),
            Decision::Explained => planned.explained += 1,
            Decision::Nothing => {}
        }
    }
    Ok(planned)
}

/// Whatever the snapshot has in a doomed place is missing soon, though it may be there and equal now.
async fn add_doomed(world: &World<'_>, changes: &mut BTreeMap<String, Change>) -> Result<(), RestoreError> {
    let mut files = world.wanted.walk("cluster");
    while let Some((path, entry)) = files.try_next().await? {
        let doomed = ObjectPath::parse(&path).is_some_and(|parsed| world.doomed.covers(&parsed));
        if doomed && world.selection.includes_path(&path) {
            changes.insert(path.clone(), Change { path, before: None, after: Some(entry) });
        }
    }
    changes.retain(|path, change| {
        change.after.is_some() || !ObjectPath::parse(path).is_some_and(|parsed| world.doomed.covers(&parsed))
    });
    Ok(())
}

/// The volumes of claims that come back: each names its claim by a UID that is no more. One that the volume controller has
/// not let go of yet is as the snapshot has it, and one outside the selection would keep its claim from being bound.
async fn add_volumes(world: &World<'_>, changes: &mut BTreeMap<String, Change>) -> Result<(), RestoreError> {
    let mut volumes = Vec::new();
    for change in changes.values() {
        let (None, Some(entry), Some(path)) = (&change.before, &change.after, ObjectPath::parse(&change.path)) else {
            continue;
        };
        // A claim without a namespace cannot come back.
        let home = path.namespace.as_deref().map(|name| core_path("namespaces", None, name)).unwrap_or_default();
        let homed = changes.get(&home).is_some_and(|change| change.after.is_some());
        if is_claim(&path) && (homed || world.live_uid(&home).await?.is_some()) {
            let claim = world.wanted_object(&change.path, &entry.hash).await?;
            volumes.extend(
                object::text(&claim, "/spec/volumeName").map(|name| core_path("persistentvolumes", None, name)),
            );
        }
    }
    for path in volumes {
        let (before, after) = (world.live.entry(&path).await?, world.wanted.entry(&path).await?);
        if after.is_some() {
            changes.entry(path.clone()).or_insert(Change { path, before, after });
        }
    }
    Ok(())
}

/// What would come back into a namespace that neither exists nor comes back cannot.
async fn drop_homeless(world: &World<'_>, planned: &mut Decisions) -> Result<(), RestoreError> {
    let made: BTreeSet<String> = planned.drafts.iter().filter(|draft| draft.makes()).map(Draft::key).collect();
    let mut kept = Vec::with_capacity(planned.drafts.len());
    for draft in std::mem::take(&mut planned.drafts) {
        let homeless = match draft.namespace_path() {
            Some(home) if draft.makes() && !made.contains(&home) => world.live_uid(&home).await?.is_none(),
            _ => false,
        };
        if homeless {
            planned.skipped.push(Skipped { path: draft.path, reason: SkipReason::NoNamespace });
        } else {
            kept.push(draft);
        }
    }
    planned.drafts = kept;
    planned.skipped.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(())
}

/// A Service cannot have its address back while another one that stays as it is has it.
async fn find_taken_addresses(world: &World<'_>, drafts: &mut [Draft]) -> Result<(), RestoreError> {
    if !drafts.iter().any(|draft| draft.makes() && is_service(&draft.object_path)) {
        return Ok(());
    }
    let services = services(world.cluster).await?;
    let moving: BTreeSet<String> = drafts.iter().map(Draft::key).collect();
    for draft in drafts.iter_mut().filter(|draft| draft.makes() && is_service(&draft.object_path)) {
        let Some(hash) = draft.wanted else { continue };
        let wanted = world.wanted_object(&draft.path, &hash).await?;
        if let Some((refuser, holder)) = taken(&wanted, &services)
            && !moving.contains(&service_path(holder))
        {
            draft.refused.get_or_insert(refuser);
        }
    }
    Ok(())
}

async fn assemble(world: &World<'_>, planned: Decisions, dependents: Dependents) -> Result<Plan, RestoreError> {
    let Decisions { mut drafts, skipped, explained } = planned;
    for draft in &mut drafts {
        for uid in dependents.known_as.get(&draft.path).into_iter().flatten() {
            if !draft.replaces.contains(uid) {
                draft.replaces.push(uid.clone());
            }
        }
        let has = |uids: &[String]| uids.iter().any(|uid| dependents.owners.contains(uid));
        match &mut draft.operation {
            Operation::Recreate { orphan, .. } => *orphan &= has(&draft.replaces),
            Operation::Delete { objects, orphan } => {
                *objects = dependents.inside(&draft.object_path);
                *orphan = draft.bound.as_ref().is_some_and(|bound| dependents.staying.contains(&bound.uid));
            }
            _ => {}
        }
    }
    let (releases, rewrites) = (dependents.releases, dependents.rewrites);
    drafts.extend(rewrites);
    drop_lost_owners(world, &mut drafts, &releases).await?;

    let guards = guards(&drafts, &releases);
    let uids = known_uids(world, &drafts).await?;
    let (deletes, writes): (Vec<Draft>, Vec<Draft>) =
        drafts.into_iter().partition(|draft| matches!(draft.operation, Operation::Delete { .. }));
    let acting: BTreeSet<String> = writes.iter().map(Draft::key).collect();

    // What was put in everybody's way goes before anything is written that it could refuse, change or hold up.
    let (in_the_way, deletes): (Vec<Draft>, Vec<Draft>) =
        deletes.into_iter().partition(|draft| stands_in_the_way(&draft.object_path));
    let mut actions: Vec<Action> = in_the_way.into_iter().map(|draft| draft.into_action(0, Vec::new())).collect();
    actions.extend(releases.into_iter().map(|draft| draft.into_action(1, Vec::new())));
    let needs = |draft: &Draft| -> Vec<String> {
        let mut needs: Vec<String> = draft.possible_needs().into_iter().filter(|need| acting.contains(need)).collect();
        // An owner, or the CRD of its type, must not come back before its dependents are let go of.
        needs.extend(guards.get(&draft.path).into_iter().flatten().cloned());
        needs.retain(|need| *need != draft.path);
        needs
    };
    // And what comes back of that kind comes last of all, after the other deletes too.
    let (gates, writes): (Vec<Draft>, Vec<Draft>) =
        writes.into_iter().partition(|draft| stands_in_the_way(&draft.object_path));
    let deletes = by_stage(deletes).into_values().rev();
    let mut wave = 1;
    for group in by_stage(writes).into_values().chain(deletes).chain(by_stage(gates).into_values()) {
        wave += 1;
        for draft in group {
            let needs = if matches!(draft.operation, Operation::Delete { .. }) { Vec::new() } else { needs(&draft) };
            actions.push(draft.into_action(wave, needs));
        }
    }
    let tokens = tokens_that_end(world, &actions).await?;
    let finalizers = finalizers_waited_for(world, &actions).await?;
    Ok(Plan {
        live: world.live.root(),
        wanted: world.wanted.root(),
        scope: world.selection.canonical_text(),
        actions,
        skipped,
        explained,
        uids,
        tokens,
        finalizers,
    })
}

/// For each owner that comes back, and for the CRD of its type: the dependents that must have been let go of before.
fn guards(drafts: &[Draft], releases: &[Draft]) -> BTreeMap<String, BTreeSet<String>> {
    let mut guards: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let owners = drafts.iter().filter(|draft| draft.makes());
    let by_path: BTreeMap<&str, &Draft> = owners.map(|draft| (draft.path.as_str(), draft)).collect();
    for release in releases {
        for path in &release.owners {
            let owner = by_path.get(path.as_str());
            let crd = ObjectPath::parse(path).map(|path| crd_path(&path.group, &path.resource));
            let guarded = owner.map(|owner| owner.path.clone()).into_iter().chain(crd);
            for guarded in guarded.filter(|path| by_path.contains_key(path.as_str())) {
                guards.entry(guarded).or_default().insert(release.path.clone());
            }
        }
    }
    guards
}

/// References to owners that are gone and do not come back, or go now, are not written. One that the live object has stays, unless
/// it has to be let go of.
async fn drop_lost_owners(world: &World<'_>, drafts: &mut [Draft], releases: &[Draft]) -> Result<(), RestoreError> {
    let made: BTreeSet<String> = drafts.iter().filter(|draft| draft.makes()).map(Draft::key).collect();
    let going = Going::of(drafts);
    let types: BTreeSet<(String, String)> = drafts.iter().filter_map(Draft::type_made).collect();
    let lasting: BTreeMap<&str, &[String]> = releases
        .iter()
        .filter_map(|release| match &release.operation {
            Operation::Release { lasting, .. } => Some((release.path.as_str(), lasting.as_slice())),
            _ => None,
        })
        .collect();
    for draft in drafts.iter_mut().filter(|draft| draft.wanted.is_some()) {
        let let_go = lasting.get(draft.path.as_str()).copied().unwrap_or_default();
        let mut drops = Vec::new();
        for reference in draft.references.iter().filter(|reference| reference.purpose == Purpose::Owner) {
            let Some(path) = reference.path.as_ref().filter(|path| !made.contains(*path)) else { continue };
            let Some(owner) = ObjectPath::parse(path) else { continue };
            let uid = &reference.uid;
            let kept = !draft.makes() && draft.live_owners.contains(uid) && !let_go.contains(uid);
            // Of a type that nobody serves garbage collection knows nothing.
            let watched = world.serves(&owner) || types.contains(&(owner.group.clone(), owner.resource.clone()));
            let gone = going.takes(reference) || !kept && world.live_uid(path).await?.is_none();
            if watched && gone {
                drops.push(uid.clone());
            }
        }
        draft.drops = drops;
    }
    Ok(())
}

/// Webhooks, admission policies and other API servers refuse, change or hold up what others do.
fn stands_in_the_way(path: &ObjectPath) -> bool {
    matches!(path.group.as_str(), "admissionregistration.k8s.io" | "apiregistration.k8s.io")
}

fn service_path(service: &Value) -> String {
    core_path("services", object::namespace(service), object::name(service))
}

fn by_stage(drafts: Vec<Draft>) -> BTreeMap<Stage, Vec<Draft>> {
    let nodes: Vec<Node> =
        drafts.iter().map(|draft| Node { path: draft.path.clone(), owners: draft.owners.clone() }).collect();
    let mut groups: BTreeMap<Stage, Vec<Draft>> = BTreeMap::new();
    for (stage, draft) in stages(&nodes).into_iter().zip(drafts) {
        groups.entry(stage).or_default().push(draft);
    }
    groups
}

/// Objects that are referred to under a UID of the past, and exist under another one.
async fn known_uids(world: &World<'_>, drafts: &[Draft]) -> Result<BTreeMap<String, String>, RestoreError> {
    let replaced: BTreeSet<&String> = drafts.iter().flat_map(|draft| &draft.replaces).collect();
    let mut uids = BTreeMap::new();
    for reference in drafts.iter().flat_map(|draft| &draft.references) {
        let Some(path) = reference.path.as_ref().filter(|_| !replaced.contains(&reference.uid)) else { continue };
        if let Some(live) = world.live_uid(path).await?
            && live != reference.uid
        {
            uids.insert(reference.uid.clone(), live);
        }
    }
    Ok(uids)
}
