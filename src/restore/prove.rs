//! Proves a restore: the cluster is captured again and compared with what was wanted.
//!
//! In: the wanted snapshot. Out: a [`Proof`] in which every remaining difference is either explained by the closed list
//! or named as unexplained (I6). Controllers get some seconds to settle; when owners were made anew, garbage collection
//! gets 90 (it was seen to delete a dependent 84 seconds after its owner's type came back).

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cluster::Cluster;
use crate::progress::{Progress, ProgressEvent};
use crate::snapshot::{CaptureOptions, Change, ObjectPath, TYPES_PATH, UnlistableType, capture_cluster, diff_trees};
use crate::store::{SnapshotTree, SnapshotWriter};

use super::added_types::objects_of_type;
use super::address::is_crd;
use super::applied::Applied;
use super::comparison::Allowed;
use super::error::RestoreError;
use super::judge::judge;
use super::never_list::{Reach, covering};
use super::object;
use super::options::{AddedTypes, RestoreOptions, Wait};
use super::proof::{Difference, Explained, Proof, Unexplained};
use super::references::is_claim;
use super::storage_versions::comparable_versions;
use super::world::World;

/// How long garbage collection is watched when owners were made anew.
const COLLECTION: Duration = Duration::from_secs(90);
/// How long controllers may take to settle.
const SETTLING: Duration = Duration::from_secs(20);
/// Between two captures meanwhile.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How many types are listed at once.
const PARALLEL: usize = 4;

/// Captures the cluster again and compares it with what was wanted.
///
/// # Errors
/// The cluster cannot be captured, or a snapshot cannot be read.
pub async fn prove(
    cluster: &Cluster,
    applied: &Applied,
    wanted: &SnapshotTree,
    options: &RestoreOptions,
    wait: Wait,
    progress: &dyn Progress,
) -> Result<Proof, RestoreError> {
    progress.report(ProgressEvent::Stage("proving".to_owned()));
    let started = Instant::now();
    let mut proof = look(cluster, wanted, options, progress).await?;
    while !proof.unexplained.is_empty() && started.elapsed() < SETTLING {
        tokio::time::sleep(LOOK_EVERY).await;
        proof = look(cluster, wanted, options, progress).await?;
    }
    if applied.references_mapped == 0 {
        return Ok(proof);
    }
    match wait {
        Wait::Skip => {
            proof.skipped = Some(format!(
                "owners were made anew, and garbage collection was not given its {} seconds to object",
                COLLECTION.as_secs()
            ));
        }
        Wait::Full => {
            let seconds = COLLECTION.as_secs();
            progress.report(ProgressEvent::Stage(format!("watching garbage collection for {seconds} s")));
            progress.report(ProgressEvent::Expect(seconds));
            while started.elapsed() < COLLECTION {
                tokio::time::sleep(Duration::from_secs(1)).await;
                progress.report(ProgressEvent::Done(1));
            }
            proof = look(cluster, wanted, options, progress).await?;
            proof.watched_seconds = started.elapsed().as_secs();
        }
    }
    Ok(proof)
}

/// One capture and its comparison.
async fn look(
    cluster: &Cluster,
    wanted: &SnapshotTree,
    options: &RestoreOptions,
    progress: &dyn Progress,
) -> Result<Proof, RestoreError> {
    let mut writer = SnapshotWriter::scratch(Some(wanted.clone()));
    let capture_options = CaptureOptions {
        selection: options.selection.clone(),
        with_events: false,
        parallel: PARALLEL,
        versions: comparable_versions(wanted).await?,
    };
    let capture = capture_cluster(cluster, &capture_options, &mut writer, progress).await?;
    let live = writer.finish().await?.tree();
    compare(cluster, &live, &capture.unlistable, wanted, options).await
}

/// Compares a capture, and what it could not list, with what was wanted.
///
/// # Errors
/// A snapshot cannot be read, or the API server not be asked about what was not captured.
pub async fn compare(
    cluster: &Cluster,
    live: &SnapshotTree,
    unlistable: &[UnlistableType],
    wanted: &SnapshotTree,
    options: &RestoreOptions,
) -> Result<Proof, RestoreError> {
    let world = World::load(cluster, live, wanted, options).await?;
    let meant = unlistable.iter().filter(|missing| world.selection.may_include_type(&missing.group, &missing.resource));
    let mut proof = Proof {
        unlistable: meant
            .map(|missing| format!("{}.{}: {}", missing.resource, missing.group, missing.reason))
            .collect(),
        ..Proof::default()
    };
    for change in diff_trees(live, wanted, &world.selection).await? {
        let Some(path) = ObjectPath::parse(&change.path).filter(|_| change.path != TYPES_PATH) else { continue };
        // What could not be listed is not missing: it is named above, and nothing is proven of it.
        let unread = unlistable.iter().any(|unread| unread.group == path.group && unread.resource == path.resource);
        if unread || options.holding.hides(&change.path) {
            continue;
        }
        match sort(&world, &change, &path, options).await? {
            Ok(by) => proof.explained.push(Explained { path: change.path, by }),
            Err(difference) => proof.unexplained.push(Unexplained { path: change.path, difference }),
        }
    }
    Ok(proof)
}

/// What explains a difference, or what it is.
async fn sort(
    world: &World<'_>,
    change: &Change,
    path: &ObjectPath,
    options: &RestoreOptions,
) -> Result<Result<Vec<Allowed>, Difference>, RestoreError> {
    if let Some(bytes) = change.after.as_ref().and_then(|entry| world.oversize(&entry.hash)) {
        return Ok(Err(Difference::TooLarge { bytes }));
    }
    let live = match &change.before {
        Some(entry) => Some(world.live_object(&change.path, &entry.hash).await?),
        None => None,
    };
    let wanted = match &change.after {
        Some(entry) => Some(world.wanted_object(&change.path, &entry.hash).await?),
        None => None,
    };
    let rule = wanted.as_ref().or(live.as_ref()).and_then(|value| covering(path, value, &options.force_kinds));
    if rule.is_some_and(|rule| rule.reach == Reach::Untouched || wanted.is_none()) {
        return Ok(Ok(vec![Allowed::NeverList]));
    }
    if wanted.as_ref().is_some_and(object::is_terminating) {
        return Ok(Ok(vec![Allowed::WasTerminating]));
    }
    if let (Some(live), None, AddedTypes::KeepInUse, true) = (&live, &wanted, options.added_types, is_crd(path))
        && objects_of_type(world.cluster, live).await? != Some(0)
    {
        return Ok(Ok(vec![Allowed::TypeInUse]));
    }
    Ok(match (&live, &wanted) {
        (Some(live), Some(wanted)) => {
            let neighbours = world.neighbours(path, &[wanted, live]).await?;
            let mut judgement = judge(path, wanted, live, &neighbours);
            // A claim's phase is its controller's, but one that was bound and is lost now has not come back.
            if is_claim(path) && phase(wanted) == Some("Bound") && phase(live) != Some("Bound") {
                judgement.fields.push("status.phase".to_owned());
            }
            if options.running && world.is_custom(path) {
                judgement.leave_to_controllers();
            }
            if judgement.fields.is_empty() {
                Ok(judgement.by.into_iter().collect())
            } else {
                Err(Difference::Fields { fields: judgement.fields })
            }
        }
        (None, Some(wanted)) if world.owners_stay_gone(path, wanted).await? => Ok(vec![Allowed::OwnerCollected]),
        (None, _) => Err(Difference::Missing),
        (_, None) => Err(Difference::Extra),
    })
}

fn phase(claim: &Value) -> Option<&str> {
    object::text(claim, "/status/phase")
}
