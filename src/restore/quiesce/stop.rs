//! Stops one thing, or sets it aside, and waits until nothing of it runs any more.
//!
//! In: what is to be held, and what it was in the snapshot of before; the caller has journaled both. Out: it is held.
//! Invariants: done twice it is done once, wherever the first time ended (I7); each write is bound to the UID and
//! resourceVersion that were read just before; what another transaction holds is never touched (I8).

use std::time::{Duration, Instant};

use http::Method;
use serde_json::Value;

use crate::cluster::ClusterError;
use crate::journal::{Held, Prior};
use crate::store::SnapshotTree;

use super::super::error::RestoreError;
use super::super::object;
use super::super::requests::{LOOK_EVERY, Requests, Target};
use super::Quiesce;
use super::address::{Place, place};
use super::error::QuiesceError;
use super::mark::{holder, now, overlay, stays};
use super::stillness::{Stillness, autoscalers, stillness};

/// How often the write is repeated after somebody else was faster.
const CONFLICTS: u32 = 30;
/// How often it is stopped again after somebody started it again.
const RESTARTS: u32 = 3;
/// How long Cluster API may take to say that it noticed a pause. One that is not running never does.
const NOTICED_WITHIN: Duration = Duration::from_secs(10);

/// How a stop ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stopped {
    /// It was there. What is not there does nothing.
    pub present: bool,
    /// HorizontalPodAutoscalers that scale it otherwise. They leave alone what has no replicas.
    pub autoscalers: Vec<String>,
    /// Its controller did not say that it noticed: it may not be running, or too old to say so.
    pub unconfirmed: bool,
}

/// What it is in the snapshot of before, for the journal.
///
/// # Errors
/// The snapshot cannot be read.
pub async fn prior(before: &SnapshotTree, item: &Held) -> Result<Prior, RestoreError> {
    let path = item.object_path().to_tree_path();
    let Some(entry) = before.entry(&path).await? else { return Ok(Prior::Absent) };
    let value = object::parse(&path, &before.blob(&entry.hash).await?)?;
    Ok(match now(item, &value) {
        // Told by all of it.
        Prior::Absent => Prior::Content(entry.hash),
        known => known,
    })
}

impl Quiesce<'_> {
    /// Stops it or sets it aside, and waits until nothing of it runs. `was` is what [`prior`] says, and in the journal.
    ///
    /// # Errors
    /// Another transaction holds it, it does not come to rest, somebody starts it again and again, or the API server
    /// refuses the write.
    pub async fn stop(&self, item: &Held, was: &Prior) -> Result<Stopped, QuiesceError> {
        if stays(item, was) {
            return Ok(Stopped::default());
        }
        let Some(Place { target, .. }) = place(self.cluster, item).await? else { return Ok(Stopped::default()) };
        let requests = Requests::new(self.cluster, self.patience, self.progress);
        if matches!(item, Held::ApiService { .. }) {
            return take_away(&requests, item, &target).await;
        }
        let started = Instant::now();
        let (mut conflicts, mut writes) = (0, 0);
        loop {
            let Some(now) = requests.read(&target).await.map_err(|error| QuiesceError::of(item, error))? else {
                return Ok(Stopped::default());
            };
            let now = now.value;
            let waited = started.elapsed();
            if object::is_terminating(&now) {
                if waited >= self.patience {
                    return Err(QuiesceError::Ending {
                        item: item.clone(),
                        seconds: waited.as_secs(),
                        finalizers: finalizers(&now),
                    });
                }
                tokio::time::sleep(LOOK_EVERY).await;
                continue;
            }
            if let Some(holder) = holder(&now).filter(|holder| *holder != self.transaction) {
                return Err(QuiesceError::HeldByOther { item: item.clone(), holder: holder.to_owned() });
            }
            let mut held = now.clone();
            overlay(item, was, self.transaction, &mut held);
            if held != now {
                if writes > RESTARTS {
                    return Err(QuiesceError::Resists { item: item.clone(), managers: starters(&now) });
                }
                match hold(&requests, item, &target, &held).await? {
                    Written::Yes => writes += 1,
                    Written::Unknown if conflicts < CONFLICTS => {
                        conflicts += 1;
                        tokio::time::sleep(LOOK_EVERY).await;
                    }
                    Written::Unknown => {
                        let problem = "it changes faster than it can be written".to_owned();
                        return Err(QuiesceError::Refused { item: item.clone(), problem });
                    }
                }
                continue;
            }
            let unconfirmed = match stillness(self.cluster, item, &now).await? {
                Stillness::Still => false,
                Stillness::Unnoticed if waited >= NOTICED_WITHIN.min(self.patience) => true,
                Stillness::Running(running) if waited >= self.patience => {
                    return Err(QuiesceError::StillRunning { item: item.clone(), seconds: waited.as_secs(), running });
                }
                Stillness::Unnoticed | Stillness::Running(_) => {
                    tokio::time::sleep(LOOK_EVERY).await;
                    continue;
                }
            };
            return Ok(Stopped { present: true, autoscalers: autoscalers(self.cluster, item).await?, unconfirmed });
        }
    }
}

/// Deletes an APIService, which is the one thing that can be done to it: cut off from its Service in place (the API
/// server takes that) it goes on being counted as stale in discovery, and namespaces go on waiting for it.
async fn take_away(requests: &Requests<'_>, item: &Held, target: &Target) -> Result<Stopped, QuiesceError> {
    let explain = |error| QuiesceError::of(item, error);
    let Some(mut known) = requests.read(target).await.map_err(explain)? else { return Ok(Stopped::default()) };
    requests.delete(target, &mut known, false).await.map_err(explain)?;
    Ok(Stopped { present: true, ..Stopped::default() })
}

/// Whether a write is known to have been done. If not, it is looked again.
enum Written {
    Yes,
    Unknown,
}

async fn hold(requests: &Requests<'_>, item: &Held, target: &Target, held: &Value) -> Result<Written, QuiesceError> {
    match requests.send(Method::PUT, &target.url, held).await {
        Ok(_) => Ok(Written::Yes),
        Err(ClusterError::Api(answer)) if matches!(answer.status, 404 | 409) => Ok(Written::Unknown),
        Err(ClusterError::Api(answer)) => Err(QuiesceError::Refused {
            item: item.clone(),
            problem: format!("the API server answered {} {}: {}", answer.status, answer.reason, answer.message),
        }),
        // Whether it was done is seen by looking, which waits for the API server to come back.
        Err(ClusterError::Unreachable { .. } | ClusterError::TimedOut { .. }) => Ok(Written::Unknown),
        Err(error) => Err(error.into()),
    }
}

fn finalizers(value: &Value) -> Vec<String> {
    let list = value.pointer("/metadata/finalizers").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Who, by the object's field managers, set the number of replicas, or the pause.
fn starters(value: &Value) -> Vec<String> {
    let entries = value.pointer("/metadata/managedFields").and_then(Value::as_array);
    let sets = |entry: &Value| {
        [
            "/fieldsV1/f:spec/f:replicas",
            "/fieldsV1/f:spec/f:paused",
            "/fieldsV1/f:webhooks",
            "/fieldsV1/f:spec/f:service",
        ]
        .iter()
        .any(|field| entry.pointer(field).is_some())
    };
    let name = |entry: &Value| entry.get("manager")?.as_str().map(str::to_owned);
    entries.into_iter().flatten().filter(|entry| sets(entry)).filter_map(name).collect()
}
