//! A writer that shows whether a capture is one state: it updates objects a1 to a12 of twelve types in turn, each with the
//! same growing number, never two at once. In any state that ever existed the numbers along a1 … a12 do not grow, and
//! the first is at most one ahead of the last.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use http::Method;
use serde_json::{Value, json};
use snapback::cluster::Cluster;

use super::taking::{Taken, crd, create, create_crd};

/// How many types there are, with an object each.
pub(super) const TYPES: usize = 12;

/// The type of object a(n + 1).
pub(super) fn plural(n: usize) -> String {
    // Backwards, so that the order of writing is not that of listing.
    format!("kind{:02}s", TYPES - n)
}

/// Where it is.
pub(super) fn url(n: usize) -> String {
    format!("/apis/test.snapback/v1/namespaces/default/{}", plural(n))
}

/// The twelve types with their objects. Every second one has two versions, so that a capture reads it when it has the CRDs,
/// and the others beside them.
pub(super) async fn prepare(cluster: &Cluster) {
    let versions = |n: usize| if n.is_multiple_of(2) { vec!["v1"] } else { vec!["v1", "v2"] };
    let definitions: Vec<Value> = (0..TYPES).map(|n| crd(&plural(n), &versions(n))).collect();
    futures::future::join_all(definitions.iter().map(|definition| create_crd(cluster, definition))).await;
    for n in 0..TYPES {
        let object = json!({
            "apiVersion": "test.snapback/v1", "kind": format!("Kind{}", plural(n)),
            "metadata": {"name": format!("a{}", n + 1)}, "spec": {"turn": 0},
        });
        create(cluster, &url(n), &object).await;
    }
}

/// Updates the objects in their order until it is told to stop.
pub(super) struct Writer {
    stop: Arc<AtomicBool>,
    turns: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Writer {
    pub(super) fn start(cluster: &Cluster) -> Self {
        let (stop, turns) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (cluster, stopped, counted) = (cluster.clone(), Arc::clone(&stop), Arc::clone(&turns));
        let task = tokio::spawn(async move {
            for turn in 1_u64.. {
                for n in 0..TYPES {
                    if stopped.load(Ordering::Relaxed) {
                        return;
                    }
                    let patch = Some(serde_json::to_vec(&json!({"spec": {"turn": turn}})).unwrap());
                    let url = format!("{}/a{}", url(n), n + 1);
                    cluster.send_as(Method::PATCH, &url, "application/merge-patch+json", patch).await.unwrap();
                }
                counted.store(turn, Ordering::Relaxed);
            }
        });
        Self { stop, turns, task }
    }

    /// Ends it, and says how often all were updated.
    pub(super) async fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        self.turns.load(Ordering::Relaxed)
    }
}

/// An object's number.
pub(super) fn turn(object: &Value) -> u64 {
    object["spec"]["turn"].as_u64().unwrap()
}

/// Some state of the cluster had these numbers.
pub(super) fn is_one_state(turns: &[u64]) -> bool {
    turns.is_sorted_by(|a, b| a >= b) && turns.first().unwrap() - turns.last().unwrap() <= 1
}

/// The numbers in a capture.
pub(super) async fn turns_of(taken: &Taken) -> Vec<u64> {
    let mut turns = Vec::new();
    for n in 0..TYPES {
        let path = format!("cluster/test.snapback/{}/default/a{}.json", plural(n), n + 1);
        turns.push(turn(&taken.object(&path).await.unwrap()));
    }
    turns
}
