//! Computes a plan.
//!
//! In: both trees. Out: a [`Plan`]. Flow: the changed files, plus all that lies in what goes away by itself (a
//! namespace or CRD that is being deleted); each is decided on its own; then live dependents of owners that come back
//! under new UIDs are found, and everything is put in order. Invariant: nothing is written (I5).

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, TryStreamExt as _};

use crate::cluster::Cluster;
use crate::progress::{Progress, ProgressEvent};
use crate::snapshot::{Change, ObjectPath, TYPES_PATH, diff_trees};
use crate::store::SnapshotTree;

use super::address::{CRD_GROUP, CRD_RESOURCE};
use super::decide::{Decision, Draft, decide};
use super::dependents::{Dependents, find_dependents};
use super::error::RestoreError;
use super::never_list;
use super::object;
use super::options::RestoreOptions;
use super::order::{Node, Stage, stages};
use super::plan::{Action, Operation, Plan, SkipReason, Skipped};
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
    if let Some(name) = options.force_kinds.iter().find(|name| never_list::rule(name).is_none()) {
        return Err(RestoreError::UnknownRule { name: name.clone() });
    }
    progress.report(ProgressEvent::Stage("comparing with the cluster".to_owned()));
    let mut world = World::load(cluster, live, wanted, &options.selection).await?;
    let mut changes = diff_trees(live, wanted, &world.selection).await?;
    changes.retain(|change| change.path != TYPES_PATH && ObjectPath::parse(&change.path).is_some());
    find_doomed(&mut world, &changes).await?;

    progress.report(ProgressEvent::Stage("planning".to_owned()));
    let mut planned = decide_all(&world, changes, options, progress).await?;
    // A CRD that is made anew takes its objects with it: they are all decided again.
    let recreated: BTreeSet<_> = planned.drafts.iter().filter_map(Draft::type_that_goes).collect();
    if !recreated.is_empty() {
        world.doomed.types.extend(recreated);
        let changes = diff_trees(live, wanted, &world.selection).await?;
        let objects = changes.into_iter().filter(|change| ObjectPath::parse(&change.path).is_some()).collect();
        planned = decide_all(&world, objects, options, progress).await?;
    }
    drop_homeless(&world, &mut planned).await?;
    let dependents = find_dependents(&world, &planned.drafts, options).await?;
    assemble(&world, planned, dependents).await
}

#[derive(Default)]
struct Planned {
    drafts: Vec<Draft>,
    skipped: Vec<Skipped>,
    explained: u64,
}

/// Namespaces and CRDs that are being deleted now.
async fn find_doomed(world: &mut World<'_>, changes: &[Change]) -> Result<(), RestoreError> {
    for change in changes {
        let (Some(path), Some(entry)) = (ObjectPath::parse(&change.path), &change.before) else { continue };
        let is_crd = path.group == CRD_GROUP && path.resource == CRD_RESOURCE;
        let is_namespace = path.group.is_empty() && path.resource == "namespaces";
        if !is_crd && !is_namespace {
            continue;
        }
        let live = world.live_object(&change.path, &entry.hash).await?;
        if !object::is_terminating(&live) {
            continue;
        }
        if is_namespace {
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
) -> Result<Planned, RestoreError> {
    let mut changes: BTreeMap<String, Change> =
        changes.into_iter().map(|change| (change.path.clone(), change)).collect();
    if !world.doomed.is_empty() {
        add_doomed(world, &mut changes).await?;
    }
    progress.report(ProgressEvent::Expect(changes.len() as u64));
    let mut decisions = futures::stream::iter(changes.into_values())
        .map(|change| decide(world, change, options))
        .buffered(options.parallel.max(1));
    let mut planned = Planned::default();
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

/// What would come back into a namespace that neither exists nor comes back cannot.
async fn drop_homeless(world: &World<'_>, planned: &mut Planned) -> Result<(), RestoreError> {
    let creates = |draft: &Draft| matches!(draft.operation, Operation::Create { .. } | Operation::Recreate { .. });
    let made: BTreeSet<String> = planned.drafts.iter().filter(|draft| creates(draft)).map(Draft::key).collect();
    let mut kept = Vec::with_capacity(planned.drafts.len());
    for draft in std::mem::take(&mut planned.drafts) {
        let homeless = match draft.namespace_path() {
            Some(home) if creates(&draft) && !made.contains(&home) => world.live_uid(&home).await?.is_none(),
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

async fn assemble(world: &World<'_>, planned: Planned, dependents: Dependents) -> Result<Plan, RestoreError> {
    let Planned { mut drafts, skipped, explained } = planned;
    for draft in &mut drafts {
        let has = |uids: &[String]| uids.iter().any(|uid| dependents.owners.contains(uid));
        match &mut draft.operation {
            Operation::Recreate { orphan, .. } => *orphan = has(&draft.replaces),
            Operation::Delete { objects, orphan } => {
                *objects = dependents.inside(&draft.object_path);
                *orphan = draft.bound.as_ref().is_some_and(|bound| dependents.staying.contains(&bound.uid));
            }
            _ => {}
        }
    }
    let (releases, rewrites) = (dependents.releases, dependents.rewrites);
    let released: BTreeMap<String, Vec<String>> = releases
        .iter()
        .map(|draft| match &draft.operation {
            Operation::Release { uids } => (draft.path.clone(), uids.clone()),
            _ => (draft.path.clone(), Vec::new()),
        })
        .collect();
    drafts.extend(rewrites);

    let guards = guards(&drafts, &released);
    let uids = known_uids(world, &drafts).await?;
    let (deletes, writes): (Vec<Draft>, Vec<Draft>) =
        drafts.into_iter().partition(|draft| matches!(draft.operation, Operation::Delete { .. }));
    let acting: BTreeSet<String> = writes.iter().map(Draft::key).collect();

    let mut actions: Vec<Action> = Vec::new();
    let mut wave = 0;
    for draft in releases {
        actions.push(draft.into_action(wave, Vec::new()));
    }
    for (_, group) in by_stage(writes) {
        wave += 1;
        for draft in group {
            let mut needs: Vec<String> =
                draft.possible_needs().into_iter().filter(|need| acting.contains(need)).collect();
            // An owner, or the CRD of its type, must not come back before its dependents are let go of.
            needs.extend(guards.get(&draft.path).into_iter().flatten().cloned());
            needs.retain(|need| *need != draft.path);
            actions.push(draft.into_action(wave, needs));
        }
    }
    for (_, group) in by_stage(deletes).into_iter().rev() {
        wave += 1;
        actions.extend(group.into_iter().map(|draft| draft.into_action(wave, Vec::new())));
    }
    Ok(Plan {
        live: world.live.root(),
        wanted: world.wanted.root(),
        scope: world.selection.canonical_text(),
        actions,
        skipped,
        explained,
        uids,
    })
}

/// For each owner that comes back, and for the CRD of its type: the dependents that must have been let go of before.
fn guards(drafts: &[Draft], released: &BTreeMap<String, Vec<String>>) -> BTreeMap<String, BTreeSet<String>> {
    let mut guards: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (dependent, uids) in released {
        for owner in drafts.iter().filter(|draft| draft.replaces.iter().any(|uid| uids.contains(uid))) {
            for guarded in std::iter::once(owner.path.clone()).chain(owner.address.crd_path()) {
                guards.entry(guarded).or_default().insert(dependent.clone());
            }
        }
    }
    guards
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
