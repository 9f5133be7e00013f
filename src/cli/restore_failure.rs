//! What stops a whole restore, for people.

use snapback::restore::RestoreError;

use super::advice::shell_word;
use super::error::Failure;
use super::exit::Exit;

/// The failure with what to do next.
pub(crate) fn restore_failure(error: RestoreError) -> Failure {
    match error {
        RestoreError::Cluster(error) => error.into(),
        RestoreError::Store(error) => error.into(),
        RestoreError::Selection(error) => error.into(),
        RestoreError::Capture(error) => error.into(),
        RestoreError::UnknownRule { .. } => {
            Failure::of(Exit::Usage, &error).hint("`snapback restore --never-list` lists the rules")
        }
        RestoreError::Misplaced { ref path, .. } | RestoreError::NotAnObject { ref path, .. } => {
            Failure::of(Exit::Refused, &error).hint(format!(
                "`snapback backup` writes no such snapshot: find out who did; `--exclude {}` leaves that file out",
                shell_word(path)
            ))
        }
        error => Failure::of(Exit::Failed, &error),
    }
}
