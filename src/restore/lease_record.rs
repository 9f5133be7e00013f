//! The Lease object itself: how it is written, and what can be read from one.
//!
//! In and out: objects of `coordination.k8s.io/v1`. All times in it are the API server's: a dry run tells what its clock
//! says, to the second.

use std::time::Duration;

use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::cluster::{Cluster, ClusterError};

use super::lease::LeaseOptions;
use super::object;

/// Which process holds it: two processes may work on the same transaction.
const PROCESS: &str = "snapback.io/process";

/// `namespace/name`, for people.
pub(super) fn lease_name(options: &LeaseOptions) -> String {
    format!("{}/{}", options.namespace, options.name)
}

fn leases_url(options: &LeaseOptions) -> String {
    format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", options.namespace)
}

fn lease_url(options: &LeaseOptions) -> String {
    format!("{}/{}", leases_url(options), options.name)
}

/// What the API server's clock says: what it would have written into an object that was made now. At most a second
/// behind, never before.
pub(super) async fn server_time(cluster: &Cluster, options: &LeaseOptions) -> Result<Timestamp, ClusterError> {
    let url = format!("{}?dryRun=All", leases_url(options));
    let body = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"generateName": "snapback-clock-"}, "spec": {}});
    let answer = send(cluster, Method::POST, &url, &body).await?;
    let time = object::text(&answer, "/metadata/creationTimestamp").unwrap_or_default();
    time.parse().map_err(|_| bad_answer(&url, "no creationTimestamp"))
}

/// The lease as it is now.
pub(super) async fn read(cluster: &Cluster, options: &LeaseOptions) -> Result<Option<Value>, ClusterError> {
    let url = lease_url(options);
    match cluster.get(&url).await {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|_| bad_answer(&url, "no JSON")),
        Err(error) if error.status() == Some(404) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes it: over the one that is known, or anew.
pub(super) async fn write(cluster: &Cluster, options: &LeaseOptions, lease: &Value) -> Result<Value, ClusterError> {
    if object::resource_version(lease).is_empty() {
        send(cluster, Method::POST, &leases_url(options), lease).await
    } else {
        send(cluster, Method::PUT, &lease_url(options), lease).await
    }
}

/// Removes the one that is known.
pub(super) async fn delete(cluster: &Cluster, options: &LeaseOptions, lease: &Value) -> Result<(), ClusterError> {
    let preconditions = json!({"uid": object::uid(lease), "resourceVersion": object::resource_version(lease)});
    let body = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions});
    send(cluster, Method::DELETE, &lease_url(options), &body).await.map(drop)
}

/// The lease for whom it is taken, over the one that is there.
pub(super) fn taken_by(
    transaction: &str,
    process: &str,
    now: Timestamp,
    options: &LeaseOptions,
    current: Option<Value>,
) -> Value {
    let anew = || {
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"namespace": options.namespace, "name": options.name}})
    };
    let transitions = current.as_ref().map(|lease| lease.pointer("/spec/leaseTransitions").and_then(Value::as_i64));
    let mut lease = current.unwrap_or_else(anew);
    object::set(&mut lease, "/metadata", "annotations", json!({PROCESS: process}));
    let spec = json!({
        "holderIdentity": transaction,
        "leaseDurationSeconds": options.duration.as_secs().max(1),
        "acquireTime": micro(now),
        "renewTime": micro(now),
        "leaseTransitions": transitions.map_or(0, |before| before.unwrap_or_default() + 1),
    });
    object::set(&mut lease, "", "spec", spec);
    lease
}

/// The same lease, renewed.
pub(super) fn renewed(lease: &Value, now: Timestamp) -> Value {
    let mut lease = lease.clone();
    object::set(&mut lease, "/spec", "renewTime", json!(micro(now)));
    lease
}

/// Who holds it; empty when nobody does.
pub(super) fn holder(lease: &Value) -> &str {
    object::text(lease, "/spec/holderIdentity").unwrap_or_default()
}

/// Which process of that transaction.
pub(super) fn process(lease: &Value) -> Option<&str> {
    lease.pointer("/metadata/annotations")?.get(PROCESS)?.as_str()
}

/// How long it lasts after a renewal.
pub(super) fn duration(lease: &Value) -> Duration {
    let seconds = lease.pointer("/spec/leaseDurationSeconds").and_then(Value::as_i64).unwrap_or_default();
    Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}

/// Until when it is held, by the API server's clock.
pub(super) fn until(lease: &Value) -> Timestamp {
    let renewed: Option<Timestamp> = object::text(lease, "/spec/renewTime").and_then(|time| time.parse().ok());
    after(renewed.unwrap_or(Timestamp::MIN), duration(lease))
}

/// A time later, by a span that was measured here.
pub(super) fn after(time: Timestamp, span: Duration) -> Timestamp {
    let span = SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX);
    time.saturating_add(span).unwrap_or(Timestamp::MAX)
}

/// As the API server takes a MicroTime: six digits, always.
fn micro(time: Timestamp) -> String {
    format!("{time:.6}")
}

fn bad_answer(url: &str, problem: &str) -> ClusterError {
    ClusterError::BadAnswer {
        method: "GET".to_owned(),
        path: url.split('?').next().unwrap_or_default().to_owned(),
        expected: "a Lease",
        problem: problem.to_owned(),
    }
}

async fn send(cluster: &Cluster, method: Method, url: &str, body: &Value) -> Result<Value, ClusterError> {
    let bytes = cluster.send(method, url, Some(body.to_string().into_bytes())).await?;
    serde_json::from_slice(&bytes).map_err(|_| bad_answer(url, "no JSON"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;
    use serde_json::json;

    use super::super::lease::LeaseOptions;
    use super::{holder, process, renewed, taken_by, until};

    #[test]
    fn a_lease_is_taken_over_renewed_and_runs_out() {
        let options = LeaseOptions { duration: Duration::from_secs(30), ..LeaseOptions::default() };
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        let first = taken_by("t1", "p1", time("2026-11-25T10:00:00Z"), &options, None);
        assert_eq!(first["spec"]["renewTime"], "2026-11-25T10:00:00.000000Z");
        assert_eq!(first["spec"]["leaseTransitions"], json!(0));
        let later = renewed(&first, time("2026-11-25T10:00:10Z"));
        assert_eq!(until(&later), time("2026-11-25T10:00:40Z"));
        let second = taken_by("t2", "p2", time("2026-11-25T11:00:00Z"), &options, Some(later));
        assert_eq!((holder(&second), process(&second)), ("t2", Some("p2")));
        assert_eq!(second["spec"]["leaseTransitions"], json!(1));
        assert_eq!(until(&json!({"spec": {"holderIdentity": "t"}})), Timestamp::MIN, "never renewed, long over");
    }
}
