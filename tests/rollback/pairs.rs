//! Random pairs of states A and B: from A to B and back again ends in A, and then in B once more (I6, I7).
//!
//! B is the small CozyStack, A what random accidents make of it, with the real controllers running. The proofs that the
//! command itself makes are checked by a comparison of its own: both captures with nothing left out but what a cluster
//! counts or gives out by itself. `SNAPBACK_SOAK=1` runs 200 pairs, else two; `SNAPBACK_SEED` starts from another one.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::TryStreamExt as _;
use serde_json::{Value, json};
use snapback::snapshot::ObjectPath;

use crate::harness::control_plane::Options;
use crate::harness::sample::seeds;
use crate::harness::snapback::Snapback;
use crate::restore::accidents::{Chance, Stock, furnish, is_of_requests, is_request, mutate};
use crate::restore::site::Site;

/// Pairs in CI and in a soak.
const SAMPLE: (u64, u64) = (2, 200);
/// Types whose objects a controller or kubelet makes, and Jobs, which would run again: never restored.
const NEVER_RESTORED: [&str; 10] = [
    "jobs",
    "pods",
    "replicasets",
    "controllerrevisions",
    "events",
    "leases",
    "endpoints",
    "endpointslices",
    "nodes",
    "apiservices",
];

/// No helm-controller runs here, and accidents leave releases that it would act on.
const ALLOW: &str = "--allow-helm-upgrade";

#[tokio::test(flavor = "multi_thread")]
async fn there_and_back_again_is_where_it_began() {
    let site = Site::start(Options::default().template("cozystack-500").controllers()).await;
    furnish(&site).await;
    let stock = Stock::read(&site.snapshot().await).await;
    stock.without_finalizers(&site).await;
    let snapback = Snapback::new().with_kubeconfig(&site.control_plane().kubeconfig());
    snapback.ok(&["init"]);
    let b = settled(&site).await;
    snapback.ok(&["backup", "--label", "b"]);
    for seed in seeds(SAMPLE) {
        let mut chance = Chance::new(seed);
        let mut story = Vec::new();
        for _ in 0..=chance.below(12) {
            story.push(mutate(&site, &stock, &mut chance).await);
        }
        let a = settled(&site).await;
        let run = |arguments: &[&str]| {
            let run = snapback.run(arguments);
            assert_eq!(run.code, 0, "seed {seed}: {story:#?}\nsnapback {arguments:?}\n{}", run.all());
            run
        };
        // Both ways of going there, with everything running and with the platform held still.
        let there = if seed % 2 == 1 {
            run(&["restore", "b", "--yes", "--no-wait", ALLOW])
        } else {
            run(&["rollback", "b", "--scope", "everything", "--yes", "--no-wait", ALLOW])
        };
        let nothing = there.stdout.contains("nothing to do");
        assert_eq!(differences(&settled(&site).await, &b), NONE, "seed {seed}: {story:#?}\n{}", there.all());
        // A second time there is nothing left of it.
        let again = snapback.json(&["restore", "b", "--dry-run"]);
        assert_eq!(again["plan"]["actions"], json!([]), "seed {seed}: {story:#?}");
        if nothing {
            assert_eq!(differences(&a, &b), NONE, "seed {seed}: {story:#?}");
            continue;
        }
        let back = run(&["undo", "--yes", "--no-wait", ALLOW]);
        assert_eq!(differences(&settled(&site).await, &a), NONE, "seed {seed}: {story:#?}\n{}", back.all());
        let redone = run(&["undo", "--yes", "--no-wait", ALLOW]);
        assert_eq!(differences(&settled(&site).await, &b), NONE, "seed {seed}: {story:#?}\n{}", redone.all());
        eprintln!("seed {seed}: {} mutations", story.len());
    }
}

/// What somebody wanted, by path, once nothing moves by itself any more.
async fn settled(site: &Site) -> BTreeMap<String, Value> {
    let started = Instant::now();
    let mut before = wishes(site).await;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = wishes(site).await;
        let ending = |object: &Value| object["metadata"].get("deletionTimestamp").is_some();
        if now == before && !now.values().any(ending) {
            return now;
        }
        assert!(started.elapsed() < Duration::from_secs(120), "the cluster never settles");
        before = now;
    }
}

/// Every object that somebody wanted, without what the cluster counts or gives out by itself.
async fn wishes(site: &Site) -> BTreeMap<String, Value> {
    let tree = site.snapshot().await;
    let mut wishes = BTreeMap::new();
    for (path, entry) in tree.walk("cluster").try_collect::<Vec<_>>().await.unwrap() {
        let Some(place) = ObjectPath::parse(&path) else { continue };
        let never = NEVER_RESTORED.contains(&place.resource.as_str()) || is_request(&place);
        if never || place.name == "kube-root-ca.crt" {
            continue;
        }
        let mut object: Value = serde_json::from_slice(&tree.blob(&entry.hash).await.unwrap()).unwrap();
        // The plan says of it that its owners are never brought back.
        if is_of_requests(&object) {
            continue;
        }
        strip(&mut object);
        for given in ["creationTimestamp", "generation", "managedFields"] {
            object["metadata"].as_object_mut().unwrap().remove(given);
        }
        // The controllers of built-in types run here and report what is; those of custom ones do not. A Cluster's is
        // built anew by Cluster API, and not restored.
        let built_in = !place.group.contains('.') || place.group.ends_with(".k8s.io");
        if built_in || place.group == "cluster.x-k8s.io" {
            object.as_object_mut().unwrap().remove("status");
        }
        wishes.insert(path, object);
    }
    wishes
}

const NONE: Vec<String> = Vec::new();

/// What is not the same, each with both sides.
fn differences(now: &BTreeMap<String, Value>, wanted: &BTreeMap<String, Value>) -> Vec<String> {
    let paths: std::collections::BTreeSet<&String> = now.keys().chain(wanted.keys()).collect();
    let differing = paths.into_iter().filter(|path| now.get(*path) != wanted.get(*path));
    differing.map(|path| format!("{path}\n  now    {:?}\n  wanted {:?}", now.get(path), wanted.get(path))).collect()
}

/// UIDs and resourceVersions, wherever they stand.
fn strip(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| name != "uid" && name != "resourceVersion");
            fields.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}
