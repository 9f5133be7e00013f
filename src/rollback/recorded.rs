//! The steps of a type's way to another storage version, in the journal.
//!
//! In: milestones of a conversion. Out: the events that the journal's state takes, each durable before the conversion goes
//! on (I7). Whoever begins anew in the middle finds steps taken already, or taken by somebody else's hand: then the
//! journal is brought to where the CRD is first, which is always so that a union may be there.

use async_trait::async_trait;
use tokio::sync::Mutex;

use crate::journal::{CrdStep, Event, JournalError, OpenJournal};
use crate::restore::{Milestone, StorageRecord, StorageStep};

/// A journal that the conversions of one round write to, one at a time.
pub(super) struct Recorded<'a>(Mutex<&'a mut OpenJournal>);

impl<'a> Recorded<'a> {
    pub(super) fn new(journal: &'a mut OpenJournal) -> Self {
        Self(Mutex::new(journal))
    }
}

#[async_trait]
impl StorageRecord for Recorded<'_> {
    async fn milestone(&self, crd: &str, milestone: Milestone) -> Result<(), JournalError> {
        let mut journal = self.0.lock().await;
        match event(crd, journal.state().crds().get(crd).copied(), milestone) {
            Some(event) => journal.append(event).await,
            None => Ok(()),
        }
    }
}

/// What a milestone is in the journal, given how far the journal says that the CRD is.
fn event(crd: &str, now: Option<CrdStep>, milestone: Milestone) -> Option<Event> {
    use StorageStep::{Finish, Narrow, Prove, Rewrite, Union};
    let crd = crd.to_owned();
    match (milestone, now) {
        (Milestone::About(Union), _) => Some(Event::Union { crd }),
        // The union of an earlier run. What is found to be stored otherwise makes a shortened list too short.
        (Milestone::About(Rewrite), None | Some(CrdStep::Narrowed)) => Some(Event::Union { crd }),
        (Milestone::Rewritten { objects }, _) => Some(Event::Rewritten { crd, objects }),
        // The last: somebody else's hand did the rest.
        (Milestone::About(Narrow | Finish | Prove), Some(CrdStep::Rewritten)) => Some(Event::Narrowed { crd }),
        // No union was ever there: nothing is to be ended.
        (Milestone::Readable, Some(CrdStep::Narrowed)) => Some(Event::CrdDone { crd }),
        (Milestone::About(_) | Milestone::Readable, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{CrdStep, Milestone, StorageStep, event};

    #[test]
    fn each_milestone_is_the_event_that_follows() {
        let steps =
            [StorageStep::Union, StorageStep::Rewrite, StorageStep::Narrow, StorageStep::Finish, StorageStep::Prove];
        let seen = [Milestone::Rewritten { objects: 1 }, Milestone::Readable];
        let mut table = String::new();
        for milestone in steps.map(Milestone::About).into_iter().chain(seen) {
            let now = [None, Some(CrdStep::Union), Some(CrdStep::Rewritten), Some(CrdStep::Narrowed)];
            let kinds = now.map(|now| event("crd", now, milestone).map_or("-", |event| event.kind()));
            table.push_str(&format!("{milestone:?}: {}\n", kinds.join(" ")));
        }
        // With nothing written down before, with a union, with all rewritten, with it narrowed.
        insta::assert_snapshot!(table, @r"
        About(Union): union union union union
        About(Rewrite): union - - union
        About(Narrow): - - narrowed -
        About(Finish): - - narrowed -
        About(Prove): - - narrowed -
        Rewritten { objects: 1 }: rewritten rewritten rewritten rewritten
        Readable: - - - crd-done
        ");
    }
}
