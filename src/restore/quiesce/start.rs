//! Puts one thing back that was held.
//!
//! In: what it should be, whole, and by which transaction it was held. Out: it is exactly that, field managers
//! included, or the reason why not. Invariants: only what this transaction holds is touched, and only while nobody
//! started it meanwhile; what others changed in it meanwhile stays (I8); done twice it is done once (I7).

use std::time::Instant;

use http::Method;
use serde_json::Value;

use crate::cluster::ClusterError;
use crate::journal::{Held, Prior};
use crate::store::SnapshotTree;

use super::super::error::RestoreError;
use super::super::object;
use super::super::references::owner_references;
use super::super::requests::{Known, LOOK_EVERY, Requests, WriteError};
use super::super::write::{bring, differences, is_managers};
use super::super::write_recipe::create_body;
use super::Quiesce;
use super::address::{Place, place, place_at};
use super::error::QuiesceError;
use super::mark::{holder, let_go, overlay, stays, told, unmark};

/// How putting back ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Started {
    /// It is exactly what it should be.
    Exact,
    /// It runs again. Others changed these fields meanwhile, and they were left.
    ChangedMeanwhile {
        /// Their paths.
        fields: Vec<String>,
    },
    /// It runs again as it was. No snapshot that could be compared says what it should be.
    Untargeted,
    /// It was left alone.
    Left(Left),
    /// It is not there, and nothing is to be done.
    Absent,
}

/// Why something was left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    /// Another transaction holds it.
    HeldByOther {
        /// Which.
        holder: String,
    },
    /// Nobody holds it, and it is not what it should be: somebody took the marks off, or made it anew.
    NotHeld,
    /// Somebody started it meanwhile. Only the marks were taken off.
    StartedMeanwhile,
    /// It is being deleted.
    Ending,
}

/// What something has to be like at the end, whole; `None` where it must not be. `wanted` is given where the transaction
/// brought the cluster to that snapshot and the item lies in its scope; else it is put back as it was.
///
/// # Errors
/// A snapshot cannot be read.
pub async fn target(
    item: &Held,
    before: &SnapshotTree,
    wanted: Option<&SnapshotTree>,
) -> Result<Option<Value>, RestoreError> {
    let path = item.object_path().to_tree_path();
    let read = async |tree: &SnapshotTree| match tree.read(&path).await? {
        Some(bytes) => object::parse(&path, &bytes).map(Some),
        None => Ok(None),
    };
    match wanted {
        None => read(before).await,
        Some(wanted) => match read(wanted).await? {
            // It is away, so nothing deleted it: it must not come back.
            None if matches!(item, Held::ApiService { .. }) => Ok(None),
            // The restore has deleted it, or had a reason to leave it.
            None => read(before).await,
            target => Ok(target),
        },
    }
}

impl Quiesce<'_> {
    /// Puts it back as `target` has it; `None` where it should not be. `was` is what the journal says it was.
    ///
    /// # Errors
    /// The API server does not answer, or refuses the write as long as `patience` says (a webhook's backend may take its
    /// time to come up).
    pub async fn start(&self, item: &Held, was: &Prior, target: Option<&Value>) -> Result<Started, QuiesceError> {
        // Read at the version that the target is written in, or they could not be compared.
        let version = target.and_then(|target| object::text(target, "/apiVersion")).map(object::version_of);
        let found = match version {
            Some(version) => Some(place_at(item, version.to_owned())),
            None => place(self.cluster, item).await?,
        };
        let Some(place) = found else { return Ok(Started::Absent) };
        let starting = Starting {
            requests: Requests::new(self.cluster, self.patience, self.progress),
            transaction: self.transaction,
            item,
            was,
        };
        let since = Instant::now();
        loop {
            let read = starting.requests.read(&place.target).await.map_err(|error| QuiesceError::of(item, error))?;
            let attempted = match (read, target) {
                (Some(known), Some(target)) => starting.attempt(&place, known, target).await,
                (Some(known), None) => starting.let_go_only(&place, &known.value).await,
                (None, Some(target)) if matches!(item, Held::ApiService { .. }) => {
                    starting.bring_back(&place, target).await
                }
                (None, Some(_)) if matches!(item, Held::ClusterApi { .. }) => starting.at_another_version().await,
                (None, _) => return Ok(Started::Absent),
            };
            match attempted {
                Err(error) if may_pass(&error) && since.elapsed() < self.patience => {
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                other => return other.map_err(|error| QuiesceError::of(item, error)),
            }
        }
    }
}

/// Whether it may be otherwise a moment later: somebody was faster, a webhook is not up yet, the API server restarts.
/// What the write did, if anything, is seen by reading again.
const fn may_pass(error: &WriteError) -> bool {
    matches!(
        error,
        WriteError::Refused { .. }
            | WriteError::Fatal(RestoreError::Cluster(
                ClusterError::Unreachable { .. } | ClusterError::TimedOut { .. }
            ))
    )
}

/// One thing on its way back.
struct Starting<'a> {
    requests: Requests<'a>,
    transaction: &'a str,
    item: &'a Held,
    was: &'a Prior,
}

impl Starting<'_> {
    async fn attempt(&self, place: &Place, mut known: Known, target: &Value) -> Result<Started, WriteError> {
        let live = &known.value;
        if object::is_terminating(live) {
            return Ok(Started::Left(Left::Ending));
        }
        let target = with_owners_of_now(target, live);
        match holder(live) {
            Some(holder) if holder == self.transaction => {}
            Some(holder) => return Ok(Started::Left(Left::HeldByOther { holder: holder.to_owned() })),
            // Put back already, save perhaps for its field managers, which are written last.
            None if differences(&place.target.path, &target, &known).iter().all(|field| is_managers(field)) => {
                bring(&self.requests, &place.target, place.has_status, &target, &mut known).await?;
                return Ok(Started::Exact);
            }
            None => return Ok(Started::Left(Left::NotHeld)),
        }
        if !self.still_held(live) {
            return self.unmark_only(place, live).await;
        }
        let fields = differences(
            &place.target.path,
            &self.blurred(target.clone()),
            &Known { value: self.blurred(live.clone()) },
        );
        if fields.is_empty() {
            bring(&self.requests, &place.target, place.has_status, &target, &mut known).await?;
            return Ok(Started::Exact);
        }
        let mut body = live.clone();
        let_go(self.item, &mut body, &target);
        self.write(place, &body).await?;
        Ok(Started::ChangedMeanwhile { fields })
    }

    /// No snapshot says what it should be, and it is there.
    async fn let_go_only(&self, place: &Place, live: &Value) -> Result<Started, WriteError> {
        match holder(live) {
            _ if object::is_terminating(live) => return Ok(Started::Left(Left::Ending)),
            Some(holder) if holder == self.transaction => {}
            Some(holder) => return Ok(Started::Left(Left::HeldByOther { holder: holder.to_owned() })),
            None => return Ok(Started::Left(Left::NotHeld)),
        }
        if !self.still_held(live) {
            return self.unmark_only(place, live).await;
        }
        if stays(self.item, self.was) {
            // It came back during the restore, set aside, and the snapshot is not reached: it was not there before.
            let mut known = Known { value: live.clone() };
            self.requests.delete(&place.target, &mut known, false).await?;
            return Ok(Started::Absent);
        }
        let mut body = live.clone();
        let_go(self.item, &mut body, &told(self.was, live));
        self.write(place, &body).await?;
        Ok(Started::Untargeted)
    }

    /// Makes an APIService anew that was taken away.
    async fn bring_back(&self, place: &Place, target: &Value) -> Result<Started, WriteError> {
        let body = create_body(&place.target.path, target);
        match self.requests.create(&place.target, &place.list_url, &body).await? {
            Some(mut known) => {
                bring(&self.requests, &place.target, place.has_status, target, &mut known).await?;
                Ok(Started::Exact)
            }
            None => Err(WriteError::stop("somebody made it at this moment")),
        }
    }

    /// A custom resource whose target is written in a version that is served no more, since its CRD went back and it did
    /// not: it cannot be compared, and the journal alone says how to let go of it.
    async fn at_another_version(&self) -> Result<Started, WriteError> {
        let Some(place) = place(self.requests.cluster, self.item).await.map_err(RestoreError::from)? else {
            return Ok(Started::Absent);
        };
        let Some(known) = self.requests.read(&place.target).await? else { return Ok(Started::Absent) };
        self.let_go_only(&place, &known.value).await
    }

    /// Nobody started it meanwhile.
    fn still_held(&self, live: &Value) -> bool {
        let mut held = live.clone();
        overlay(self.item, self.was, self.transaction, &mut held);
        held == *live
    }

    async fn unmark_only(&self, place: &Place, live: &Value) -> Result<Started, WriteError> {
        let mut body = live.clone();
        unmark(&mut body);
        self.write(place, &body).await?;
        Ok(Started::Left(Left::StartedMeanwhile))
    }

    /// What it looks like while it is held, without what says how it was before and who wrote it: two states of a held
    /// object that are equal in this differ in nothing that a restore has to write.
    fn blurred(&self, mut value: Value) -> Value {
        overlay(self.item, self.was, self.transaction, &mut value);
        unmark(&mut value);
        object::remove(&mut value, "/metadata", "managedFields");
        value
    }

    /// One write, bound to what was read just before.
    async fn write(&self, place: &Place, body: &Value) -> Result<(), WriteError> {
        match self.requests.send(Method::PUT, &place.target.url, body).await {
            Ok(_) => Ok(()),
            Err(ClusterError::Api(answer)) => Err(WriteError::stop(format!(
                "the API server answered {} {}: {}",
                answer.status, answer.reason, answer.message
            ))),
            Err(error) => Err(WriteError::Fatal(error.into())),
        }
    }
}

/// The target under the owners that the live object has: they may be back under UIDs that no snapshot knows.
fn with_owners_of_now(target: &Value, live: &Value) -> Value {
    let mut target = target.clone();
    let same = |a: &Value, b: &Value| ["apiVersion", "kind", "name"].iter().all(|key| a.get(key) == b.get(key));
    if let Some(owners) = target.pointer_mut("/metadata/ownerReferences").and_then(Value::as_array_mut) {
        for owner in owners {
            let now = owner_references(live).iter().find(|now| same(now, owner)).and_then(|now| now.get("uid"));
            if let Some(uid) = now.cloned() {
                object::set(owner, "", "uid", uid);
            }
        }
    }
    target
}
