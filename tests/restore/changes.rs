//! Others write while a restore does: what a person did since the plan is never overwritten, what a controller counts in
//! a status does not stop anything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::Method;
use serde_json::{Value, json};
use snapback::progress::Silent;
use snapback::restore::{Outcome, Wait};

use super::site::{Site, failures};

/// How many objects there are.
const OBJECTS: usize = 120;

fn map(name: &str, value: &str) -> Value {
    json!({"metadata": {"name": name}, "data": {"a": value}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_in_the_middle_of_a_restore_loses_nothing() {
    const SPACE: &str = "changes";
    let site = Arc::new(Site::in_namespace(SPACE).await);
    let maps = format!("/api/v1/namespaces/{SPACE}/configmaps");
    let name = |number: usize| format!("m{number:03}");
    for number in 0..OBJECTS {
        site.post(&maps, map(&name(number), "wanted")).await;
    }
    let wanted = site.snapshot().await;
    // A third is to be updated, a third created, a third deleted.
    for number in 0..OBJECTS {
        let url = format!("{maps}/{}", name(number));
        match number % 3 {
            0 => drop(site.patch(&url, json!({"data": {"a": "drifted"}})).await),
            1 => site.delete(&url).await,
            _ => drop(site.post(&maps, map(&format!("extra{number:03}"), "extra")).await),
        }
    }
    let (live, plan) = site.plan(&wanted).await;
    assert_eq!(plan.actions.len(), OBJECTS);

    // From the last object to the first, so that some are written before the restore comes by and some after.
    let started = Arc::new(AtomicBool::new(false));
    let writer = {
        let (site, maps, started) = (Arc::clone(&site), maps.clone(), Arc::clone(&started));
        tokio::spawn(async move {
            let mut theirs: BTreeMap<String, Value> = BTreeMap::new();
            let mut deleted = BTreeSet::new();
            for number in (0..OBJECTS).rev() {
                let mine = if number % 3 == 2 { format!("extra{number:03}") } else { format!("m{number:03}") };
                let url = format!("{maps}/{mine}");
                let made = match (number % 3, number % 4) {
                    // Edited.
                    (0 | 2, 0 | 1) => merge(&site, &url, json!({"data": {"a": "theirs"}})).await,
                    // Deleted and made again.
                    (0 | 2, 2) => {
                        let _ = site.cluster.send(Method::DELETE, &url, None).await;
                        post(&site, &maps, map(&mine, "theirs")).await
                    }
                    // Made, where it was missing.
                    (1, 0..3) => post(&site, &maps, map(&mine, "theirs")).await,
                    // Deleted.
                    _ => {
                        let _ = site.cluster.send(Method::DELETE, &url, None).await;
                        deleted.insert(mine.clone());
                        None
                    }
                };
                if let Some(made) = made {
                    theirs.insert(mine, made);
                }
                started.store(true, Ordering::Relaxed);
            }
            (theirs, deleted)
        })
    };
    while !started.load(Ordering::Relaxed) {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    let applied = site.apply(&live, &plan, &wanted, &Silent).await.unwrap();
    let (theirs, deleted) = writer.await.unwrap();
    assert!(!theirs.is_empty());
    for (name, written) in &theirs {
        let now = site.get(&format!("{maps}/{name}")).await.unwrap_or_else(|| panic!("{name} is gone"));
        assert_eq!(now["data"], written["data"], "{name} was overwritten");
        assert_eq!(now["metadata"]["uid"], written["metadata"]["uid"], "{name}");
    }
    // Each of theirs that came first was reported; each that was not reported came after the restore had been there.
    let failures = failures(&applied);
    assert!(!failures.is_empty(), "the writer came too late to be in anybody's way");
    for (path, why) in &failures {
        let mut touched = theirs.keys().chain(&deleted);
        assert!(touched.any(|name| path.ends_with(&format!("/{name}.json"))), "{path}: {why}");
    }
    // Once nobody else writes, the rest is done.
    site.restore(&wanted, Wait::Skip).await;
}

async fn merge(site: &Site, url: &str, patch: Value) -> Option<Value> {
    let body = Some(serde_json::to_vec(&patch).unwrap());
    let answer = site.cluster.send_as(Method::PATCH, url, "application/merge-patch+json", body).await;
    answer.ok().map(|bytes| serde_json::from_slice(&bytes).unwrap())
}

async fn post(site: &Site, url: &str, object: Value) -> Option<Value> {
    let answer = site.cluster.send(Method::POST, url, Some(serde_json::to_vec(&object).unwrap())).await;
    answer.ok().map(|bytes| serde_json::from_slice(&bytes).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_controller_writes_meanwhile_is_no_conflict() {
    const SPACE: &str = "controllers";
    let site = Site::in_namespace(SPACE).await;
    let deployments = format!("/apis/apps/v1/namespaces/{SPACE}/deployments");
    let deployment = |name: &str, replicas: u32| {
        json!({"metadata": {"name": name, "annotations": {"deployment.kubernetes.io/revision": "1"}},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": "c:1"}]}}}})
    };
    for name in ["counted", "deleted", "edited", "finished"] {
        site.post(&deployments, deployment(name, 1)).await;
    }
    let wanted = site.snapshot().await;
    for name in ["counted", "edited", "finished"] {
        site.patch(&format!("{deployments}/{name}"), json!({"spec": {"replicas": 5}})).await;
    }
    for name in ["added", "added-too"] {
        site.post(&deployments, deployment(name, 1)).await;
    }
    let (live, plan) = site.plan(&wanted).await;
    // Between the plan and its writes: a status, a counter; and for one the field itself, as it is wanted.
    for name in ["counted", "added"] {
        site.patch(&format!("{deployments}/{name}/status"), json!({"status": {"observedGeneration": 7}})).await;
        let revision = json!({"metadata": {"annotations": {"deployment.kubernetes.io/revision": "2"}}});
        site.patch(&format!("{deployments}/{name}"), revision).await;
    }
    site.patch(&format!("{deployments}/finished"), json!({"spec": {"replicas": 1}})).await;
    // And what is nobody's but a person's.
    site.patch(&format!("{deployments}/edited"), json!({"spec": {"paused": true}})).await;
    site.patch(&format!("{deployments}/added-too"), json!({"spec": {"paused": true}})).await;

    let writes = site.our_writes().await.len();
    let applied = site.apply(&live, &plan, &wanted, &Silent).await.unwrap();
    let path = |name: &str| format!("cluster/apps/deployments/{SPACE}/{name}.json");
    let refused = "it was changed since it was planned: spec.paused".to_owned();
    assert_eq!(failures(&applied), [(path("added-too"), refused.clone()), (path("edited"), refused)].into());
    assert_eq!(applied.steps.iter().filter(|step| step.outcome == Outcome::Done).count(), 3);
    let counted = site.get(&format!("{deployments}/counted")).await.unwrap();
    assert_eq!(counted["spec"]["replicas"], 1);
    assert_eq!(counted["status"]["observedGeneration"], 7, "the status is the controller's");
    assert_eq!(counted["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "2");
    assert!(site.get(&format!("{deployments}/added")).await.is_none());
    let ours = site.our_writes().await.split_off(writes);
    assert!(!ours.iter().any(|(_, uri)| uri.ends_with("/status") && uri.contains(SPACE)), "{ours:?}");
}
