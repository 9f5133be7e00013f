//! `snapback undo`: back to what was there before the last rollback, restore or undo.

use snapback::journal::{JournalError, Purpose, Reason, SnapshotName, read_journal};
use snapback::restore::RollbackScope;
use snapback::rollback::ALLOW_HELM_UPGRADE;
use snapback::store::Snapshot;

use super::arguments::UndoArguments;
use super::error::Failure;
use super::exit::Exit;
use super::intended::Intended;
use super::session::Session;
use super::site::Site;
use super::snapshot_name::BEFORE_RESTORE;
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

/// What the newest transaction that changed anything saved before, and what it was about.
async fn last(site: &Site<'_>) -> Result<(SnapshotName, RollbackScope, Vec<String>), Failure> {
    let mut newest_saved = None;
    for summary in site.summaries().await?.into_iter().rev() {
        if summary.cluster() != Some(site.identity.as_str()) {
            continue;
        }
        let backend = site.opened.repository.backend();
        let chain = match read_journal(&site.folder, &**backend, &summary.transaction).await {
            Ok(chain) => chain,
            // A file that no record came to be in.
            Err(JournalError::Missing { .. }) => continue,
            Err(error) => return Err(journal_failure(site.session, &error)),
        };
        let Some(state) = chain.state() else { continue };
        newest_saved = newest_saved.max(state.before().map(|before| before.number));
        // Whoever gave one up before it changed anything and types `undo` means that one, and not one of long ago.
        if state.rounds() == 0 && state.given_up() == Some(&Reason::Asked {}) {
            let text = format!("transaction {} was given up before it changed anything", summary.transaction);
            return Err(Failure::new(Exit::Refused, text).hint(format!("there is nothing to undo; {OTHER_WAY}")));
        }
        // One that was given up before anything was stopped changed nothing.
        let Some(before) = state.before().filter(|_| state.rounds() > 0) else { continue };
        let scope = state.begun().scope.parse::<RollbackScope>();
        let scope = scope.map_err(|error| Failure::of(Exit::Failed, &error))?;
        refuse_a_gap(site, newest_saved)?;
        return Ok((before.clone(), scope, state.begun().force.clone()));
    }
    refuse_a_gap(site, newest_saved)?;
    Err(Failure::new(Exit::Refused, "there is no rollback or restore of this cluster to undo").hint(OTHER_WAY))
}

/// Every transaction saves what was there first. Where such a snapshot is newer than all that the journals know of, the
/// journal of the last one is gone, and an undo would go one further back.
fn refuse_a_gap(site: &Site<'_>, newest_saved: Option<u64>) -> Result<(), Failure> {
    let ours = |snapshot: &&Snapshot| snapshot.body.cluster == site.identity && snapshot.body.label == BEFORE_RESTORE;
    let newest = site.opened.history.snapshots().iter().rev().find(ours).map(|snapshot| snapshot.number);
    match newest.filter(|number| newest_saved < Some(*number)) {
        None => Ok(()),
        Some(number) => {
            let text = format!("snapshot #{number} was taken before a change whose journal is gone");
            Err(Failure::new(Exit::Refused, text)
                .hint(format!("`snapback restore {number}` goes back to it, but without holding still what may fight")))
        }
    }
}
