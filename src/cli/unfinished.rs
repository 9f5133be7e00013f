//! A transaction that is not finished, and what is wrong with one that cannot go on.
//!
//! In: the journals that this machine and the repository have. Out: a refusal that says how to finish what was begun, and
//! failures with what to do next. Invariant: nothing else changes a cluster on which a transaction is unfinished (I7).

use std::path::Path;

use snapback::cluster::{Cluster, ClusterError};
use snapback::journal::{Begun, Event, JournalError, Summary, TransactionId, list};
use snapback::restore::RestoreError;
use snapback::restore::quiesce::QuiesceError;
use snapback::rollback::{HOLD_NOTHING, RollbackError};

use super::error::Failure;
use super::exit::Exit;
use super::restore_failure::restore_failure;
use super::session::{Opened, Session};
use super::state;
use super::transaction_text as text;

/// Every transaction that the repository or this machine knows of, oldest first.
pub(crate) async fn summaries(folder: &Path, opened: &Opened) -> Result<Vec<Summary>, Failure> {
    list(folder, &**opened.repository.backend()).await.map_err(|error| journal_failure(&error))
}

/// The transaction of a cluster that has to be finished first, if there is one.
pub(crate) async fn find(folder: &Path, opened: &Opened, cluster: &str) -> Result<Option<Summary>, Failure> {
    Ok(summaries(folder, opened).await?.into_iter().find(|summary| summary.may_be_unfinished(cluster)))
}

/// Refuses to take a snapshot of a cluster on which a transaction is not finished.
pub(crate) async fn refuse_unfinished(
    session: &Session<'_>,
    opened: &Opened,
    cluster: &Cluster,
) -> Result<(), Failure> {
    let Some(folder) = state::place("journals", opened.repository.id()) else { return Ok(()) };
    let identity = cluster.identity().await?;
    match find(&folder, opened, &identity).await? {
        Some(unfinished) => Err(not_finished(session, &unfinished.transaction, &beginning(&unfinished)?)),
        None => Ok(()),
    }
}

/// How a transaction began.
pub(crate) fn beginning(unfinished: &Summary) -> Result<Begun, Failure> {
    match (&unfinished.first, &unfinished.newest) {
        (Ok(first), Ok(_)) => match &first.event {
            Event::Begun(begun) => Ok(begun.clone()),
            _ => Err(Failure::new(Exit::Damaged, format!("transaction {} has no beginning", unfinished.transaction))),
        },
        (Err(error), _) | (_, Err(error)) => Err(journal_failure(error)),
    }
}

pub(crate) fn not_finished(session: &Session<'_>, transaction: &TransactionId, begun: &Begun) -> Failure {
    let (what, command) = (text::purpose(begun.purpose), text::command(begun.purpose));
    let text = format!("the {what} to snapshot {} (transaction {transaction}) is not finished", begun.wanted);
    let again = format!("{command}{}", session.place_options());
    let ending = match begun.force.iter().any(|name| name == HOLD_NOTHING) {
        true => "leaves the cluster as it is by then",
        false => "starts what was stopped and leaves the rest as it is by then",
    };
    Failure::new(Exit::Refused, text)
        .hint(format!("`{again}` finishes it, without asking again"))
        .hint(format!("`{again} --give-up` {ending}; `snapback undo` then goes back"))
}

/// What is wrong with a journal, and what to do.
pub(crate) fn journal_failure(error: &JournalError) -> Failure {
    let exit = match error {
        JournalError::Busy { .. } | JournalError::Taken { .. } => Exit::Held,
        JournalError::Conflict { .. } | JournalError::Unreliable { .. } => Exit::Damaged,
        _ => Exit::Failed,
    };
    let failure = Failure::of(exit, error);
    match error {
        JournalError::Busy { .. } => failure.hint("wait until that process has ended"),
        JournalError::Taken { .. } => failure.hint("leave it to whoever goes on with it; this process stopped"),
        JournalError::Conflict { .. } | JournalError::Unreliable { .. } => {
            failure.hint("`snapback verify` names the damaged file; docs/journal-format.md says what each record means")
        }
        _ => failure,
    }
}

pub(crate) fn rollback_failure(error: RollbackError, again: &str) -> Failure {
    let go_on = format!("it is not over: `{again}` goes on with it");
    let gated = |error: &RestoreError| matches!(error, RestoreError::Cluster(ClusterError::Gated { .. }));
    match error {
        RollbackError::Journal(error) => journal_failure(&error).hint(go_on),
        RollbackError::Restore(error) if gated(&error) => Failure::of(Exit::Held, &error).hint(go_on),
        error @ RollbackError::Quiesce(QuiesceError::Cluster(ClusterError::Gated { .. })) => {
            Failure::of(Exit::Held, &error).hint(go_on)
        }
        RollbackError::Restore(error) => restore_failure(error).hint(go_on),
        error @ (RollbackError::Stuck { .. } | RollbackError::HalfWay { .. }) => {
            Failure::of(Exit::Stuck, &error).hint(go_on)
        }
        error => Failure::of(Exit::Failed, &error).hint(go_on),
    }
}
