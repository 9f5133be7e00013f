//! `snapback rollback [SNAPSHOT]`: the platform goes back to what it was before an upgrade.

use std::io;

use snapback::journal::{Begun, Purpose};
use snapback::named_file;
use snapback::restore::{RollbackScope, check_rules};
use snapback::rollback::ReviewedPlan;
use snapback::store::Snapshot;

use super::advice::shell_word;
use super::arguments::RollbackArguments;
use super::error::Failure;
use super::exit::Exit;
use super::intended::Intended;
use super::restore_failure::restore_failure;
use super::session::Session;
use super::site::Site;
use super::snapshot_name::{PRE_UPGRADE, SnapshotName};
use super::snapshots::when;

/// Rolls back, shows what that would do, or goes on with a rollback that was interrupted.
pub(crate) async fn run(session: &Session<'_>, arguments: &RollbackArguments) -> Result<Exit, Failure> {
    if let Some(path) = &arguments.plan_out {
        check_free(path)?;
    }
    let site = Site::new(session, session.open_to_add().await?).await?;
    let consent = &arguments.consent;
    if let Some(unfinished) = site.unfinished().await? {
        let named = match (arguments.snapshot.as_deref(), &arguments.plan) {
            (Some(name), _) => {
                let snapshot = session.stored(&site.opened, &SnapshotName::parse(name)?).await?;
                Some((snapshot.number, arguments.scope.to_string()))
            }
            (None, Some(plan)) => read_plan(plan).map(|plan| Some((plan.wanted.number, plan.scope)))?,
            (None, None) => None,
        };
        // Whoever wants a plan wants nothing changed.
        let means = |begun: &Begun| {
            arguments.plan_out.is_none()
                && named.is_none_or(|named| named == (begun.wanted.number, begun.scope.clone()))
        };
        return site.go_on(&unfinished, Purpose::Rollback, means, consent).await;
    }
    consent.refuse_to_give_up()?;
    let reviewed = arguments.plan.as_deref().map(read_plan).transpose()?;
    if let Some(other) = reviewed.as_ref().filter(|reviewed| reviewed.cluster != site.identity) {
        let text = format!("the plan is for another cluster (`{}`)", other.cluster);
        return Err(Failure::new(Exit::Refused, text).hint("name the right cluster with --context"));
    }
    let snapshot = match (&reviewed, arguments.snapshot.as_deref()) {
        (Some(reviewed), _) => {
            let wanted = &reviewed.wanted;
            site.opened.history.find(wanted.number, &wanted.id).cloned().ok_or_else(|| {
                let text = format!("the plan is for snapshot {}, which this repository does not have", reviewed.wanted);
                Failure::new(Exit::Refused, text).hint("name the repository that it was made with by --repo")
            })?
        }
        (None, Some(name)) => session.stored(&site.opened, &SnapshotName::parse(name)?).await?,
        (None, None) => pre_upgrade(&site)?,
    };
    let (scope, mut force) = match &reviewed {
        Some(reviewed) => {
            let scope = reviewed.scope.parse::<RollbackScope>();
            (scope.map_err(|error| Failure::of(Exit::Usage, &error))?, reviewed.force.clone())
        }
        None => {
            let force = arguments.force.clone();
            check_rules(&force).map_err(restore_failure)?;
            (arguments.scope.clone(), force)
        }
    };
    site.check(Purpose::Rollback, &snapshot).await?;
    consent.add_to(&mut force);
    let mut command = format!("snapback rollback {}", snapshot.number);
    if let Some(plan) = &arguments.plan {
        command = format!("snapback rollback --plan {}", shell_word(&plan.to_string_lossy()));
    } else {
        if scope != RollbackScope::default() {
            command.push_str(&format!(" --scope {}", shell_word(&scope.to_string())));
        }
        arguments.force.iter().for_each(|rule| command.push_str(&format!(" --force {}", shell_word(rule))));
    }
    consent.options(&mut command);
    let purpose = Purpose::Rollback;
    let intended = Intended { purpose, snapshot, scope, force, reviewed, command };
    site.begin(&intended, consent, arguments.plan_out.as_deref()).await
}

/// The newest complete snapshot of this cluster that was taken before an upgrade.
fn pre_upgrade(site: &Site<'_>) -> Result<Snapshot, Failure> {
    let snapshots = site.opened.history.snapshots();
    let ours = |snapshot: &&Snapshot| snapshot.body.cluster == site.identity && snapshot.body.label == PRE_UPGRADE;
    let usable = |snapshot: &&Snapshot| snapshot.body.complete && snapshot.body.scope.is_empty();
    if let Some(snapshot) = snapshots.iter().rev().filter(ours).find(usable) {
        return Ok(snapshot.clone());
    }
    let failure = match snapshots.iter().rev().find(ours) {
        Some(partial) => Failure::new(
            Exit::Refused,
            format!(
                "snapshot #{} ({PRE_UPGRADE}, {}) does not hold the whole cluster, and there is no other one",
                partial.number,
                when(partial.body.time)
            ),
        ),
        None => Failure::new(Exit::Refused, format!("no snapshot of this cluster has the label {PRE_UPGRADE}")),
    };
    Err(failure
        .hint("`snapback snapshots` lists what there is, and `snapback rollback NUMBER` goes back to one of them")
        .hint(format!("before an upgrade, `snapback backup --label {PRE_UPGRADE}` takes one")))
}

/// Reading a cluster takes a while: that a plan has no place is said before.
fn check_free(path: &std::path::Path) -> Result<(), Failure> {
    // A link that leads nowhere is in the way, too.
    if path.symlink_metadata().is_err() {
        return Ok(());
    }
    let text = format!("`{}` is there already, and a plan is not written over another file", path.display());
    Err(Failure::new(Exit::Refused, text).hint("name a new file, or remove that one"))
}

fn read_plan(path: &std::path::Path) -> Result<ReviewedPlan, Failure> {
    let name = path.display();
    let anew = "`snapback rollback --plan-out FILE` makes a plan";
    // A pipe that nobody writes to would be waited for, and no signal heard.
    let bytes = match path.metadata() {
        Ok(found) if !found.is_file() => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")),
        _ => named_file::read(path, named_file::MOST_OF_A_PLAN),
    };
    let bytes = bytes.map_err(|error| {
        Failure::new(Exit::Usage, format!("cannot read the plan `{name}`")).caused_by(&error).hint(anew)
    })?;
    ReviewedPlan::parse(&bytes)
        .map_err(|error| Failure::new(Exit::Usage, format!("`{name}` cannot be used")).caused_by(&error).hint(anew))
}
