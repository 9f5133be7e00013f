//! What fights is stopped, one thing at a time, from the top down.
//!
//! In: the two snapshots and the live cluster (for webhooks and API servers that nobody answers). Out: records, until
//! `quiet`. What a thing was before is told by the snapshot of before alone, never by a second look.

use crate::journal::{Event, Held, Prior, Reason};
use crate::progress::ProgressEvent;
use crate::restore::plan;
use crate::restore::quiesce::{Holding, QuiesceError, dead_backends, dead_on_return, find, prior};

use super::driver::Driver;
use super::error::RollbackError;
use super::reviewed::agreed;

impl Driver<'_> {
    /// Something was about to be stopped when the record broke off.
    pub(super) async fn finish_stopping(&mut self, item: Held, was: &Prior) -> Result<(), RollbackError> {
        self.progress.report(ProgressEvent::Stage(format!("stopping {item}")));
        match self.quiesce().stop(&item, was).await {
            Ok(stopped) => {
                if !stopped.autoscalers.is_empty() {
                    let scalers = stopped.autoscalers.join(", ");
                    self.progress.report(ProgressEvent::Note(format!("{item} has autoscalers: {scalers}")));
                }
                self.say(Event::Stopped { item }).await
            }
            Err(error) => self.not_stopped(item, error).await,
        }
    }

    /// Stops the next thing that is not held yet; when there is none, makes sure of what is held.
    pub(super) async fn stop_next(&mut self) -> Result<(), RollbackError> {
        let held: Vec<_> = self.journal.state().held().to_vec();
        if held.is_empty() && self.journal.state().rounds() == 0 && !self.is_as_reviewed().await? {
            return self.give_up(Reason::PlanStale {}).await;
        }
        let is_held = |item: &Held| held.iter().any(|held| held.item == *item);
        let next = self.fighting().await?.into_iter().find(|item| !is_held(item));
        if let Some(item) = next {
            let was = prior(&self.before, &item).await?;
            self.say(Event::Stopping { item: item.clone(), was: was.clone() }).await?;
            return self.finish_stopping(item, &was).await;
        }
        // Somebody may have started one of them meanwhile, or an earlier process died long ago.
        for held in held {
            if let Err(error) = self.quiesce().stop(&held.item, &held.was).await {
                return self.not_stopped(held.item, error).await;
            }
        }
        self.say(Event::Quiet {}).await
    }

    /// Everything that has to be held, in its order.
    async fn fighting(&mut self) -> Result<Vec<Held>, RollbackError> {
        if self.holds_nothing() {
            return Ok(Vec::new());
        }
        if let Some(known) = &self.fighting {
            return Ok(known.clone());
        }
        let holds = find(&self.before, &self.wanted, &self.settings.extra).await?;
        let fighting: Vec<Held> = holds.into_iter().map(|hold| hold.item).collect();
        let dead = dead_backends(self.cluster, &fighting).await?;
        let returning = dead_on_return(self.cluster, &fighting, &self.before, &self.wanted, &self.scope).await?;
        let (mut all, mut newer): (Vec<Held>, Vec<Held>) = (Vec::new(), Vec::new());
        for item in dead.into_iter().map(|dead| dead.item) {
            // One that somebody made since the snapshot of now could not be put back as it is: it stays.
            let known = self.before.entry(&item.object_path().to_tree_path()).await?.is_some();
            if known { &mut all } else { &mut newer }.push(item);
        }
        for item in returning.into_iter().map(|dead| dead.item) {
            if !all.contains(&item) && !newer.contains(&item) {
                all.push(item);
            }
        }
        // First of all what would refuse the very writes that stop the others.
        all.extend(fighting);
        Ok(self.fighting.insert(all).clone())
    }

    /// One that cannot be stopped would undo the restore: nothing of it is begun.
    async fn not_stopped(&mut self, item: Held, error: QuiesceError) -> Result<(), RollbackError> {
        match error {
            error @ (QuiesceError::Cluster(_) | QuiesceError::Restore(_)) => Err(RollbackError::Quiesce(error)),
            error => {
                self.progress.report(ProgressEvent::Note(error.to_string()));
                self.give_up(Reason::NotStopped { item }).await
            }
        }
    }

    /// When a person agreed to a plan, it is made once more before the first change.
    async fn is_as_reviewed(&self) -> Result<bool, RollbackError> {
        let Some(reviewed) = self.journal.state().begun().reviewed else { return Ok(true) };
        let look = self.look().await?;
        let mut options = self.options(look.readable);
        options.holding = Holding::default();
        let plan = plan(self.cluster, &look.live, &self.wanted, &options, self.progress).await?;
        Ok(agreed(&plan) == reviewed)
    }
}
