//! What waits for a finalizer that nobody takes off.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::json;
use snapback::progress::{Progress, ProgressEvent};
use snapback::restore::Wait;

use super::site::{Site, failures};
use crate::harness::control_plane::Options;

const MAP: &str = "cluster/core/configmaps/hung/held.json";
const NAMESPACE: &str = "cluster/core/namespaces/_/hung.json";

#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Progress for Notes {
    fn report(&self, event: ProgressEvent) {
        if let ProgressEvent::Note(text) = event {
            self.0.lock().unwrap().push(text);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_finalizer_is_named_at_once_and_not_waited_for_twice() {
    let mut site = Site::start(Options::default().controllers()).await;
    site.options.patience = Duration::from_secs(9);
    let wanted = site.snapshot().await;
    site.namespace("hung").await;
    let maps = "/api/v1/namespaces/hung/configmaps";
    site.post(maps, json!({"metadata": {"name": "held", "finalizers": ["db.example/hold"]}})).await;
    site.only(&["namespaces/hung", "cluster/*/*/hung/**"]);

    let (live, plan) = site.plan(&wanted).await;
    assert_eq!(plan.finalizers, BTreeMap::from([("db.example/hold".to_owned(), vec![MAP.to_owned()])]));
    let notes = Notes::default();
    let applied = site.apply(&live, &plan, &wanted, &notes).await.unwrap();
    let said = failures(&applied);
    assert_eq!(said[MAP], "it is still there after 9 s, held by db.example/hold");
    // Its namespace waits for the same, and that was in vain.
    assert!(said[NAMESPACE].starts_with("it is still there after 5 s, held by kubernetes"), "{}", said[NAMESPACE]);
    let waits = "configmaps hung/held waits for finalizer db.example/hold";
    assert!(said[NAMESPACE].ends_with(&format!("; in it {waits}")), "{}", said[NAMESPACE]);
    let notes = notes.0.into_inner().unwrap();
    assert!(notes.contains(&format!("being deleted: {waits}")), "{notes:?}");

    // So is it in another round.
    site.options.in_vain = applied.in_vain;
    let (live, plan) = site.plan(&wanted).await;
    let applied = site.apply(&live, &plan, &wanted, &snapback::progress::Silent).await.unwrap();
    let said = failures(&applied);
    assert!(said.values().all(|said| said.starts_with("it is still there after 5 s")), "{said:?}");

    site.patch(&format!("{maps}/held"), json!({"metadata": {"finalizers": null}})).await;
    site.until(async || site.get("/api/v1/namespaces/hung").await.is_none()).await;
    site.restore(&wanted, Wait::Skip).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_nobody_knows_what_is_not_waited_for_twice() {
    // Nobody empties a namespace here, as where one of its types cannot be read.
    let mut site = Site::start(Options::default()).await;
    site.options.patience = Duration::from_secs(7);
    let wanted = site.snapshot().await;
    site.post("/api/v1/namespaces", json!({"metadata": {"name": "hung"}})).await;
    site.only(&["namespaces/hung"]);
    for patience in [7, 5] {
        let (live, plan) = site.plan(&wanted).await;
        let applied = site.apply(&live, &plan, &wanted, &snapback::progress::Silent).await.unwrap();
        let said = failures(&applied);
        assert!(said[NAMESPACE].starts_with(&format!("it is still there after {patience} s")), "{said:?}");
        site.options.in_vain = applied.in_vain;
    }
}
