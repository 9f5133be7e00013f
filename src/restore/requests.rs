//! Single writes to the cluster, and waiting for what takes its time.
//!
//! In: bodies bound to a UID and a resourceVersion. Out: the object as the API server has it now, or who refused.
//! Invariants: a conflict is repeated only while the UID stays and a controller made the change, or what was changed is
//! what would have been written anyway (a write whose answer was lost); nothing is ever written onto an object that is
//! being deleted, it is waited for until it is gone (a PUT onto a CRD that is being deleted leaves its objects behind in
//! etcd); no answer of an API server that is away or starting is taken for the truth, it is waited for.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::Method;
use serde_json::Value;

use crate::cluster::{Cluster, ClusterError};
use crate::progress::{Progress, ProgressEvent};
use crate::snapshot::{ObjectPath, at_or_below, field_changes, is_noise};

use super::controller_owned::counters;
use super::dry_run::is_there_already;
use super::error::RestoreError;
use super::object;
use super::plan::Bound;
use super::references::is_token;
use super::refuser::Refuser;
use super::write_recipe::delete_body;

/// How often a write is repeated after a controller was faster.
const CONFLICTS: usize = 8;
/// How often a write is repeated that the API server did not take yet.
const THROTTLED: u64 = 10;
/// How often one request is sent again because the API server went away.
const LOST: u64 = 5;
/// Between two looks at something that is waited for.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Why one object could not be written.
#[derive(Debug)]
pub(super) enum WriteError {
    /// The API server refused, or the object is not what was planned for. Others can go on.
    Refused {
        /// What happened, without any value of a Secret.
        problem: String,
        /// Who refused; none when this program did.
        by: Option<Refuser>,
    },
    /// Nothing can go on.
    Fatal(RestoreError),
}

impl WriteError {
    /// This program stops here, and trying again would not help.
    pub(super) fn stop(problem: impl Into<String>) -> Self {
        Self::Refused { problem: problem.into(), by: None }
    }
}

impl From<RestoreError> for WriteError {
    fn from(error: RestoreError) -> Self {
        Self::Fatal(error)
    }
}

/// Where an object is, and how its content may be spoken of.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) path: ObjectPath,
    pub(super) url: String,
}

/// An object as the API server had it last.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) value: Value,
}

impl Known {
    pub(super) fn bound(&self) -> Bound {
        Bound { uid: object::uid(&self.value), resource_version: object::resource_version(&self.value) }
    }
}

/// Sends writes and counts them.
pub(super) struct Requests<'a> {
    pub(super) cluster: &'a Cluster,
    patience: Duration,
    progress: &'a dyn Progress,
    pub(super) writes: AtomicU64,
    /// The API server does not answer, and that was said.
    away: AtomicBool,
}

impl<'a> Requests<'a> {
    pub(super) fn new(cluster: &'a Cluster, patience: Duration, progress: &'a dyn Progress) -> Self {
        Self { cluster, patience, progress, writes: AtomicU64::new(0), away: AtomicBool::new(false) }
    }

    /// Makes an object; `None` when one of its name is there already.
    pub(super) async fn create(&self, target: &Target, url: &str, body: &Value) -> Result<Option<Known>, WriteError> {
        let started = Instant::now();
        loop {
            match self.send(Method::POST, url, body).await {
                Ok(value) => return Ok(Some(Known { value })),
                Err(ClusterError::Api(answer)) if is_there_already(&answer) => return Ok(None),
                // A type that was just accepted is not served by every worker of the API server yet.
                Err(ClusterError::Api(answer))
                    if answer.status == 404 && target.path.group.contains('.') && started.elapsed() < SERVED_WITHIN =>
                {
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                Err(error) => return Err(refused(&target.path, error)),
            }
        }
    }

    /// Writes onto the object that is known; `make_body` binds the body to it.
    pub(super) async fn put(
        &self,
        target: &Target,
        url: &str,
        known: &mut Known,
        make_body: impl Fn(&Known) -> Value,
    ) -> Result<(), WriteError> {
        for _ in 0..CONFLICTS {
            let body = make_body(known);
            match self.send(Method::PUT, url, &body).await {
                Ok(value) => {
                    known.value = value;
                    return Ok(());
                }
                Err(ClusterError::Api(answer)) if answer.status == 409 => {
                    self.after_conflict(target, known, Some(&body)).await?;
                }
                Err(error) => return Err(refused(&target.path, error)),
            }
        }
        Err(WriteError::stop("it changes faster than it can be written"))
    }

    /// Deletes the object that is known, and waits until it is gone.
    pub(super) async fn delete(&self, target: &Target, known: &mut Known, orphan: bool) -> Result<(), WriteError> {
        match self.ask_to_delete(target, known, orphan).await? {
            Some(uid) => self.wait_gone(target, &uid).await,
            None => Ok(()),
        }
    }

    /// Deletes the object that is known. One that is gone already is fine; one that takes its time is named by its UID.
    pub(super) async fn ask_to_delete(
        &self,
        target: &Target,
        known: &mut Known,
        orphan: bool,
    ) -> Result<Option<String>, WriteError> {
        for _ in 0..CONFLICTS {
            match self.send(Method::DELETE, &target.url, &delete_body(&known.bound(), orphan)).await {
                Ok(answer) if object::text(&answer, "/kind") == Some("Status") => return Ok(None),
                Ok(_) => return Ok(Some(known.bound().uid)),
                Err(error) if error.status() == Some(404) => return Ok(None),
                Err(ClusterError::Api(answer)) if answer.status == 409 => match self.read(target).await? {
                    None => return Ok(None),
                    Some(now) if object::is_terminating(&now.value) && now.bound().uid == known.bound().uid => {
                        return Ok(Some(known.bound().uid));
                    }
                    Some(_) => self.after_conflict(target, known, None).await?,
                },
                Err(error) => return Err(refused(&target.path, error)),
            }
        }
        Err(WriteError::stop("it changes faster than it can be deleted"))
    }

    /// The object as it is now.
    pub(super) async fn read(&self, target: &Target) -> Result<Option<Known>, WriteError> {
        loop {
            let failed = match self.cluster.get(&target.url).await {
                Ok(bytes) => return Ok(Some(Known { value: object::parse(&target.path.to_tree_path(), &bytes)? })),
                Err(error) => error,
            };
            match self.was_away(&failed).await {
                Ok(true) => {}
                Ok(false) if failed.status() == Some(404) => return Ok(None),
                Ok(false) => return Err(refused(&target.path, failed)),
                Err(error) => return Err(refused(&target.path, error)),
            }
        }
    }

    /// Waits until the object is gone, or another one has its name.
    async fn wait_gone(&self, target: &Target, uid: &str) -> Result<(), WriteError> {
        let started = Instant::now();
        loop {
            let Some(now) = self.read(target).await? else { return Ok(()) };
            if uid != now.bound().uid {
                return Ok(());
            }
            if started.elapsed() >= self.patience {
                return Err(WriteError::stop(still_there(&now.value, self.patience)));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until a CRD is accepted and its objects can be listed.
    pub(super) async fn wait_served(&self, target: &Target, list_urls: &[String]) -> Result<(), WriteError> {
        let started = Instant::now();
        loop {
            let now = self.read(target).await?;
            let established = now.is_some_and(|now| has_condition(&now.value, "Established"));
            if established && self.all_listed(list_urls).await {
                return Ok(());
            }
            if started.elapsed() >= self.patience {
                let seconds = self.patience.as_secs();
                return Err(WriteError::stop(format!("its type is not served after {seconds} s")));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn all_listed(&self, urls: &[String]) -> bool {
        for url in urls {
            match self.cluster.get(&format!("{url}?limit=1")).await {
                // It is served, and cannot be read at this version for want of somebody else's answer.
                Err(ClusterError::Api(answer)) if answer.message.contains("conversion webhook") => {}
                Err(_) => return false,
                Ok(_) => {}
            }
        }
        true
    }

    /// Someone was faster: a controller's change is taken as it is, and so is one to what would have been written; any
    /// other one stops the write.
    async fn after_conflict(&self, target: &Target, known: &mut Known, body: Option<&Value>) -> Result<(), WriteError> {
        let Some(now) = self.read(target).await? else {
            return Err(WriteError::stop("it is gone since it was planned"));
        };
        if now.bound().uid != known.bound().uid {
            return Err(WriteError::stop("another object has its name since it was planned"));
        }
        if object::is_terminating(&now.value) {
            return Err(WriteError::stop("it is being deleted"));
        }
        let unlike = body.map(|body| field_changes(body, &now.value));
        let as_written = |field: &str| {
            unlike.as_ref().is_some_and(|unlike| {
                !unlike.iter().any(|other| at_or_below(&other.path, field) || at_or_below(field, &other.path))
            })
        };
        let fields: Vec<String> = field_changes(&known.value, &now.value)
            .into_iter()
            .flat_map(|change| one_by_one(change.path, &known.value, &now.value))
            .filter(|field| !is_controllers(&target.path, &known.value, field) && !as_written(field))
            .collect();
        if !fields.is_empty() {
            return Err(WriteError::stop(format!("it was changed since it was planned: {}", fields.join(", "))));
        }
        *known = now;
        Ok(())
    }

    /// Sends one write; one that was not looked at is repeated.
    pub(super) async fn send(&self, method: Method, url: &str, body: &Value) -> Result<Value, ClusterError> {
        let text = body.to_string().into_bytes();
        let (mut throttled, mut lost) = (0, 0);
        let bytes = loop {
            self.writes.fetch_add(1, Ordering::Relaxed);
            let failed = match self.cluster.send(method.clone(), url, Some(text.clone())).await {
                Ok(bytes) => break bytes,
                Err(error) => error,
            };
            match failed {
                // It says that the request was not looked at.
                ClusterError::Api(answer) if answer.status == 429 && throttled < THROTTLED => {
                    throttled += 1;
                    tokio::time::sleep(Duration::from_secs(answer.retry_after.unwrap_or(1))).await;
                }
                // Whether it was carried out is not known: what comes back the second time tells.
                failed if lost < LOST && self.was_away(&failed).await? => lost += 1,
                failed => return Err(failed),
            }
        };
        object::parse(url, &bytes).map_err(|_| ClusterError::BadAnswer {
            method: method.to_string(),
            path: url.to_owned(),
            expected: "an object",
            problem: "it is no JSON".to_owned(),
        })
    }

    /// Whether a request failed only because the API server was away or is starting, in which case it is ready again
    /// now. A starting one answers, and does not know all types and rights yet.
    pub(super) async fn was_away(&self, failed: &ClusterError) -> Result<bool, ClusterError> {
        let unanswered = matches!(failed, ClusterError::Unreachable { .. } | ClusterError::TimedOut { .. });
        if !unanswered && !failed.status().is_some_and(|status| matches!(status, 403 | 404 | 500 | 502..=504)) {
            return Ok(false);
        }
        let started = Instant::now();
        let mut waited = unanswered;
        loop {
            let error = match self.cluster.ready().await {
                Ok(()) => {
                    self.away.store(false, Ordering::Relaxed);
                    return Ok(waited);
                }
                Err(error) => error,
            };
            let away = matches!(
                error,
                ClusterError::Unreachable { .. } | ClusterError::TimedOut { .. } | ClusterError::NotReady { .. }
            );
            if !away || started.elapsed() >= self.patience {
                return if away { Err(error) } else { Ok(waited) };
            }
            waited = true;
            if !self.away.swap(true, Ordering::Relaxed) {
                self.progress.report(ProgressEvent::Note(format!("waiting: {error}")));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// How long a type that was accepted may take until objects can be created (seen: 2.1 s).
const SERVED_WITHIN: Duration = Duration::from_secs(15);

/// Annotations where there were none before are one change; who wrote them is told by their names.
fn one_by_one(path: String, before: &Value, now: &Value) -> Vec<String> {
    const ANNOTATIONS: &str = "metadata.annotations";
    if path != ANNOTATIONS {
        return vec![path];
    }
    let maps = [before, now].map(|object| object.pointer("/metadata/annotations").and_then(Value::as_object));
    let keys = maps.into_iter().flatten().flat_map(|map| map.keys());
    keys.map(|key| format!("{ANNOTATIONS}[\"{key}\"]")).collect()
}

/// Fields that a controller of the control plane writes at any time.
fn is_controllers(path: &ObjectPath, value: &Value, field: &str) -> bool {
    is_noise(field)
        || (is_token(path, value) && at_or_below(field, "data"))
        || counters(path).iter().any(|counter| field == format!("metadata.annotations[\"{counter}\"]"))
        || field.starts_with("metadata.annotations[\"pv.kubernetes.io/")
        || (path.resource == "persistentvolumes" && field.starts_with("spec.claimRef"))
        || (path.group == "rbac.authorization.k8s.io" && field.starts_with("rules"))
}

/// A Secret's values may be in the server's words, so only who refused is repeated for it.
fn refused(path: &ObjectPath, error: ClusterError) -> WriteError {
    let ClusterError::Api(answer) = error else { return WriteError::Fatal(error.into()) };
    let by = Refuser::of(&answer);
    let secret = path.group.is_empty() && path.resource == "secrets";
    let problem = match (&by, secret) {
        (by, true) => by.to_string(),
        // The server's words do not say that.
        (Refuser::LimitRange, false) => format!("{by}: {}", answer.message),
        (_, false) => format!("the API server answered {} {}: {}", answer.status, answer.reason, answer.message),
    };
    WriteError::Refused { problem, by: Some(by) }
}

fn has_condition(value: &Value, kind: &str) -> bool {
    let conditions = value.pointer("/status/conditions").and_then(Value::as_array);
    conditions.is_some_and(|conditions| {
        conditions.iter().any(|condition| {
            condition.get("type").and_then(Value::as_str) == Some(kind)
                && condition.get("status").and_then(Value::as_str) == Some("True")
        })
    })
}

/// Says what holds an object that does not go away.
pub(super) fn still_there(value: &Value, waited: Duration) -> String {
    let list = |pointer: &str| -> Vec<&str> {
        let list = value.pointer(pointer).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).collect()
    };
    let finalizers = [list("/metadata/finalizers"), list("/spec/finalizers")].concat();
    let mut text = format!("it is still there after {} s", waited.as_secs());
    if !finalizers.is_empty() {
        text.push_str(&format!(", held by {}", finalizers.join(", ")));
    }
    let conditions = value.pointer("/status/conditions").and_then(Value::as_array);
    for condition in conditions.into_iter().flatten() {
        if condition.get("status").and_then(Value::as_str) == Some("True")
            && let Some(message) = condition.get("message").and_then(Value::as_str)
        {
            text.push_str("; ");
            text.push_str(message);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::one_by_one;
    use serde_json::json;

    #[test]
    fn annotations_where_there_were_none_are_told_one_by_one() {
        let (none, bound) =
            (json!({"metadata": {}}), json!({"metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}}}));
        let fields = one_by_one("metadata.annotations".to_owned(), &none, &bound);
        assert_eq!(fields, [r#"metadata.annotations["pv.kubernetes.io/bind-completed"]"#]);
        assert_eq!(one_by_one("spec".to_owned(), &none, &bound), ["spec"]);
    }
}
