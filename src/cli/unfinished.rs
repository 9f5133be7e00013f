//! A transaction that is not finished, and what is wrong with one that cannot go on.
//!
//! In: the journals that this machine and the repository have. Out: a refusal that says how to finish what was begun, and
//! failures with what to do next. Invariant: nothing else changes a cluster on which a transaction is unfinished (I7).

use std::path::Path;
use std::sync::Arc;

use snapback::cluster::{Cluster, ClusterError};
use snapback::journal::{
    Begun, Event, JournalError, JournalStore as _, Place, Summary, TransactionId, TwoCopies, list,
};
use snapback::restore::quiesce::{HELD_BY, QuiesceError};
use snapback::restore::{RestoreError, lease_holder};
use snapback::rollback::RollbackError;
use snapback::store::backend::RepositoryPlace;

use super::advice::shell_word;
use super::error::{Failure, Prefix};
use super::exit::Exit;
use super::restore_failure::restore_failure;
use super::session::{Opened, Session};
use super::state;
use super::transaction_text as text;

/// Every transaction that the repository or this machine knows of, oldest first.
pub(crate) async fn summaries(
    session: &Session<'_>,
    folder: Option<&Path>,
    opened: &Opened,
) -> Result<Vec<Summary>, Failure> {
    list(folder, &**opened.repository.backend()).await.map_err(|error| journal_failure(session, &error))
}

/// Gives the repository the records that it lacks of transactions that have ended, so that other machines know it, too.
/// One that cannot be completed now is tried again by the next command.
pub(crate) async fn complete(folder: Option<&Path>, opened: &Opened, summaries: Vec<Summary>) {
    let Some(folder) = folder else { return };
    for summary in summaries.into_iter().filter(Summary::is_behind) {
        let backend = Arc::clone(opened.repository.backend());
        if let Err(error) = TwoCopies::new(folder, backend, summary.transaction).load().await {
            tracing::warn!(%error, "the repository's copy of a journal stays behind");
        }
    }
}

/// Refuses to take a snapshot of a cluster on which a transaction is not finished; warns of one of another repository,
/// of which nobody here knows whether it will ever be.
pub(crate) async fn refuse_unfinished(
    session: &Session<'_>,
    opened: &Opened,
    cluster: &Cluster,
    identity: &str,
) -> Result<(), Failure> {
    let folder = state::place("journals", opened.repository.id());
    let summaries = summaries(session, folder.as_deref(), opened).await?;
    if let Some(unfinished) = summaries.iter().find(|summary| summary.may_be_unfinished(identity)) {
        return Err(not_finished(session, &unfinished.transaction, &beginning(session, unfinished)?));
    }
    // An account that may only back up need not be able to read it.
    if let Ok(Some(holder)) = lease_holder(cluster).await
        && summaries.iter().all(|summary| summary.transaction.as_str() != holder)
    {
        let text = format!(
            "transaction {holder}, which this repository does not know, has the lease of this cluster: what it holds \
             still is held still in this snapshot, too; take another one when it has ended (if it died, its own command, \
             with its own repository, finishes it)"
        );
        session.output.message(Prefix::Warning, &text);
    }
    complete(folder.as_deref(), opened, summaries).await;
    Ok(())
}

/// How a transaction began.
pub(crate) fn beginning(session: &Session<'_>, unfinished: &Summary) -> Result<Begun, Failure> {
    match (&unfinished.first, &unfinished.newest) {
        (Ok(first), Ok(_)) => match &first.event {
            Event::Begun(begun) => Ok(begun.clone()),
            _ => Err(Failure::new(Exit::Damaged, format!("transaction {} has no beginning", unfinished.transaction))),
        },
        (_, Err(error)) | (Err(error), _) => Err(journal_failure(session, error)),
    }
}

pub(crate) fn not_finished(session: &Session<'_>, transaction: &TransactionId, begun: &Begun) -> Failure {
    let (what, command) = (text::purpose(begun.purpose), text::command(begun.purpose));
    let text = format!("the {what} to snapshot {} (transaction {transaction}) is not finished", begun.wanted);
    let again = format!("{command}{}", session.place_options());
    let ending = match text::holds_nothing(begun) {
        true => "leaves the cluster as it is by then",
        false => "starts what was stopped and leaves the rest as it is by then",
    };
    Failure::new(Exit::Refused, text)
        .hint(format!("`{again}` finishes it, without asking again"))
        .hint(format!("`{again} --give-up` {ending}; `snapback undo` then goes back"))
}

/// What is wrong with a journal, and what to do.
pub(crate) fn journal_failure(session: &Session<'_>, error: &JournalError) -> Failure {
    let exit = match error {
        JournalError::Busy { .. } | JournalError::Taken { .. } => Exit::Held,
        JournalError::Conflict { .. } | JournalError::Unreliable { .. } | JournalError::Lost { .. } => Exit::Damaged,
        _ => Exit::Failed,
    };
    let failure = Failure::of(exit, error);
    match error {
        JournalError::Busy { .. } => failure.hint("wait until that process has ended"),
        JournalError::Taken { .. } => failure.hint("leave it to whoever goes on with it; this process stopped"),
        JournalError::Conflict { local, .. } => failure
            .hint("two went on with it and did not see each other; docs/journal-format.md says what each record means")
            .hint(format!("`{}` makes this machine follow the repository's copy", aside(local))),
        JournalError::Unreliable { source, .. } if source.is_newer() => {
            failure.hint("use the snapback that wrote it, or a later one")
        }
        JournalError::Unreliable { place: Place::Local(local), other_is_whole: true, .. } => failure.hint(format!(
            "the repository's copy is whole: `{}` goes by that one, which may lack what was done last",
            aside(local)
        )),
        JournalError::Unreliable { place: Place::Repository(file), other_is_whole: true, .. } => failure.hint(format!(
            "this machine's copy is whole: `{}`, and the next command completes the repository from it",
            aside_stored(session, file)
        )),
        JournalError::Unreliable { transaction, place: Place::Local(local), .. } => {
            let failure = failure.hint("it is the only copy, so nobody can tell how far this transaction came");
            forget(failure, transaction, &aside(local))
        }
        JournalError::Unreliable { transaction, place: Place::Repository(_), .. } => {
            let folder = format!("journal/{transaction}/");
            let failure = failure.hint("the machine that wrote it has another copy: run the command there");
            forget(failure, transaction, &aside_stored(session, &folder))
        }
        JournalError::Lost { transaction, local, mirror, .. } => {
            forget(failure, transaction, &format!("{}; {}", aside(local), aside_stored(session, mirror)))
        }
        JournalError::Ended { .. } => {
            failure.hint("another process brought it to its end just now; run the command again")
        }
        JournalError::Local { source, path, .. } => match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => failure.hint(format!(
                "nothing is changed that its journal does not say before: free some space where `{}` is, and run the \
                 command again",
                path.display()
            )),
            std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => failure.hint(format!(
                "nothing is changed that its journal does not say before: this user must be able to write `{}`, or \
                 XDG_STATE_HOME name another folder that outlives this process",
                path.display()
            )),
            _ => failure,
        },
        JournalError::Backend(error) => failure.advised_by_backend(error),
        _ => failure,
    }
}

/// What to type so that a file or folder counts no more. Nothing is deleted.
fn aside(path: &Path) -> String {
    let path = path.display().to_string();
    format!("mv {} {}", shell_word(&path), shell_word(&format!("{path}.damaged")))
}

/// The same for a file of the repository, or a folder, whose name ends with `/`.
fn aside_stored(session: &Session<'_>, name: &str) -> String {
    let plain = name.trim_end_matches('/');
    match &session.place {
        RepositoryPlace::Folder(folder) => aside(&folder.join(plain)),
        RepositoryPlace::Bucket(place) => {
            let url = place.url(plain);
            let recursive = if name.ends_with('/') { " --recursive" } else { "" };
            format!("aws s3 mv{recursive} {} {}", shell_word(&url), shell_word(&format!("{url}.damaged")))
        }
    }
}

/// The way out when no copy says what a transaction did.
fn forget(failure: Failure, transaction: &TransactionId, aside: &str) -> Failure {
    failure
        .hint(format!(
            "what it holds still has its name: `kubectl get deployments,statefulsets,clusters.cluster.x-k8s.io -A -o yaml \
             | grep '{HELD_BY}: {transaction}'`"
        ))
        .hint(format!("once that names nothing, or all of it runs again: `{aside}` makes snapback forget it"))
}

pub(crate) fn rollback_failure(session: &Session<'_>, error: RollbackError, again: &str) -> Failure {
    let go_on = format!("it is not over: `{again}` goes on with it");
    let gated = |error: &RestoreError| matches!(error, RestoreError::Cluster(ClusterError::Gated { .. }));
    match error {
        RollbackError::Journal(error) => journal_failure(session, &error).hint(go_on),
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
