//! `snapback restore SNAPSHOT`: what a snapshot holds, or a part of it, is put back; nothing is held still meanwhile.

use snapback::journal::{Begun, Purpose};
use snapback::restore::{RollbackScope, check_rules, never_list};
use snapback::rollback::HOLD_NOTHING;
use snapback::store::Snapshot;

use super::advice::shell_word;
use super::arguments::RestoreArguments;
use super::error::{Failure, Prefix};
use super::exit::Exit;
use super::intended::Intended;
use super::plan_text;
use super::restore_failure::restore_failure;
use super::scope;
use super::session::Session;
use super::site::Site;
use super::snapshot_name::SnapshotName;

/// Restores, shows what a restore would do, or goes on with one that was interrupted.
pub(crate) async fn run(session: &Session<'_>, arguments: &RestoreArguments) -> Result<Exit, Failure> {
    if arguments.never_list {
        plan_text::never_list(session.output, never_list());
        return Ok(Exit::Done);
    }
    let consent = &arguments.consent;
    let opened = session.open().await?;
    let named = match arguments.snapshot.as_deref() {
        Some(name) => Some(session.stored(&opened, &SnapshotName::parse(name)?).await?),
        None => None,
    };
    let site = Site::new(session, opened).await?;
    // Of the snapshot's own part, if it was taken of one: what it does not hold is not missing.
    let scope = match &named {
        Some(snapshot) => {
            let taken_of = scope::selection(&snapshot.body.scope)?;
            RollbackScope::selected(&session.selection()?.within(taken_of))
        }
        None => RollbackScope::Everything,
    };
    if let Some(unfinished) = site.unfinished().await? {
        let means = |begun: &Begun| {
            let same = |snapshot: &Snapshot| snapshot.number == begun.wanted.number && scope.to_string() == begun.scope;
            named.as_ref().is_none_or(same)
        };
        return site.go_on(&unfinished, Purpose::Restore, means, consent).await;
    }
    consent.refuse_to_give_up()?;
    let Some(snapshot) = named else {
        return Err(Failure::new(Exit::Usage, "no restore of this cluster was interrupted; name a snapshot")
            .hint("`snapback snapshots` lists what there is"));
    };
    check_cluster(&site, arguments, &snapshot)?;
    check_rules(&arguments.force).map_err(restore_failure)?;
    let mut force = arguments.force.clone();
    force.push(HOLD_NOTHING.to_owned());
    consent.add_to(&mut force);
    let command = command(session, arguments, snapshot.number);
    let intended = Intended { purpose: Purpose::Restore, snapshot, scope, force, reviewed: None, command };
    site.begin(&intended, consent, None).await
}

/// The restore as it can be typed, of the same part: without the patterns a hint would put back far more than was
/// meant.
fn command(session: &Session<'_>, arguments: &RestoreArguments, snapshot: u64) -> String {
    let mut line = format!("snapback restore {snapshot}");
    let everywhere = session.everywhere;
    for (option, values) in [("only", &everywhere.only), ("exclude", &everywhere.exclude), ("force", &arguments.force)]
    {
        values.iter().for_each(|value| line.push_str(&format!(" --{option} {}", shell_word(value))));
    }
    if arguments.from_another_cluster {
        line.push_str(" --from-another-cluster");
    }
    arguments.consent.options(&mut line);
    line
}

/// Another cluster's objects would be put over this one's.
fn check_cluster(site: &Site<'_>, arguments: &RestoreArguments, snapshot: &Snapshot) -> Result<(), Failure> {
    if snapshot.body.cluster.is_empty() {
        return Err(Failure::new(Exit::Refused, format!("snapshot #{} holds no cluster", snapshot.number))
            .hint("`snapback snapshots` lists those that do"));
    }
    let Some(text) = site.of_another_cluster(snapshot) else { return Ok(()) };
    if arguments.from_another_cluster {
        site.session.output.message(Prefix::Warning, &text);
        return Ok(());
    }
    Err(Failure::new(Exit::Refused, text)
        .hint("name the right cluster with --context, or say --from-another-cluster when that is what you want"))
}
