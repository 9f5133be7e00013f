//! The platform really fights, stops when it is scaled down, and hops to the next release as a real one does.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "an answer that is not as it must be fails the test")]

use std::path::Path;
use std::time::{Duration, Instant};

use rig::installer::Release;
use serde_json::{Value, json};

use super::control_plane::{ControlPlane, Options};
use super::fighting::{BOUND, text};

const INSTALLER: (&str, &str) = BOUND[0];
const HELM_CONTROLLER: (&str, &str) = BOUND[2];

/// Waits for what comes about by itself; fails when it never does.
fn eventually(what: &str, mut look: impl FnMut() -> bool) {
    let started = Instant::now();
    while !look() {
        assert!(started.elapsed() < Duration::from_secs(90), "never: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn log_level(cluster: &ControlPlane) -> String {
    let release = cluster.object("cozy-cilium", "helmrelease/cilium");
    text(&release, "/spec/values/logLevel").to_owned()
}

/// The number of Helm's newest release of cilium.
fn installed(cluster: &ControlPlane) -> Value {
    cluster.object("cozy-cilium", "helmrelease/cilium")["status"]["history"][0]["version"].clone()
}

#[test]
fn the_platform_undoes_every_edit_until_its_deployments_have_no_pods() {
    let cluster = ControlPlane::start(&Options::default().fighting());
    let (suspended, edited) = (r#"{"spec":{"suspend":true}}"#, r#"{"spec":{"values":{"logLevel":"trace"}}}"#);
    let pids: Vec<u32> = BOUND.iter().flat_map(|(_, name)| cluster.processes(name)).collect();
    assert_eq!(pids.len(), BOUND.len(), "one process for each Deployment");
    let at_rest = cluster.audit_log().iter().filter(|event| event.is_write() && is_installer(&event.user)).count();
    // The mark on the three HelmRepositories, and nothing else: the platform was as its installer wants it.
    assert_eq!(at_rest, 3);

    // Each of these comes from somebody else than the one who undoes it.
    cluster.patch("cozy-cilium", "helmrelease/cilium", suspended);
    eventually("the release is unsuspended", || {
        cluster.object("cozy-cilium", "helmrelease/cilium").pointer("/spec/suspend").is_none()
    });
    cluster.patch("cozy-cilium", "helmrelease/cilium", edited);
    eventually("the release's values are put back", || log_level(&cluster) == "info");
    cluster.patch("", "namespace/cozy-metallb", r#"{"metadata":{"labels":{"cozystack.io/system":null}}}"#);
    eventually("the namespace is labelled again", || {
        text(&cluster.object("", "namespace/cozy-metallb"), "/metadata/labels/cozystack.io~1system") == "true"
    });
    eventually("Flux has followed", || installed(&cluster).as_u64() >= Some(1) && is_settled(&cluster));

    // Without the installer an edit stays, and Flux acts on it.
    cluster.scale(INSTALLER, 0);
    assert!(cluster.processes(INSTALLER.1).is_empty(), "its pod went, so its process is gone");
    let before = installed(&cluster);
    cluster.patch("cozy-cilium", "helmrelease/cilium", edited);
    eventually("Flux installs what was edited", || installed(&cluster) != before && is_settled(&cluster));
    assert_eq!(log_level(&cluster), "trace");

    // Without Flux too, nothing happens at all.
    cluster.scale(HELM_CONTROLLER, 0);
    assert!(cluster.processes(HELM_CONTROLLER.1).is_empty());
    let kept = installed(&cluster);
    cluster.patch("cozy-cilium", "helmrelease/cilium", r#"{"spec":{"values":{"logLevel":"error"}}}"#);
    let release = cluster.object("cozy-cilium", "helmrelease/cilium");
    assert_ne!(release["metadata"]["generation"], release["status"]["observedGeneration"]);

    // Both come back, and with them what they want.
    cluster.scale(HELM_CONTROLLER, 1);
    eventually("Flux acts again", || installed(&cluster) != kept);
    cluster.scale(INSTALLER, 1);
    eventually("the installer acts again", || log_level(&cluster) == "info");

    // A killed process is started again, and a deleted pod is replaced.
    let killed = cluster.processes(INSTALLER.1);
    kill(killed[0]);
    eventually("it is started again", || {
        let now = cluster.processes(INSTALLER.1);
        now.len() == 1 && now != killed
    });

    let everything: Vec<u32> =
        BOUND.iter().map(|(_, name)| *name).chain(["kubelet"]).flat_map(|name| cluster.processes(name)).collect();
    assert_eq!(everything.len(), BOUND.len() + 1);
    kill(cluster.supervisor_pid());
    eventually("all ended with the control plane", || {
        everything.iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists())
    });
}

fn is_installer(user: &str) -> bool {
    user == "system:serviceaccount:cozy-system:cozystack"
}

/// The release of cilium is observed and nothing is under way.
fn is_settled(cluster: &ControlPlane) -> bool {
    let release = cluster.object("cozy-cilium", "helmrelease/cilium");
    let conditions = release["status"]["conditions"].as_array().cloned().unwrap_or_default();
    release["metadata"]["generation"] == release["status"]["observedGeneration"]
        && conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
        && conditions.iter().all(|condition| condition["type"] != "Reconciling")
}

fn kill(pid: u32) {
    let killed = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
    assert!(killed.success());
}

#[test]
fn a_hop_changes_what_a_real_one_changes_and_there_is_no_way_back_by_the_old_installer() {
    let cluster = ControlPlane::start(&Options::default().fighting());
    let uid = |namespace: &str, resource: &str| text(&cluster.object(namespace, resource), "/metadata/uid").to_owned();
    let crd = |name: &str| cluster.object("", &format!("crd/{name}"));
    let recreated = [
        ("cozy-system", "helmrelease/cozystack-api"),
        ("cozy-system", "helmrelease/cozystack-controller"),
        ("cozy-dashboard", "helmrelease/dashboard"),
        ("", "crd/cozystackresourcedefinitions.cozystack.io"),
        ("", "crd/workloads.cozystack.io"),
        ("", "crd/workloadmonitors.cozystack.io"),
    ];
    let before = recreated.map(|(namespace, resource)| uid(namespace, resource));
    assert!(before.iter().all(|uid| !uid.is_empty()));
    assert_eq!(crd("cozystackresourcedefinitions.cozystack.io")["spec"]["scope"], "Namespaced");
    assert_eq!(crd("plans.backups.cozystack.io")["status"]["storedVersions"], json!(["v1alpha1"]));
    assert!(!cluster.list("workloadmonitors.cozystack.io").is_empty());

    cluster.upgrade_to("0.37.2");

    for ((namespace, resource), before) in recreated.iter().zip(&before) {
        assert_ne!(&uid(namespace, resource), before, "{resource} is another one");
    }
    assert_eq!(crd("cozystackresourcedefinitions.cozystack.io")["spec"]["scope"], "Cluster");
    assert_eq!(cluster.list("cozystackresourcedefinitions.cozystack.io").len(), 4);
    assert!(cluster.list("workloadmonitors.cozystack.io").is_empty(), "they went with their CRD");
    assert!(!crd("breadcrumbs.dashboard.cozystack.io").is_null());
    assert_eq!(crd("plans.backups.cozystack.io")["status"]["storedVersions"], json!(["v1alpha1", "v1"]));
    let plans = cluster.list("plans.backups.cozystack.io");
    let rewritten = plans.iter().filter(|plan| plan["spec"].get("retention").is_some()).count();
    assert!(0 < rewritten && rewritten < plans.len(), "{rewritten} of {}", plans.len());

    let secrets = cluster.list("secrets");
    let named = |name: &str| secrets.iter().find(|secret| text(secret, "/metadata/name") == name);
    assert!(named("sh.helm.release.v1.cilium.v2").is_some() && named("sh.helm.release.v1.cilium.v1").is_some());
    assert!(named("sh.helm.release.v1.cozystack-api.v1").is_some(), "installed anew");
    assert!(named("sh.helm.release.v1.cozystack-api.v2").is_none());
    // Those of Helm lose the mark when their release is superseded.
    for secret in secrets.iter().filter(|secret| secret["type"] != "helm.sh/release.v1") {
        let marked = secret["metadata"]["annotations"].get("migration.cozystack.io").is_some();
        let of_tenant = text(secret, "/metadata/namespace").starts_with("tenant-");
        assert_eq!(marked, of_tenant, "{}", secret["metadata"]["name"]);
    }
    let pinned = cluster.object("tenant-root", "helmrelease/tenant-foo");
    assert_eq!(text(&pinned, "/spec/chart/spec/version"), ">= 0.0.0-0", "the user's pin is lost");

    // The older installer finds a counter that it has no migration for, and ends before it applies anything.
    cluster.apply_installer(Release::V0_36_2);
    let log = cluster.folder().join("logs/cozystack.log");
    eventually("the older installer fails", || {
        std::fs::read_to_string(&log).unwrap_or_default().contains("scripts/migrations/21 is not in release 0.36.2")
    });
    assert_eq!(text(&cluster.object("cozy-system", "configmap/cozystack-version"), "/data/version"), "21");
}
