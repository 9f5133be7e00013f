//! A CRD that is half-way to another storage version is brought to an end: the wanted one, or what it was before.
//!
//! In: what the journal says of it, both snapshots, the live CRD. Out: `crd-done` or `crd-reverted`. Forwards as long as
//! the snapshot is to be reached, and after that only when all objects are rewritten, since so little is left then; back
//! when that cannot be. Invariants: no transaction ends, and no round begins, while one is half-way; one that cannot be
//! brought to any end keeps nothing that is held from being put back (I8), and is tried again by whoever goes on.

use serde_json::Value;

use crate::cluster::ClusterError;
use crate::journal::{CrdStep, Event, Phase, Reason};
use crate::progress::ProgressEvent;
use crate::restore::{Conversion, RestoreOptions, StorageError, crd_of};
use crate::snapshot::Selection;

use super::driver::Driver;
use super::error::RollbackError;
use super::recorded::Recorded;

/// What became of one CRD.
enum Settled {
    Yes,
    /// Not by this process, with the reason.
    No(String),
}

impl Driver<'_> {
    /// Settles all that are half-way; when some cannot be, does what comes next all the same.
    pub(super) async fn settle_or_go_on(&mut self) -> Result<(), RollbackError> {
        let Some(crd) = self.settle().await? else { return Ok(()) };
        let state = self.journal.state();
        match state.phase() {
            Phase::Converging => self.give_up(Reason::CrdStuck { crd }).await,
            Phase::ProvenQuiet | Phase::Starting if !state.held().is_empty() => self.start_next().await,
            Phase::ProvenQuiet | Phase::Starting => self.say(Event::Running {}).await,
            _ => Err(RollbackError::HalfWay { problem: self.unsettled.get(&crd).cloned().unwrap_or_default(), crd }),
        }
    }

    /// Settles all that are half-way and were not tried by this process; the name of one that could not be.
    pub(super) async fn settle(&mut self) -> Result<Option<String>, RollbackError> {
        for (crd, step) in self.journal.state().crds().clone() {
            if self.unsettled.contains_key(&crd) {
                continue;
            }
            if let Settled::No(problem) = self.settle_one(&crd, step).await? {
                self.progress.report(ProgressEvent::Note(format!("`{crd}` stays half-way for now: {problem}")));
                self.unsettled.insert(crd, problem);
            }
        }
        Ok(self.journal.state().crds().keys().next().cloned())
    }

    async fn settle_one(&mut self, crd: &str, step: CrdStep) -> Result<Settled, RollbackError> {
        let (wanted, earlier) = (crd_of(&self.wanted, crd).await?, crd_of(&self.before, crd).await?);
        let options = self.options(Selection::everything());
        let reached = self.journal.state().given_up().is_none();
        let mut problem = format!("neither snapshot has the CRD `{crd}`");
        if let Some(wanted) = wanted.as_ref().filter(|_| reached || step != CrdStep::Union) {
            self.progress.report(ProgressEvent::Stage(format!("bringing `{crd}` to its storage version")));
            problem = match self.go_forward(wanted, earlier.as_ref(), step, &options).await {
                Ok(()) if !self.journal.state().crds().contains_key(crd) => return Ok(Settled::Yes),
                Ok(()) => "it changes all the while".to_owned(),
                Err(error) => told(error)?,
            };
        }
        let Some(earlier) = earlier else { return Ok(Settled::No(problem)) };
        self.progress.report(ProgressEvent::Stage(format!("putting `{crd}` back as it was")));
        if self.journal.state().crds().get(crd).is_some_and(|step| *step != CrdStep::Union) {
            // It is going to be one again, and nothing says that all objects are rewritten.
            self.say(Event::Union { crd: crd.to_owned() }).await?;
        }
        // The union stands in the journal until it is gone: no step back needs a record of its own.
        let mut back = Conversion::new(self.cluster, earlier, wanted.into_iter().collect(), &options);
        match back.put_back(self.progress).await {
            Ok(()) => {
                self.say(Event::CrdReverted { crd: crd.to_owned() }).await?;
                Ok(Settled::Yes)
            }
            Err(error) => Ok(Settled::No(told(error)?)),
        }
    }

    async fn go_forward(
        &mut self,
        wanted: &Value,
        earlier: Option<&Value>,
        step: CrdStep,
        options: &RestoreOptions,
    ) -> Result<(), StorageError> {
        let record = Recorded::new(self.journal);
        let others = earlier.cloned().into_iter().collect();
        let conversion = Conversion::new(self.cluster, wanted.clone(), others, options).recorded_by(&record);
        let mut conversion = match step {
            CrdStep::Narrowed => conversion,
            // No record says that a whole pass moved nothing, whatever the CRD says.
            CrdStep::Union | CrdStep::Rewritten => conversion.seeing_every_object(),
        };
        conversion.run(self.progress).await.map(drop)
    }
}

/// The words of what keeps one CRD from being settled; an error when nothing at all can go on.
fn told(error: StorageError) -> Result<String, RollbackError> {
    match error {
        StorageError::Journal(error) => Err(error.into()),
        // It answers, and refuses.
        StorageError::Cluster(ClusterError::Api(answer)) => Ok(ClusterError::Api(answer).to_string()),
        StorageError::Cluster(error) => Err(RollbackError::Restore(error.into())),
        other => Ok(other.to_string()),
    }
}
