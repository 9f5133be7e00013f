//! Carries a planned conversion out.
//!
//! In: an action of a plan. Out: the type stored as its wanted CRD says, and the CRD brought to what else it should be.
//! Invariants: it begins only on the CRD that was planned for; an API server that goes away meanwhile is waited for.

use std::sync::atomic::Ordering;

use serde_json::Value;

use super::conversion::Conversion;
use super::error::StorageError;
use crate::cluster::ClusterError;
use crate::restore::apply::Run;
use crate::restore::error::RestoreError;
use crate::restore::object;
use crate::restore::plan::Action;
use crate::restore::requests::WriteError;
use crate::restore::write::place;
use crate::snapshot::ObjectPath;

/// How often one conversion begins again because the API server went away.
const LOST: u32 = 5;

impl Run<'_> {
    /// Brings a type to another storage version, and then its CRD to what else it should be.
    pub(in crate::restore) async fn convert(&self, action: &Action, path: &ObjectPath) -> Result<(), WriteError> {
        let wanted = self.wanted_object(action).await?;
        let place = place(path, action, &wanted)?;
        let planned = self.known(action).await?;
        match self.requests.read(&place).await? {
            Some(now) if is_same(&now.value, &planned.value) => {}
            Some(_) => return Err(WriteError::stop("it was changed since it was planned")),
            None => return Err(WriteError::stop("it is gone since it was planned")),
        }
        let converted = self.run_conversion(&wanted, &planned.value).await;
        let Some(mut known) = self.requests.read(&place).await? else {
            return Err(WriteError::stop("it is gone since it was planned"));
        };
        let outcome = match converted {
            Ok(()) => self.bring_to(action, &place, &wanted, &mut known).await,
            Err(error) => Err(error),
        };
        if outcome.is_err() {
            // Another round goes on from there.
            self.state().latest.insert(action.path.clone(), known);
        }
        outcome
    }

    async fn run_conversion(&self, wanted: &Value, planned: &Value) -> Result<(), WriteError> {
        let mut lost = 0;
        loop {
            let others = vec![planned.clone()];
            let conversion = Conversion::new(self.requests.cluster, wanted.clone(), others, self.options);
            let mut conversion = conversion.recorded_by(self.record);
            let error = match conversion.run(self.progress).await {
                Ok(rewritten) => {
                    self.requests.writes.fetch_add(rewritten.moved, Ordering::Relaxed);
                    return Ok(());
                }
                Err(StorageError::Cluster(error)) => error,
                Err(StorageError::Journal(error)) => return Err(RestoreError::from(error).into()),
                Err(other) => return Err(WriteError::Refused { problem: other.to_string(), by: other.refuser() }),
            };
            lost += 1;
            if lost > LOST || !self.requests.was_away(&error).await.map_err(fatal)? {
                return Err(fatal(error));
            }
        }
    }
}

/// Nobody changed what the CRD says since; its status and its labels do not matter here.
fn is_same(now: &Value, planned: &Value) -> bool {
    let generation = "/metadata/generation";
    object::uid(now) == object::uid(planned) && now.pointer(generation) == planned.pointer(generation)
}

fn fatal(error: ClusterError) -> WriteError {
    WriteError::Fatal(RestoreError::Cluster(error))
}
