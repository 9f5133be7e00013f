//! What was held is put back, the last one first, whatever came of the rest (I8).

use crate::journal::{Event, HeldItem};
use crate::progress::ProgressEvent;
use crate::restore::quiesce::target;

use super::driver::Driver;
use super::error::RollbackError;

impl Driver<'_> {
    /// Puts the next thing back. One that cannot be must not keep the others from it.
    pub(super) async fn start_next(&mut self) -> Result<(), RollbackError> {
        let stuck = |held: &&HeldItem| !self.stuck.iter().any(|(item, _)| *item == held.item);
        let Some(held) = self.journal.state().held().iter().rev().find(stuck).cloned() else {
            return Err(RollbackError::Stuck { items: std::mem::take(&mut self.stuck) });
        };
        let item = held.item;
        self.progress.report(ProgressEvent::Stage(format!("starting {item}")));
        self.say(Event::Starting { item: item.clone() }).await?;
        let reached = self.journal.state().given_up().is_none();
        let in_scope = self.scope.includes_path(&item.object_path().to_tree_path());
        let wanted = (reached && in_scope).then_some(&self.wanted);
        let target = target(&item, &self.before, wanted).await?;
        match self.quiesce().start(&item, &held.was, target.as_ref()).await {
            Ok(started) => {
                self.report.started.push((item.clone(), started));
                self.say(Event::Started { item }).await
            }
            Err(error) => {
                let reason = error.to_string();
                self.progress.report(ProgressEvent::Note(format!("{item} cannot be put back yet: {reason}")));
                self.stuck.push((item, reason));
                Ok(())
            }
        }
    }
}
