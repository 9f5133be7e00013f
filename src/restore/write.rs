//! Brings one object back: create, update, recreate, delete, release, readopt.
//!
//! In: an action and the objects it names. Out: the object written, and the UID map grown. The recipe is answered by
//! the API server at each step (facts/apiserver-tried.md, "Writing it all back"): after a write its answer is judged, and
//! only what still differs is written: the object itself, its status, its field managers.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::snapshot::{ObjectPath, at_or_below, is_noise};
use crate::store::ContentHash;

use super::added_types::check_unused;
use super::address::is_crd;
use super::apply::Run;
use super::controller_owned::owns_status;
use super::dry_run::{DryRuns, Tried, Verdict};
use super::error::RestoreError;
use super::judge::{Neighbours, judge};
use super::object;
use super::options::AddedTypes;
use super::plan::{Action, Operation};
use super::references::Kinds;
use super::refuser::Refuser;
use super::requests::{Known, Requests, Target, WriteError};
use super::service_address::{is_service, services, taken};
use super::write_recipe::{create_body, put_body, put_without_managers, readopted, target, without_owners};

/// How often an object that is in use is read again to write its references.
const FASTER: usize = 20;

impl Run<'_> {
    /// Does one action.
    pub(super) async fn write(&self, action: &Action) -> Result<(), WriteError> {
        let path =
            ObjectPath::parse(&action.path).ok_or_else(|| RestoreError::Missing { path: action.path.clone() })?;
        match &action.operation {
            Operation::Release { uids, .. } => self.release(action, &path, uids).await,
            Operation::Readopt { uids } => self.readopt(action, &path, uids).await,
            Operation::Delete { orphan, .. } => {
                let mut known = self.known(action).await?;
                let place = place(&path, action, &known.value)?;
                if is_crd(&path) && self.options.added_types == AddedTypes::KeepInUse {
                    check_unused(self.requests.cluster, &known.value).await?;
                }
                self.delete(&place, &mut known, *orphan).await
            }
            Operation::Update { .. } => {
                let wanted = self.wanted_object(action).await?;
                let place = place(&path, action, &wanted)?;
                if self.is_made(action) {
                    return self.make(action, &place, &wanted).await;
                }
                let mut known = self.known(action).await?;
                match self.bring_to(action, &place, &wanted, &mut known).await {
                    // It went since the plan was made; most often garbage collection still knew its owner's type.
                    Err(WriteError::Refused { .. }) if self.requests.read(&place).await?.is_none() => {
                        self.make(action, &place, &wanted).await
                    }
                    Err(refused) => {
                        // A part may be written: another round goes on from there.
                        self.state().latest.insert(action.path.clone(), known);
                        Err(refused)
                    }
                    Ok(()) => Ok(()),
                }
            }
            Operation::Convert { .. } => self.convert(action, &path).await,
            Operation::Create { after_gone } => {
                let wanted = self.wanted_object(action).await?;
                let place = place(&path, action, &wanted)?;
                // In a namespace that was just being deleted nothing is left; anything else that ends is waited for.
                if *after_gone && !self.is_made(action) {
                    if let Some(mut ending) = self.requests.read(&place).await? {
                        self.let_end(&place, &mut ending).await?;
                    }
                    self.wait_gone(&place, None).await?;
                }
                self.make(action, &place, &wanted).await
            }
            Operation::Recreate { orphan, .. } => {
                let wanted = self.wanted_object(action).await?;
                let place = place(&path, action, &wanted)?;
                if !self.is_made(action) {
                    self.check_before_deleting(action, &place, &wanted).await?;
                    let mut known = self.known(action).await?;
                    self.delete(&place, &mut known, *orphan).await?;
                }
                self.make(action, &place, &wanted).await
            }
        }
    }

    /// Takes references off. Whoever was faster is let through: the owner waits for this, and nothing else is changed.
    async fn release(&self, action: &Action, path: &ObjectPath, uids: &[String]) -> Result<(), WriteError> {
        let mut known = self.known(action).await?;
        let place = place(path, action, &known.value)?;
        let mut as_planned = true;
        for _ in 0..FASTER {
            let body = |known: &Known| without_owners(&known.value, uids);
            let released = self.requests.put(&place, &place.url, &mut known, body).await;
            let refused = match released {
                Ok(()) if as_planned => {
                    self.state().latest.insert(action.path.clone(), known);
                    return Ok(());
                }
                // What restores it is bound to what was planned for, and refuses then.
                Ok(()) => return Ok(()),
                Err(WriteError::Refused { problem, by }) => WriteError::Refused { problem, by },
                Err(fatal) => return Err(fatal),
            };
            match self.requests.read(&place).await? {
                Some(now) if now.bound().uid == known.bound().uid && !object::is_terminating(&now.value) => {
                    if !matches!(refused, WriteError::Refused { by: None, .. }) {
                        return Err(refused);
                    }
                    known = now;
                    as_planned = false;
                }
                // Garbage collection was faster: it is made anew when its turn comes.
                _ => return Ok(()),
            }
        }
        Err(WriteError::stop("it changes faster than it can be written"))
    }

    /// What would not be taken in place of the old one must not cost the old one.
    async fn check_before_deleting(&self, action: &Action, place: &Target, wanted: &Value) -> Result<(), WriteError> {
        let refused = |by: Refuser| {
            let problem = format!("it was not deleted, since it could not be made anew: {by}");
            WriteError::Refused { problem, by: Some(by) }
        };
        if is_service(&place.path)
            && let Some((by, _)) = taken(wanted, &services(self.requests.cluster).await?)
        {
            return Err(refused(by));
        }
        let (body, _) = self.target(action, place, wanted);
        let url = action.address.list_url(object::namespace(wanted));
        let dry_runs = DryRuns::new(self.requests.cluster, Tried::default());
        match dry_runs.create(&url, &create_body(&place.path, &body)).await? {
            // What is deleted makes room for itself.
            Verdict::Fine | Verdict::Refused(Refuser::Quota { .. }) => Ok(()),
            Verdict::Refused(by) => Err(refused(by)),
            Verdict::Immutable(_) | Verdict::Unclear => {
                Err(refused(Refuser::ApiServer { status: 500, reason: "Unknown".to_owned() }))
            }
        }
    }

    async fn make(&self, action: &Action, place: &Target, wanted: &Value) -> Result<(), WriteError> {
        let earlier = self.state().made.remove(&action.path);
        let mut known = match earlier {
            Some(known) => known,
            None => self.create(action, place, wanted).await?,
        };
        let finished = self.finish(action, place, wanted, &mut known).await;
        if finished.is_err() {
            self.state().made.insert(action.path.clone(), known);
        }
        finished
    }

    async fn create(&self, action: &Action, place: &Target, wanted: &Value) -> Result<Known, WriteError> {
        let (body, _) = self.target(action, place, wanted);
        let url = action.address.list_url(object::namespace(wanted));
        let known = match self.requests.create(place, &url, &create_body(&place.path, &body)).await? {
            Some(known) => known,
            None => self.already_there(place, &body).await?,
        };
        let uid = object::uid(&known.value);
        let mut state = self.state();
        for old in action.replaces.iter().chain(std::iter::once(&object::uid(wanted))) {
            state.coming.remove(old);
            if *old != uid {
                state.uids.insert(old.clone(), uid.clone());
            }
        }
        Ok(known)
    }

    async fn finish(
        &self,
        action: &Action,
        place: &Target,
        wanted: &Value,
        known: &mut Known,
    ) -> Result<(), WriteError> {
        if is_crd(&place.path) {
            self.requests.wait_served(place, &list_urls(wanted)).await?;
            // Its status was written meanwhile.
            if let Some(now) = self.requests.read(place).await? {
                *known = now;
            }
        }
        self.bring_to(action, place, wanted, known).await
    }

    /// Some objects appear by themselves in a namespace that was just made, and are then brought to what they should
    /// be. One that is already as it should be was made by us, and the answer was lost. Any other one is not what was
    /// planned for.
    async fn already_there(&self, place: &Target, target: &Value) -> Result<Known, WriteError> {
        let appears = matches!(
            (place.path.resource.as_str(), place.path.name.as_str()),
            ("serviceaccounts", "default") | ("configmaps", "kube-root-ca.crt") | ("endpoints" | "endpointslices", _)
        );
        if let Some(known) = self.requests.read(place).await?
            && (appears || differences(&place.path, target, &known).iter().all(|field| is_noise(field)))
        {
            return Ok(known);
        }
        Err(WriteError::stop("it is there already, though it was missing when this was planned"))
    }

    /// Gives an object that is not restored itself its references back. Whatever else was done to it meanwhile stays.
    async fn readopt(&self, action: &Action, path: &ObjectPath, uids: &[String]) -> Result<(), WriteError> {
        let captured = self.captured(action).await?;
        let place = place(path, action, &captured)?;
        let back: BTreeMap<String, String> = {
            let state = self.state();
            uids.iter().filter_map(|old| Some((old.clone(), state.uids.get(old)?.clone()))).collect()
        };
        // It goes on being used: whoever was faster is let through.
        for _ in 0..FASTER {
            let Some(mut now) = self.requests.read(&place).await? else { return Ok(()) };
            if now.bound().uid != object::uid(&captured) || object::is_terminating(&now.value) {
                return Ok(());
            }
            let body = |known: &Known| readopted(&captured, &known.value, &back);
            let mut done = self.requests.put(&place, &place.url, &mut now, body).await;
            // As for any other write: field managers are taken as they are sent when nothing else changes.
            if done.is_ok() && body(&now) != now.value {
                done = self.requests.put(&place, &place.url, &mut now, body).await;
            }
            match done {
                Err(WriteError::Refused { by: None, .. }) => {}
                Ok(()) => {
                    self.state().mapped += back.len() as u64;
                    return Ok(());
                }
                other => return other,
            }
        }
        Err(WriteError::stop("it changes faster than it can be written"))
    }

    /// Writes what differs until nothing does: the object, its status, its field managers.
    pub(super) async fn bring_to(
        &self,
        action: &Action,
        place: &Target,
        wanted: &Value,
        known: &mut Known,
    ) -> Result<(), WriteError> {
        let (target, mapped) = self.target(action, place, wanted);
        self.state().mapped += mapped;
        bring(&self.requests, place, action.address.has_status, &target, known).await?;
        if is_crd(&place.path) {
            self.requests.wait_served(place, &list_urls(wanted)).await?;
        }
        Ok(())
    }

    fn target(&self, action: &Action, place: &Target, wanted: &Value) -> (Value, u64) {
        let state = self.state();
        target(&place.path, without_owners(wanted, &action.drops), &state.uids, &state.coming)
    }

    /// This run made it, in an earlier round.
    fn is_made(&self, action: &Action) -> bool {
        self.state().made.contains_key(&action.path)
    }

    pub(super) async fn wanted_object(&self, action: &Action) -> Result<Value, RestoreError> {
        let hash = named(action, action.wanted)?;
        let mut wanted = object::parse(&action.path, &self.wanted.blob(&hash).await?)?;
        self.options.holding.overlay(&action.path, &mut wanted);
        Ok(wanted)
    }

    /// The live object as it was when the plan was made.
    async fn captured(&self, action: &Action) -> Result<Value, RestoreError> {
        let hash = named(action, action.live)?;
        object::parse(&action.path, &self.live.blob(&hash).await?)
    }

    /// The live object that the action is bound to, or what this run made of it.
    pub(super) async fn known(&self, action: &Action) -> Result<Known, RestoreError> {
        if let Some(known) = self.state().latest.remove(&action.path) {
            return Ok(known);
        }
        Ok(Known { value: self.captured(action).await? })
    }
}

/// Writes what differs until nothing does: the object, its status, its field managers.
pub(super) async fn bring(
    requests: &Requests<'_>,
    place: &Target,
    status_apart: bool,
    target: &Value,
    known: &mut Known,
) -> Result<(), WriteError> {
    let fields = differences(&place.path, target, known);
    if fields.iter().any(|field| !(is_managers(field) || status_apart && at_or_below(field, "status"))) {
        put(requests, place, target, known).await?;
    }
    if status_apart && !owns_status(&place.path) && target.get("status") != known.value.get("status") {
        let url = format!("{}/status", place.url);
        requests.put(place, &url, known, |known| put_body(&place.path, target, &known.value)).await?;
    }
    let fields = differences(&place.path, target, known);
    if fields.iter().any(|field| !at_or_below(field, "status")) {
        put(requests, place, target, known).await?;
    }
    // Entries that differ in nothing but their times are not taken over what is there: they are taken off first.
    if differences(&place.path, target, known).iter().any(|field| is_managers(field)) {
        requests.put(place, &place.url, known, |known| put_without_managers(&place.path, target, &known.value)).await?;
        put(requests, place, target, known).await?;
    }
    Ok(())
}

async fn put(requests: &Requests<'_>, place: &Target, target: &Value, known: &mut Known) -> Result<(), WriteError> {
    requests.put(place, &place.url, known, |known| put_body(&place.path, target, &known.value)).await
}

fn named(action: &Action, hash: Option<ContentHash>) -> Result<ContentHash, RestoreError> {
    hash.ok_or_else(|| RestoreError::Missing { path: action.path.clone() })
}

/// Where the object is written: the place that its path, its type and it itself agree on.
pub(super) fn place(path: &ObjectPath, action: &Action, value: &Value) -> Result<Target, RestoreError> {
    object::check_place(&action.path, value)?;
    let address = &action.address;
    if address.group != path.group
        || address.resource != path.resource
        || address.namespaced != path.namespace.is_some()
        || object::text(value, "/kind") != Some(&address.kind)
    {
        return Err(RestoreError::Misplaced { path: action.path.clone(), found: object::described(value) });
    }
    // The name in a path may be cut: the object has the true one.
    Ok(Target { path: path.clone(), url: address.object_url(object::namespace(value), object::name(value)) })
}

/// The fields in which an object is not yet what it should be.
pub(super) fn differences(path: &ObjectPath, target: &Value, known: &Known) -> Vec<String> {
    let kinds = Kinds::default();
    let neighbours = Neighbours { by_path: BTreeMap::new(), kinds: &kinds };
    judge(path, target, &known.value, &neighbours).fields
}

pub(super) fn is_managers(field: &str) -> bool {
    at_or_below(field, "metadata.managedFields")
}

/// Where the objects of a CRD's served versions are listed.
fn list_urls(crd: &Value) -> Vec<String> {
    let text = |pointer: &str| object::text(crd, pointer).unwrap_or_default();
    let (group, plural) = (text("/spec/group"), text("/spec/names/plural"));
    let versions = crd.pointer("/spec/versions").and_then(Value::as_array);
    versions
        .into_iter()
        .flatten()
        .filter(|version| version.get("served") == Some(&Value::Bool(true)))
        .filter_map(|version| version.get("name")?.as_str())
        .map(|version| format!("/apis/{group}/{version}/{plural}"))
        .collect()
}
