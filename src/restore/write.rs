//! Brings one object back: create, update, recreate, delete, release.
//!
//! In: an action and the objects it names. Out: the object written, and the UID map grown. The recipe is answered by
//! the API server at each step (facts/apiserver-tried.md, "Writing it all back"): after a write its answer is judged, and
//! only what still differs is written: the object itself, its status, its field managers.

use serde_json::Value;

use crate::snapshot::{ObjectPath, at_or_below};
use crate::store::ContentHash;

use super::address::{CRD_GROUP, CRD_RESOURCE, TypeAddress};
use super::apply::Run;
use super::controller_owned::owns_status;
use super::error::RestoreError;
use super::judge::{Neighbours, judge};
use super::object;
use super::plan::{Action, Operation};
use super::references::Kinds;
use super::requests::{Known, Target, WriteError};
use super::write_recipe::{create_body, put_body, put_without_managers, release_body, target};

impl Run<'_> {
    /// Does one action.
    pub(super) async fn write(&self, action: &Action) -> Result<(), WriteError> {
        let path =
            ObjectPath::parse(&action.path).ok_or_else(|| RestoreError::Missing { path: action.path.clone() })?;
        match &action.operation {
            Operation::Release { uids } => {
                let mut known = self.known(action).await?;
                let place = place(&path, &action.address, &known.value);
                let released =
                    self.requests.put(&place, &place.url, &mut known, |known| release_body(&known.value, uids)).await;
                match released {
                    // Garbage collection was faster: it is made anew when its turn comes.
                    Err(WriteError::Refused(_)) if self.requests.read(&place).await?.is_none() => {}
                    other => {
                        other?;
                        self.state().latest.insert(action.path.clone(), known);
                    }
                }
                Ok(())
            }
            Operation::Delete { orphan, .. } => {
                let mut known = self.known(action).await?;
                let place = place(&path, &action.address, &known.value);
                self.requests.delete(&place, &mut known, *orphan).await
            }
            Operation::Update { .. } => {
                let wanted = self.wanted_object(action).await?;
                let place = place(&path, &action.address, &wanted);
                let mut known = self.known(action).await?;
                match self.bring_to(action, &place, &wanted, &mut known).await {
                    // It went since the plan was made; most often garbage collection still knew its owner's type.
                    Err(WriteError::Refused(_)) if self.requests.read(&place).await?.is_none() => {
                        self.make(action, &place, &wanted).await
                    }
                    other => other,
                }
            }
            Operation::Create { after_gone } => {
                let wanted = self.wanted_object(action).await?;
                let place = place(&path, &action.address, &wanted);
                // In a namespace that was just being deleted nothing is left; anything else that ends is waited for.
                if *after_gone {
                    self.requests.wait_gone(&place, None).await?;
                }
                self.make(action, &place, &wanted).await
            }
            Operation::Recreate { orphan, .. } => {
                let wanted = self.wanted_object(action).await?;
                let mut known = self.known(action).await?;
                let place = place(&path, &action.address, &wanted);
                self.requests.delete(&place, &mut known, *orphan).await?;
                self.make(action, &place, &wanted).await
            }
        }
    }

    async fn make(&self, action: &Action, place: &Target, wanted: &Value) -> Result<(), WriteError> {
        let (body, _) = self.target(place, wanted);
        let url = action.address.list_url(object::namespace(wanted));
        let created = self.requests.create(place, &url, &create_body(&place.path, &body)).await?;
        let mut known = match created {
            Some(known) => known,
            None => self.already_there(place).await?,
        };
        {
            let uid = object::uid(&known.value);
            let mut state = self.state();
            for old in action.replaces.iter().chain(std::iter::once(&object::uid(wanted))) {
                state.coming.remove(old);
                if *old != uid {
                    state.uids.insert(old.clone(), uid.clone());
                }
            }
        }
        if is_crd(&place.path) {
            self.requests.wait_served(place, &list_urls(wanted)).await?;
            // Its status was written meanwhile.
            if let Some(now) = self.requests.read(place).await? {
                known = now;
            }
        }
        self.bring_to(action, place, wanted, &mut known).await
    }

    /// Some objects appear by themselves in a namespace that was just made, and are then brought to what they should
    /// be; any other one is not what was planned for.
    async fn already_there(&self, place: &Target) -> Result<Known, WriteError> {
        let appears = matches!(
            (place.path.resource.as_str(), place.path.name.as_str()),
            ("serviceaccounts", "default") | ("configmaps", "kube-root-ca.crt") | ("endpoints" | "endpointslices", _)
        );
        if appears && let Some(known) = self.requests.read(place).await? {
            return Ok(known);
        }
        Err(WriteError::Refused("it is there already, though it was missing when this was planned".to_owned()))
    }

    /// Writes what differs until nothing does: the object, its status, its field managers.
    async fn bring_to(
        &self,
        action: &Action,
        place: &Target,
        wanted: &Value,
        known: &mut Known,
    ) -> Result<(), WriteError> {
        let (target, mapped) = self.target(place, wanted);
        self.state().mapped += mapped;
        let status_apart = action.address.has_status;
        let fields = differences(&place.path, &target, known);
        if fields.iter().any(|field| !(is_managers(field) || status_apart && at_or_below(field, "status"))) {
            self.put(place, &target, known).await?;
        }
        if status_apart && !owns_status(&place.path) && target.get("status") != known.value.get("status") {
            let url = format!("{}/status", place.url);
            self.requests.put(place, &url, known, |known| put_body(&place.path, &target, &known.value)).await?;
        }
        let fields = differences(&place.path, &target, known);
        if fields.iter().any(|field| !at_or_below(field, "status")) {
            self.put(place, &target, known).await?;
        }
        // Entries that differ in nothing but their times are not taken over what is there: they are taken off first.
        if differences(&place.path, &target, known).iter().any(|field| is_managers(field)) {
            self.requests
                .put(place, &place.url, known, |known| put_without_managers(&place.path, &target, &known.value))
                .await?;
            self.put(place, &target, known).await?;
        }
        if is_crd(&place.path) {
            self.requests.wait_served(place, &list_urls(wanted)).await?;
        }
        Ok(())
    }

    async fn put(&self, place: &Target, target: &Value, known: &mut Known) -> Result<(), WriteError> {
        self.requests.put(place, &place.url, known, |known| put_body(&place.path, target, &known.value)).await
    }

    fn target(&self, place: &Target, wanted: &Value) -> (Value, u64) {
        let state = self.state();
        target(&place.path, wanted.clone(), &state.uids, &state.coming)
    }

    async fn wanted_object(&self, action: &Action) -> Result<Value, RestoreError> {
        let hash = named(action, action.wanted)?;
        object::parse(&action.path, &self.wanted.blob(&hash).await?)
    }

    /// The live object that the action is bound to, or what this run made of it.
    async fn known(&self, action: &Action) -> Result<Known, RestoreError> {
        if let Some(known) = self.state().latest.remove(&action.path) {
            return Ok(known);
        }
        let hash = named(action, action.live)?;
        Ok(Known { value: object::parse(&action.path, &self.live.blob(&hash).await?)? })
    }
}

fn named(action: &Action, hash: Option<ContentHash>) -> Result<ContentHash, RestoreError> {
    hash.ok_or_else(|| RestoreError::Missing { path: action.path.clone() })
}

fn place(path: &ObjectPath, address: &TypeAddress, value: &Value) -> Target {
    // The name in a path may be cut: the object has the true one.
    Target { path: path.clone(), url: address.object_url(object::namespace(value), object::name(value)) }
}

fn differences(path: &ObjectPath, target: &Value, known: &Known) -> Vec<String> {
    let kinds = Kinds::default();
    let neighbours = Neighbours { by_path: std::collections::BTreeMap::new(), kinds: &kinds };
    judge(path, target, &known.value, &neighbours).fields
}

fn is_managers(field: &str) -> bool {
    at_or_below(field, "metadata.managedFields")
}

fn is_crd(path: &ObjectPath) -> bool {
    path.group == CRD_GROUP && path.resource == CRD_RESOURCE
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
