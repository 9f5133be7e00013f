//! Judges what a plan leaves behind as helm-controller will when it starts.
//!
//! In: both trees and the plan. Out: a [`Verdict`] on each HelmRelease that will not be left alone. The order of the
//! questions is helm-controller's own (`DetermineReleaseState`), but that the stored release is looked at before the
//! chart: a lock is to be seen even where helm-controller would wait for the chart first.

use std::collections::BTreeMap;

use serde_json::Value;

use super::chart::offered;
use super::release::{Recorded, StoredRelease, Target, decode};
use super::values::{compose, same_values};
use super::verdict::{Differs, State, Strange, Unknown, Verdict};
use super::view::{HELM_RELEASES, HelmView, folder};
use crate::restore::error::RestoreError;
use crate::restore::object;
use crate::restore::plan::{Action, Plan};
use crate::snapshot::ObjectPath;
use crate::store::SnapshotTree;

/// Judges every HelmRelease at the end of a plan. Named are those that helm-controller will act on, or cannot be known to
/// leave alone, and that the plan changes; and whatever stays locked.
///
/// # Errors
/// A snapshot cannot be read.
pub async fn judge_plan(live: &SnapshotTree, wanted: &SnapshotTree, plan: &Plan) -> Result<Vec<Verdict>, RestoreError> {
    if plan.is_empty() {
        return Ok(Vec::new());
    }
    Ok(judge(&HelmView::load(live).await?, &HelmView::load(wanted).await?, &plan.actions))
}

/// What helm-controller would find of each HelmRelease, by `namespace/name`, if it started on a snapshot's state.
///
/// # Errors
/// The snapshot cannot be read.
pub async fn judge_snapshot(tree: &SnapshotTree) -> Result<BTreeMap<String, State>, RestoreError> {
    let view = HelmView::load(tree).await?;
    let releases = view.beginning_with(folder(HELM_RELEASES));
    Ok(releases.map(|(path, release)| (called(path), state_of(&view, release))).collect())
}

fn called(path: &str) -> String {
    let ObjectPath { namespace, name, .. } = match ObjectPath::parse(path) {
        Some(place) => place,
        None => return path.to_owned(),
    };
    format!("{}/{name}", namespace.unwrap_or_default())
}

pub(super) fn judge(live: &HelmView, wanted: &HelmView, actions: &[Action]) -> Vec<Verdict> {
    let planned = HelmView::planned(live, wanted, actions);
    let mut verdicts = Vec::new();
    for (path, release) in planned.beginning_with(folder(HELM_RELEASES)) {
        let state = |view: &HelmView| view.at(path).map(|release| state_of(view, release));
        let verdict = Verdict {
            release: called(path),
            in_snapshot: state(wanted),
            now: state(live),
            after: state_of(&planned, release),
        };
        let stays_locked = matches!(verdict.after, State::Locked { .. });
        if !verdict.after.is_at_rest() && (stays_locked || verdict.now.as_ref() != Some(&verdict.after)) {
            verdicts.push(verdict);
        }
    }
    verdicts
}

/// What helm-controller finds of a HelmRelease.
pub(super) fn state_of(view: &HelmView, release: &Value) -> State {
    let unknown = |why: Unknown| State::Unknown { why };
    if release.is_null() {
        return unknown(Unknown::UnreadableRelease);
    }
    if object::is_terminating(release) {
        return State::BeingDeleted;
    }
    if release.pointer("/spec/suspend") == Some(&Value::Bool(true)) {
        return State::Suspended;
    }
    if release.pointer("/spec/kubeConfig").is_some_and(|config| !config.is_null()) {
        return unknown(Unknown::OtherCluster);
    }
    let Some(secret) = Target::of(release).newest(view) else { return State::NotInstalled };
    let Some(newest) = decode(secret) else { return unknown(Unknown::UnreadableRelease) };
    let status = newest.info.status.as_str();
    if let "pending-install" | "pending-upgrade" | "pending-rollback" = status {
        return State::Locked { pending: status.to_owned() };
    }
    let Some(recorded) = Recorded::latest(release) else {
        return match status {
            "uninstalled" => State::NotInstalled,
            _ => State::Unmanaged { why: Strange::NoHistory },
        };
    };
    if !recorded.tells_of(&newest) {
        let why = Strange::NotObserved { recorded: recorded.version(), stored: newest.version };
        return State::Unmanaged { why };
    }
    match status {
        "failed" => State::Failed,
        "uninstalled" => State::NotInstalled,
        "deployed" => deployed(view, release, &newest, &recorded).unwrap_or_else(unknown),
        _ => unknown(Unknown::UnreadableRelease),
    }
}

/// Whether the HelmRelease asks for the release that is in force.
fn deployed(
    view: &HelmView,
    release: &Value,
    newest: &StoredRelease,
    recorded: &Recorded<'_>,
) -> Result<State, Unknown> {
    if let Some(why) = offered(view, release)?.differs(&newest.chart.metadata, recorded) {
        return Ok(State::OutOfSync { why });
    }
    let released = newest.config.clone().unwrap_or_default();
    if !same_values(&compose(view, release)?, &released) {
        return Ok(State::OutOfSync { why: Differs::Values });
    }
    // What is rendered after the chart is compared for a generation that was not looked at yet: spec and digests come
    // back together, so that they agree unless the change was under way.
    let is_new = release.pointer("/metadata/generation") != release.pointer("/status/observedGeneration");
    let shapes = [
        "/spec/postRenderers",
        "/spec/commonMetadata",
        "/status/observedPostRenderersDigest",
        "/status/observedCommonMetadataDigest",
    ];
    if is_new && shapes.iter().any(|pointer| release.pointer(pointer).is_some_and(|value| !value.is_null())) {
        return Err(Unknown::NotYetObserved);
    }
    Ok(State::InSync)
}
