//! Ctrl-C, or SIGTERM, which means the same: a command stops where it is and commits nothing, unless it already began to commit.

use std::sync::{Mutex, PoisonError};

use tokio::signal::unix::{SignalKind, signal};

use super::error::Failure;
use super::exit::Exit;

/// How far a command is, as far as an interruption is concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Nothing was changed yet.
    #[default]
    Harmless,
    /// The cluster is being changed: what to say and do when it stops here.
    Writing { text: String, hint: String },
    /// The snapshot is being committed; that takes a moment and is finished in any case.
    Committing,
    /// The snapshot with this number is committed.
    Committed(u64),
}

/// Shared by the command and what waits for the signal.
#[derive(Debug, Default)]
pub(crate) struct Interrupt {
    phase: Mutex<Phase>,
}

impl Interrupt {
    /// From here on the command ends by itself.
    pub(crate) fn committing(&self) {
        self.set(Phase::Committing);
    }

    /// The snapshot is there, whatever happens now.
    pub(crate) fn committed(&self, number: u64) {
        self.set(Phase::Committed(number));
    }

    /// From here on the cluster is being changed.
    pub(crate) fn writing(&self, text: impl Into<String>, hint: impl Into<String>) {
        self.set(Phase::Writing { text: text.into(), hint: hint.into() });
    }

    /// Nothing is half done any more.
    pub(crate) fn harmless(&self) {
        self.set(Phase::Harmless);
    }

    fn set(&self, phase: Phase) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    fn phase(&self) -> Phase {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns when the user (or the system, by SIGTERM) wants the command to stop and it may.
    pub(crate) async fn wait(&self) -> Failure {
        let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
        else {
            // Without handlers the signals end the process by themselves, which commits nothing either.
            return std::future::pending().await;
        };
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            match self.phase() {
                Phase::Harmless => return Failure::new(Exit::Interrupted, "interrupted; nothing was committed"),
                Phase::Writing { text, hint } => return Failure::new(Exit::Interrupted, text).hint(hint),
                Phase::Committing => {}
                Phase::Committed(number) => {
                    return Failure::new(Exit::Interrupted, format!("interrupted; snapshot #{number} is committed"));
                }
            }
        }
    }
}
