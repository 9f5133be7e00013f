//! `snapback undo`: back to what was there before the last rollback, restore or undo.

use jiff::Timestamp;
use snapback::journal::{JournalError, Purpose, Reason, SnapshotName, State, TransactionId, read_journal};
use snapback::restore::{RollbackScope, UnknownScope};
use snapback::rollback::{ALLOW_HELM_UPGRADE, DELETE_ADDED_TYPES, HOLD_NOTHING, LOSE_FIELDS};
use snapback::store::Snapshot;

use super::advice::shell_word;
use super::arguments::UndoArguments;
use super::error::Failure;
use super::exit::Exit;
use super::intended::Intended;
use super::session::Session;
use super::site::Site;
use super::snapshot_name::BEFORE_RESTORE;
use super::transaction_text as text;
use super::unfinished::journal_failure;

/// What to do where there is nothing to undo.
const OTHER_WAY: &str =
    "`snapback snapshots` lists what there is, and `snapback restore NUMBER` goes back to one of them";

/// Undoes the last transaction of this cluster, or goes on with an undo that was interrupted.
pub(crate) async fn run(session: &Session<'_>, arguments: &UndoArguments) -> Result<Exit, Failure> {
    let site = Site::new(session, session.open_to_add().await?).await?;
    if let Some(unfinished) = site.unfinished().await? {
        return site.go_on(&unfinished, Purpose::Undo, |_| true, &arguments.consent).await;
    }
    arguments.consent.refuse_to_give_up()?;
    let (before, scope, mut force) = last(&site).await?;
    // What helm-controller will make of this end is another question.
    force.retain(|name| name != ALLOW_HELM_UPGRADE);
    arguments.consent.add_to(&mut force);
    let Some(snapshot) = site.opened.history.find(before.number, &before.id).cloned() else {
        let text =
            format!("the last transaction saved snapshot {before}, and the repository does not have it any more");
        return Err(Failure::new(Exit::Refused, text).hint("`snapback snapshots` lists what there is"));
    };
    site.check(Purpose::Undo, &snapshot).await?;
    let (purpose, mut command) = (Purpose::Undo, "snapback undo".to_owned());
    arguments.consent.options(&mut command);
    let intended = Intended { purpose, snapshot, scope, force, reviewed: None, command };
    site.begin(&intended, &arguments.consent, None).await
}

/// A transaction of this cluster that is over.
struct Past {
    transaction: TransactionId,
    state: State,
    /// The earliest and the latest time in its records.
    times: (Timestamp, Timestamp),
}

impl Past {
    /// The snapshot that an undo of it goes back to, if it changed anything: its number orders transactions, whatever
    /// the clocks said. One that was given up before its first round stopped things and started them again.
    fn undone_by(&self) -> Option<&SnapshotName> {
        self.state.before().filter(|_| self.state.rounds() > 0)
    }

    /// Somebody gave it up before it changed anything.
    fn is_called_off(&self) -> bool {
        self.state.rounds() == 0 && self.state.given_up() == Some(&Reason::Asked {})
    }

    /// It may have taken this snapshot, though it ended before it could say so. No number says which snapshot it was,
    /// but only one transaction at a time works on a cluster.
    fn may_have_taken(&self, snapshot: &Snapshot) -> bool {
        let (first, last) = self.times;
        self.state.before().is_none() && (first..=last).contains(&snapshot.body.time)
    }
}

/// What the newest transaction that changed anything saved before, and what it was about.
async fn last(site: &Site<'_>) -> Result<(SnapshotName, RollbackScope, Vec<String>), Failure> {
    let (past, unreadable) = past(site).await?;
    let newest = past.iter().filter(|past| past.undone_by().is_some()).max_by_key(|past| number(past));
    let instead = newest.and_then(|newest| Some((newest, command(site, newest)?)));
    let instead = instead.map(|(newest, command)| {
        format!("`{command}` undoes transaction {}, the newest that changed anything", newest.transaction)
    });
    let refused = |failure: Failure| match &instead {
        Some(instead) => failure.hint(instead),
        None => failure,
    };
    if let Some(failure) = gap(site, &past, &unreadable) {
        return Err(refused(failure));
    }
    // Whoever gave one up before it changed anything and types `undo` means that one, and not one of long ago. Where it
    // has no number, the clocks have to do.
    let is_newer = |past: &&Past| match (newest, past.state.before()) {
        (None, _) => true,
        (Some(_), Some(_)) => number(past) > newest.and_then(number),
        (Some(newest), None) => past.times.1 > newest.times.1,
    };
    if let Some(past) = past.iter().rev().filter(|past| past.is_called_off()).find(is_newer) {
        let text = format!("transaction {} was given up before it changed anything", past.transaction);
        return Err(refused(Failure::new(Exit::Refused, text).hint(format!("there is nothing to undo; {OTHER_WAY}"))));
    }
    let Some((newest, before)) = newest.and_then(|newest| Some((newest, newest.undone_by()?))) else {
        let text = "there is no rollback or restore of this cluster to undo";
        return Err(Failure::new(Exit::Refused, text).hint(OTHER_WAY));
    };
    let begun = newest.state.begun();
    let scope = begun.scope.parse().map_err(|error: UnknownScope| Failure::of(Exit::Failed, &error))?;
    Ok((before.clone(), scope, begun.force.clone()))
}

fn number(past: &Past) -> Option<u64> {
    past.state.before().map(|before| before.number)
}

/// All transactions of this cluster, and what is wrong with those that nobody can read.
async fn past(site: &Site<'_>) -> Result<(Vec<Past>, Vec<JournalError>), Failure> {
    let (mut past, mut unreadable) = (Vec::new(), Vec::new());
    for summary in site.summaries().await? {
        if summary.cluster().is_some_and(|cluster| cluster != site.identity) {
            continue;
        }
        let backend = site.opened.repository.backend();
        let chain = match read_journal(site.folder.as_deref(), &**backend, &summary.transaction).await {
            Ok(chain) => chain,
            // A file that no record came to be in.
            Err(JournalError::Missing { .. }) => continue,
            Err(
                error @ (JournalError::Unreliable { .. } | JournalError::Conflict { .. } | JournalError::Lost { .. }),
            ) => {
                unreadable.push(error);
                continue;
            }
            Err(error) => return Err(journal_failure(site.session, &error)),
        };
        let times = chain.records().iter().map(|record| record.time);
        let times = times.clone().min().zip(times.max());
        let ours = chain.state().filter(|state| state.begun().cluster == site.identity);
        if let (Some(state), Some(times)) = (ours.cloned(), times) {
            past.push(Past { transaction: summary.transaction, state, times });
        }
    }
    Ok((past, unreadable))
}

/// Every transaction saves what was there first. Where such a snapshot is newer than all that the journals know of, and
/// none ended before it could say so, the journal of the last one is gone, and an undo would go one further back.
fn gap(site: &Site<'_>, past: &[Past], unreadable: &[JournalError]) -> Option<Failure> {
    let newest_saved = past.iter().filter_map(number).max();
    let ours = |snapshot: &&Snapshot| snapshot.body.cluster == site.identity && snapshot.body.label == BEFORE_RESTORE;
    let unknown = |snapshot: &&Snapshot| {
        newest_saved < Some(snapshot.number) && !past.iter().any(|past| past.may_have_taken(snapshot))
    };
    let snapshot = site.opened.history.snapshots().iter().rev().filter(ours).find(unknown)?;
    let number = snapshot.number;
    let exit = if unreadable.is_empty() { Exit::Refused } else { Exit::Damaged };
    let mut failure =
        Failure::new(exit, format!("no journal tells of the change that snapshot #{number} was taken before"));
    for known in unreadable.iter().map(|error| journal_failure(site.session, error)) {
        failure.causes.push(known.text);
        failure.causes.extend(known.causes);
        failure.hints.extend(known.hints);
    }
    if unreadable.is_empty() {
        failure.causes.push("its journal is gone, or it was given up at once while a clock jumped".to_owned());
    }
    let options = site.session.place_options();
    Some(failure.hint(format!(
        "`snapback rollback {number} --dry-run{options}` shows what going back to it would do to the platform, and \
         `snapback restore {number} --dry-run{options}` to everything, with nothing held still (--only restricts it)"
    )))
}

/// What to type for an undo of a transaction that `undo` itself does not mean.
fn command(site: &Site<'_>, past: &Past) -> Option<String> {
    let (before, begun) = (past.undone_by()?, past.state.begun());
    let holds = !text::holds_nothing(begun);
    let mut line = format!("snapback {} {}", if holds { "rollback" } else { "restore" }, before.number);
    match begun.scope.parse().ok()? {
        RollbackScope::Platform if holds => {}
        scope if holds => line.push_str(&format!(" --scope {}", shell_word(&scope.to_string()))),
        RollbackScope::Everything => {}
        // A part of a snapshot's part, or that of the plan: no options of a restore say that.
        RollbackScope::Selected(text) => {
            for word in text.split(' ') {
                let (option, pattern) = word.split_once('=').filter(|(option, _)| *option != "scope")?;
                line.push_str(&format!(" --{option} {}", shell_word(pattern)));
            }
        }
        RollbackScope::Platform | RollbackScope::Namespace(_) => return None,
    }
    for name in begun.force.iter().filter(|name| ![HOLD_NOTHING, ALLOW_HELM_UPGRADE].contains(&name.as_str())) {
        match name.as_str() {
            LOSE_FIELDS | DELETE_ADDED_TYPES => line.push_str(&format!(" --{name}")),
            rule => line.push_str(&format!(" --force {}", shell_word(rule))),
        }
    }
    line.push_str(&site.session.place_options());
    Some(line)
}
