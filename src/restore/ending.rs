//! What is deleted and waits: for whom, how long, and whose finalizers are taken off.
//!
//! In: an object that is about to be deleted, or is being deleted. Out: it is gone, or the words for what it waits for. An
//! object goes when its last finalizer is off; a namespace when all is gone that is in it, a CRD when all of its objects
//! are. Invariants: a finalizer is only taken off when whoever would do so is held still, and from nothing but what is being
//! deleted or is about to be; which object waits for which finalizer is said while it is waited for; a finalizer, or an
//! object of which nobody knows what it waits for, that was waited for in vain is not waited for as long again.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures::TryStreamExt as _;
use serde_json::Value;

use crate::cluster::type_name;
use crate::progress::ProgressEvent;
use crate::snapshot::ObjectPath;

use super::address::{TypeAddress, defined_type, is_namespace};
use super::apply::Run;
use super::finalizers::{finalizers, is_control_planes, mentions_finalizers};
use super::object;
use super::requests::{Known, LOOK_EVERY, Target, WriteError, still_there};

/// Before it is looked what something waits for, and between two such looks: most things are gone by then.
const LOOK_INSIDE_EVERY: Duration = Duration::from_secs(1);
/// How long something is waited for that waits for nothing but what was waited for in vain before.
const BRIEFLY: Duration = Duration::from_secs(5);
/// Things that wait which a line names; more are counted.
const NAMED: usize = 3;

/// An object that is being deleted, with what it waits for.
struct Waiting {
    path: ObjectPath,
    finalizers: Vec<String>,
}

impl Waiting {
    /// By what it is known to have been waited for in vain. What the control plane takes off depends on the object: a
    /// claim's on its pods, say.
    fn keys(&self) -> impl Iterator<Item = String> {
        self.finalizers.iter().map(|finalizer| match is_control_planes(finalizer) {
            true => format!("{finalizer} {}", self.path.to_tree_path()),
            false => finalizer.clone(),
        })
    }

    fn text(&self) -> String {
        let ObjectPath { group, resource, namespace, name } = &self.path;
        let home = namespace.as_ref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
        format!("{} {home}{name} waits for finalizer {}", type_name(group, resource), self.finalizers.join(", "))
    }
}

impl Run<'_> {
    /// What has to be done to an object before it is deleted, or while it is being deleted.
    pub(super) async fn let_end(&self, place: &Target, known: &mut Known) -> Result<(), WriteError> {
        self.keep_data(place, known).await?;
        self.let_go(place, known).await
    }

    /// Takes off the finalizers of controllers that are held still: nobody else would, and the object would never go.
    /// What such a controller would have done is in the plan: it would uninstall a release whose objects are extra, too.
    async fn let_go(&self, place: &Target, known: &mut Known) -> Result<(), WriteError> {
        let holding = &self.options.holding;
        if !finalizers(&known.value).any(|finalizer| holding.answers_for(finalizer)) {
            return Ok(());
        }
        self.requests
            .put(place, &place.url, known, |known| {
                let mut body = known.value.clone();
                let left: Vec<Value> = finalizers(&known.value)
                    .filter(|finalizer| !holding.answers_for(finalizer))
                    .map(|finalizer| Value::String(finalizer.to_owned()))
                    .collect();
                if let Some(list) = body.pointer_mut("/metadata/finalizers") {
                    *list = Value::Array(left);
                }
                body
            })
            .await
    }

    /// Deletes the object that is known, and waits until it is gone.
    pub(super) async fn delete(&self, place: &Target, known: &mut Known, orphan: bool) -> Result<(), WriteError> {
        self.let_end(place, known).await?;
        match self.requests.ask_to_delete(place, known, orphan).await? {
            Some(uid) => self.wait_gone(place, Some(&uid)).await,
            None => Ok(()),
        }
    }

    /// Waits until the object is gone, or another one has its name.
    pub(super) async fn wait_gone(&self, place: &Target, uid: Option<&str>) -> Result<(), WriteError> {
        let started = Instant::now();
        let mut inside = None;
        let (mut looked, mut waiting, mut said) = (started, Vec::new(), false);
        loop {
            let Some(now) = self.requests.read(place).await? else { return Ok(()) };
            if uid.is_some_and(|uid| uid != now.bound().uid) {
                return Ok(());
            }
            let mut patience = self.options.patience;
            let last = started.elapsed() >= patience;
            if last || looked.elapsed() >= LOOK_INSIDE_EVERY {
                let inside = match &mut inside {
                    Some(inside) => inside,
                    none => none.insert(self.with_finalizers_inside(&place.path).await?),
                };
                waiting = self.look_inside(place, &now, inside).await?;
                looked = Instant::now();
            }
            if !said && !waiting.is_empty() {
                self.progress.report(ProgressEvent::Note(format!("being deleted: {}", named(&waiting))));
                said = true;
            }
            let mut keys: BTreeSet<String> = waiting.iter().flat_map(Waiting::keys).collect();
            if keys.is_empty() {
                keys.insert(place.path.to_tree_path());
            }
            if keys.is_subset(&self.state().in_vain) {
                patience = patience.min(BRIEFLY);
            }
            if started.elapsed() >= patience {
                self.state().in_vain.extend(keys);
                let mut text = still_there(&now.value, patience);
                if waiting.iter().any(|waiting| waiting.path != place.path) {
                    text = format!("{text}; in it {}", named(&waiting));
                }
                return Err(WriteError::stop(text));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// What waits of an object that is being deleted, and of what is in it. What is held still would answer for is let go
    /// of; what is gone is not looked at again.
    async fn look_inside(
        &self,
        place: &Target,
        now: &Known,
        inside: &mut Vec<Target>,
    ) -> Result<Vec<Waiting>, WriteError> {
        let waits = |path: &ObjectPath, value: &Value| {
            let finalizers: Vec<String> = finalizers(value).map(str::to_owned).collect();
            let waits = object::is_terminating(value) && !finalizers.is_empty();
            waits.then(|| Waiting { path: path.clone(), finalizers })
        };
        let mut waiting: Vec<Waiting> = waits(&place.path, &now.value).into_iter().collect();
        let mut left = Vec::with_capacity(inside.len());
        for target in inside.drain(..) {
            let mut known = match self.requests.read(&target).await {
                Ok(Some(known)) => known,
                Ok(None) => continue,
                // Who may not read it does not learn what it waits for.
                Err(WriteError::Refused { .. }) => continue,
                Err(error) => return Err(error),
            };
            if object::is_terminating(&known.value) {
                match self.let_go(&target, &mut known).await {
                    // The next look tries again.
                    Ok(()) | Err(WriteError::Refused { .. }) => {}
                    Err(error) => return Err(error),
                }
                waiting.extend(waits(&target.path, &known.value));
            }
            left.push(target);
        }
        *inside = left;
        Ok(waiting)
    }

    /// Objects in a namespace, or of a CRD's type, that had finalizers when the plan was made.
    async fn with_finalizers_inside(&self, path: &ObjectPath) -> Result<Vec<Target>, WriteError> {
        let namespace = is_namespace(path).then_some(&path.name);
        let of_type = defined_type(path);
        let mut found = Vec::new();
        if namespace.is_none() && of_type.is_none() {
            return Ok(found);
        }
        let mut files = self.live.walk("cluster");
        while let Some((file, entry)) = files.try_next().await.map_err(super::RestoreError::from)? {
            let Some(path) = ObjectPath::parse(&file) else { continue };
            let in_it = path.namespace.as_ref().is_some_and(|home| Some(home) == namespace)
                || of_type.as_ref().is_some_and(|(group, resource)| *group == path.group && *resource == path.resource);
            if !in_it {
                continue;
            }
            let bytes = self.live.blob(&entry.hash).await.map_err(super::RestoreError::from)?;
            if !mentions_finalizers(&bytes) {
                continue;
            }
            let live = object::parse(&file, &bytes)?;
            if finalizers(&live).next().is_some() {
                let url = url(&path, &live);
                found.push(Target { path, url });
            }
        }
        Ok(found)
    }
}

/// Where a captured object is, at the version that it was captured at.
fn url(path: &ObjectPath, live: &Value) -> String {
    let address = TypeAddress {
        group: path.group.clone(),
        version: object::version_of(object::text(live, "/apiVersion").unwrap_or_default()).to_owned(),
        resource: path.resource.clone(),
        kind: String::new(),
        namespaced: path.namespace.is_some(),
        has_status: false,
        custom: false,
    };
    address.object_url(object::namespace(live), object::name(live))
}

/// The first of what waits, and how many others.
fn named(waiting: &[Waiting]) -> String {
    let more = waiting.len().saturating_sub(NAMED);
    let names: Vec<String> = waiting.iter().take(NAMED).map(Waiting::text).collect();
    let rest = if more > 0 { format!(", and {more} more wait") } else { String::new() };
    format!("{}{rest}", names.join("; "))
}
