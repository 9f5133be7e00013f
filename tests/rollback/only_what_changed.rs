//! A rollback writes what changed and nothing else, and ends in exactly what was: the API server's audit log is the
//! witness. What is edited, added and deleted is drawn by a seed number (`SNAPBACK_SEED`, else 1) from every type of the
//! small CozyStack; `SNAPBACK_SOAK=1` does it with 12,000 objects. How long that takes is for `scripts/bench` to say.

use std::collections::{BTreeMap, BTreeSet};

use rig::audited::{Write, writes};
use rig::disturb::{DisturbOptions, disturb};
use serde_json::{Value, json};

use crate::harness::control_plane::{ControlPlane, Options};
use crate::harness::sample::{first_seed, soak};
use crate::harness::snapback::Snapback;

/// A template and how much of it is edited, added and deleted: in CI and in a soak.
const SAMPLE: (&str, usize, usize, usize) = ("cozystack-500", 25, 3, 3);
const SOAK: (&str, usize, usize, usize) = ("cozystack-12000", 600, 50, 50);

/// No helm-controller runs here, and an edited HelmRelease is out of step with what Helm stored of it.
const ALLOW: &str = "--allow-helm-upgrade";

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_writes_what_changed_and_nothing_else() {
    let seed = first_seed();
    let (template, changed, extra, missing) = if soak() { SOAK } else { SAMPLE };
    let options = Options::default().template(template).controllers();
    let cluster = tokio::task::spawn_blocking(move || ControlPlane::start(&options)).await.unwrap();
    let snapback = Snapback::new().with_kubeconfig(&cluster.kubeconfig());
    snapback.ok(&["init"]);
    snapback.ok(&["backup", "--label", "pre-upgrade"]);
    let options = DisturbOptions { seed, changed, extra, missing };
    let disturbed = disturb(cluster.client().await, options).await.unwrap();
    assert_eq!(
        (disturbed.changed.len(), disturbed.extra.len(), disturbed.missing.len()),
        (changed, extra, missing),
        "{disturbed:#?}"
    );
    // They are there to be seen, each as what it is.
    let shown = differences(&snapback);
    for (paths, what) in [(&disturbed.changed, "changed"), (&disturbed.extra, "added"), (&disturbed.missing, "removed")]
    {
        for path in paths {
            assert_eq!(shown.get(path).map(String::as_str), Some(what), "seed {seed}: {path}");
        }
    }

    let done = snapback.json(&["rollback", "1", "--scope", "everything", "--yes", "--no-wait", ALLOW]);
    assert_eq!(done["outcome"], json!({"done": {}}), "seed {seed}: {done:#}");
    assert_eq!(done["proof"]["holds"], true, "seed {seed}: {done:#}");
    assert_eq!(done["proof"]["report"]["unexplained"], json!([]), "seed {seed}: {done:#}");

    let written = written(&cluster);
    let held = ["heldStill", "setAside"].into_iter().flat_map(|list| done[list].as_array().unwrap());
    let held: BTreeSet<String> = held.map(|hold| held_path(hold["item"].as_str().unwrap())).collect();
    assert!(!held.is_empty(), "the small CozyStack has an installer, Flux and Cluster API: {done:#}");
    let lease = "cluster/coordination.k8s.io/leases/kube-system/snapback.json".to_owned();
    let expected: BTreeSet<String> = disturbed.all().into_iter().chain(held).chain([lease]).collect();
    let paths: BTreeSet<String> = written.keys().cloned().collect();
    let unlike: Vec<&String> = paths.symmetric_difference(&expected).collect();
    assert_eq!(unlike, Vec::<&String>::new(), "seed {seed}: written and not expected, or the other way round");
    for (path, verbs) in &written {
        if disturbed.extra.contains(path) {
            assert_eq!(verbs, &["delete"], "seed {seed}: {path}");
        } else if disturbed.changed.contains(path) {
            assert!(verbs.iter().all(|verb| verb == "update"), "seed {seed}: {path} {verbs:?}");
        } else if disturbed.missing.contains(path) {
            assert_eq!(verbs.iter().filter(|verb| *verb == "create").count(), 1, "seed {seed}: {path} {verbs:?}");
            assert!(!verbs.iter().any(|verb| verb == "delete"), "seed {seed}: {path} {verbs:?}");
        }
    }

    // Nothing is left of it but what controllers made of pods that were let go of, which `diff` only counts.
    assert_eq!(differences(&snapback), BTreeMap::new(), "seed {seed}");
    let again = snapback.json(&["restore", "1", "--dry-run"]);
    assert_eq!(again["plan"]["actions"], json!([]), "seed {seed}: {again:#}");
}

/// Paths that `diff` shows against the cluster, each with how it differs.
fn differences(snapback: &Snapback) -> BTreeMap<String, String> {
    let diff = snapback.json(&["diff", "1", "live"]);
    let text = |change: &Value, field: &str| change[field].as_str().unwrap().to_owned();
    let changes = diff["changes"].as_array().unwrap();
    changes.iter().map(|change| (text(change, "path"), text(change, "change"))).collect()
}

/// What snapback wrote, by path: the verbs in their order.
fn written(cluster: &ControlPlane) -> BTreeMap<String, Vec<String>> {
    // Waits until the log is whole.
    drop(cluster.audit_log());
    let log = std::fs::read_to_string(cluster.folder().join("audit.log")).unwrap();
    let mut written: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for Write { path, verb, .. } in writes(&log, "snapback").unwrap() {
        written.entry(path).or_default().push(verb);
    }
    written
}

/// The path of what a plan says is held still, such as `deployment cozy-system/cozystack`.
fn held_path(item: &str) -> String {
    let (kind, place) = item.split_once(' ').unwrap();
    let types = match kind {
        "deployment" => "apps/deployments",
        "statefulset" => "apps/statefulsets",
        "cluster" => "cluster.x-k8s.io/clusters",
        "mutatingwebhookconfiguration" | "validatingwebhookconfiguration" => {
            return format!("cluster/admissionregistration.k8s.io/{kind}s/_/{place}.json");
        }
        "apiservice" => return format!("cluster/apiregistration.k8s.io/apiservices/_/{place}.json"),
        other => panic!("a held {other}"),
    };
    format!("cluster/{types}/{place}.json")
}
