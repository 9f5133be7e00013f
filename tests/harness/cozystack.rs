//! The small CozyStack: what tests and benchmarks stand on is what it should be, and the same every time.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "an answer that is not as it must be fails the test")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rig::flux::HELM_CONTROLLER;
use rig::seed::crds;
use rig::toolchain::Toolchain;
use serde_json::{Value, json};

use super::control_plane::{ControlPlane, Options, rig_command};
use super::snapback::Snapback;

const TEMPLATE: &str = "cozystack-500";
/// What helm-controller logs when it finds nothing to do.
const IN_SYNC: &str = "release in-sync with desired state";

/// Every object of these types (comma-separated), from all namespaces.
fn objects(control_plane: &ControlPlane, types: &str) -> Vec<Value> {
    let text = control_plane.kubectl(&["get", types, "-A", "-o", "json", "--show-managed-fields"]);
    serde_json::from_str::<Value>(&text).unwrap()["items"].as_array().unwrap().clone()
}

/// Every type that can be listed, without those that controllers write all the time.
fn listable_types(control_plane: &ControlPlane) -> String {
    let text = control_plane.kubectl(&["api-resources", "--verbs=list", "-o", "name"]);
    let quiet = |name: &&str| {
        !name.starts_with("events") && !name.starts_with("leases.") && !name.starts_with("componentstatuses")
    };
    text.lines().filter(quiet).collect::<Vec<_>>().join(",")
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn key(object: &Value) -> String {
    let at = |pointer| text(object, pointer);
    format!("{}/{}/{}/{}", at("/apiVersion"), at("/kind"), at("/metadata/namespace"), at("/metadata/name"))
}

#[test]
fn at_least_a_hundred_crds_are_real_and_copies_make_two_hundred_types() {
    let real = crds::load(Toolchain::find().unwrap().folder()).unwrap();
    assert!(real.len() >= 100, "{} real CRDs", real.len());
    let many = crds::many(&real, 200);
    let names: std::collections::BTreeSet<String> = many.iter().map(crds::Crd::name).collect();
    assert_eq!(names.len(), 200, "every type has a name of its own");
    assert!(real.iter().all(|crd| names.contains(&crd.name())), "the real ones are all there");
}

#[test]
fn the_template_is_a_small_cozystack_at_rest() {
    let control_plane = ControlPlane::start(&Options::default().template(TEMPLATE));

    let all = objects(&control_plane, &listable_types(&control_plane));
    assert!(all.len() >= 500, "{} objects", all.len());
    let of_kind = |kind: &str| all.iter().filter(|object| text(object, "/kind") == kind).collect::<Vec<_>>();
    assert!(of_kind("CustomResourceDefinition").len() >= 40);
    assert!(of_kind("PersistentVolumeClaim").iter().all(|claim| text(claim, "/status/phase") == "Bound"));

    let platform = control_plane.kubectl(&["get", "configmap", "-n", "cozy-system", "cozystack", "-o", "json"]);
    let platform: Value = serde_json::from_str(&platform).unwrap();
    assert_eq!(text(&platform, "/data/bundle-name"), "paas-full");

    let releases = of_kind("HelmRelease");
    assert!(releases.len() >= 10, "{} HelmReleases", releases.len());
    for release in &releases {
        let ready =
            release["status"]["conditions"].as_array().unwrap().iter().find(|one| one["type"] == "Ready").unwrap();
        assert_eq!(ready["status"], "True", "{}", key(release));
        let history = &release["status"]["history"][0];
        assert_eq!(history["status"], "deployed", "{}", key(release));
        let payload = format!("sh.helm.release.v1.{}.v{}", text(history, "/name"), history["version"]);
        let stored = of_kind("Secret").into_iter().find(|secret| text(secret, "/metadata/name") == payload);
        assert_eq!(stored.map(|secret| text(secret, "/type")), Some("helm.sh/release.v1"), "{}", key(release));
    }
}

#[test]
fn its_objects_have_owners_statuses_and_several_field_managers() {
    let control_plane = ControlPlane::start(&Options::default().template(TEMPLATE));
    let all = objects(&control_plane, &listable_types(&control_plane));

    let by_uid: BTreeMap<&str, &Value> = all.iter().map(|object| (text(object, "/metadata/uid"), object)).collect();
    let owned = all.iter().filter(|object| text(object, "/kind") == "ConfigMap").filter_map(|object| {
        let owner = by_uid.get(object.pointer("/metadata/ownerReferences/0/uid")?.as_str()?)?;
        Some((object, *owner))
    });
    let owned: Vec<_> = owned.collect();
    assert!(owned.len() >= 5, "{} ConfigMaps are owned", owned.len());
    for (object, owner) in owned {
        assert!(text(owner, "/apiVersion").contains('.'), "{} is owned by a custom resource", key(object));
        assert_eq!(text(owner, "/metadata/namespace"), text(object, "/metadata/namespace"));
    }

    let managers = |object: &Value| {
        let fields = object.pointer("/metadata/managedFields").and_then(Value::as_array).cloned().unwrap_or_default();
        fields.iter().map(|entry| text(entry, "/manager").to_owned()).collect::<std::collections::BTreeSet<_>>().len()
    };
    let custom = |object: &&Value| {
        text(object, "/metadata/labels/app.kubernetes.io~1part-of") == "cozystack"
            && text(object, "/apiVersion").contains(".io/")
    };
    let with_status =
        all.iter().filter(custom).filter(|object| object.get("status").is_some_and(|status| status != &Value::Null));
    assert!(with_status.count() >= 50);
    assert!(all.iter().filter(custom).any(|object| managers(object) >= 3));
}

#[test]
fn helm_controller_finds_nothing_to_do_after_a_restart_and_acts_on_an_edit() {
    let options = Options::default().template(TEMPLATE).controllers().argument("--flux");
    let control_plane = ControlPlane::start(&options);
    let releases = objects(&control_plane, "helmreleases").len();
    wait_until_in_sync(&control_plane, releases);

    control_plane.stop_server(HELM_CONTROLLER);
    let before = state_of_releases(&control_plane);
    control_plane.start_server(HELM_CONTROLLER);
    wait_until_in_sync(&control_plane, releases);
    assert_eq!(state_of_releases(&control_plane), before);

    // The same look finds a change that is really there.
    control_plane.stop_server(HELM_CONTROLLER);
    let patch = "{\"spec\":{\"values\":{\"logLevel\":\"trace\"}}}";
    control_plane.kubectl(&["patch", "helmrelease", "-n", "cozy-cilium", "cilium", "--type=merge", "-p", patch]);
    control_plane.start_server(HELM_CONTROLLER);
    wait_for_release(&control_plane, 2);
    assert_ne!(state_of_releases(&control_plane), before);
    let rendered =
        control_plane.kubectl(&["get", "configmap", "-n", "cozy-cilium", "cilium-configuration", "-o", "json"]);
    assert!(rendered.contains("logLevel: trace"));

    // A version that no repository has is said in Flux's own words, and the release stays as it was.
    let patch = r#"{"spec":{"chart":{"spec":{"version":"9.9.9"}}}}"#;
    control_plane.kubectl(&["patch", "helmrelease", "-n", "tenant-root", "tenant-foo", "--type=merge", "-p", patch]);
    let reason = r#"--for=jsonpath={.status.conditions[?(@.type=="Ready")].reason}=InvalidChartReference"#;
    let chart = "helmchart/tenant-root-tenant-foo";
    control_plane.kubectl(&["wait", "-n", "cozy-public", chart, "--timeout=60s", reason]);
    let secrets = control_plane.kubectl(&["get", "secrets", "-n", "tenant-root", "-o", "name"]);
    assert!(secrets.contains("sh.helm.release.v1.tenant-foo.v1") && !secrets.contains("tenant-foo.v2"), "{secrets}");
}

#[test]
fn helm_controller_finds_nothing_to_do_after_an_upgrade_was_rolled_back() {
    let options = Options::default().template(TEMPLATE).controllers().argument("--flux");
    let control_plane = ControlPlane::start(&options);
    let releases = objects(&control_plane, "helmreleases").len();
    wait_until_in_sync(&control_plane, releases);
    let snapback = Snapback::new().with_kubeconfig(&control_plane.kubeconfig());
    snapback.ok(&["init"]);
    snapback.ok(&["backup"]);

    // A real upgrade: new values, a second release, its payload, another Deployment and ConfigMap.
    let patch = r#"{"spec":{"values":{"logLevel":"trace"}}}"#;
    control_plane.kubectl(&["patch", "helmrelease", "-n", "cozy-cilium", "cilium", "--type=merge", "-p", patch]);
    wait_for_release(&control_plane, 2);
    control_plane.stop_server(HELM_CONTROLLER);
    control_plane.kubectl(&["delete", "configmap", "-n", "cozy-kubeovn", "kubeovn-configuration"]);

    a_part_of_a_release_is_refused(&snapback);
    // No owner was recreated, so nothing is waited for.
    let restored = snapback.ok(&["restore", "latest", "--yes", "--no-wait"]);
    assert!(!restored.all().contains("helm-controller"), "{}", restored.all());
    control_plane.start_server(HELM_CONTROLLER);
    wait_until_in_sync(&control_plane, releases);
    let payloads = control_plane.kubectl(&["get", "secrets", "-n", "cozy-cilium", "-o", "name"]);
    assert!(payloads.contains("release.v1.cilium.v1") && !payloads.contains("release.v1.cilium.v2"), "{payloads}");
    wait_for_release(&control_plane, 1);
}

/// The HelmRelease without what Helm stored of it: helm-controller would take the newer stored release for another's.
fn a_part_of_a_release_is_refused(snapback: &Snapback) {
    let part = ["restore", "latest", "--no-wait", "--only", "helmreleases.helm.toolkit.fluxcd.io/cozy-cilium/cilium"];
    let with = |more: &[&'static str]| [&part[..], more].concat();
    let finding = "helm-controller would upgrade cozy-cilium/cilium, which is unmanaged: its status tells of release 1, \
                   the newest stored one is 2";
    let dry = snapback.ok(&with(&["--dry-run"]));
    assert!(dry.stdout.contains(&format!("\n  ! {finding}\n")), "{}", dry.all());
    assert!(dry.stderr.contains("warning: helm-controller would not leave all releases alone"), "{}", dry.all());
    let release = "cozy-cilium/cilium";
    let verdict = json!([{"release": release, "inSnapshot": "in-sync", "now": "in-sync", "after": "unmanaged",
        "text": finding.split_once("which is ").unwrap().1, "then": "upgrade", "refused": true}]);
    assert_eq!(snapback.json(&with(&["--dry-run"]))["helm"], verdict);

    let refused = snapback.run(&with(&["--yes"]));
    assert_eq!(refused.code, 4, "{}", refused.all());
    let said = |text: &str| assert!(refused.stderr.contains(text), "{text}: {}", refused.all());
    said("error: after this restore helm-controller would not leave 1 release alone; nothing was changed\n");
    said(&format!("caused by: {finding}\n"));
    said("hint: a HelmRelease, its HelmChart and its secrets `sh.helm.release.v1.*` are of one moment");
    said("cozy-cilium/cilium --allow-helm-upgrade` restores it so\n");
    assert_eq!(snapback.json(&["snapshots"])["snapshots"].as_array().unwrap().len(), 1, "nothing was changed");
    let allowed = snapback.ok(&with(&["--yes", "--allow-helm-upgrade"]));
    assert!(allowed.stdout.contains(finding), "{}", allowed.all());
}

/// Waits until the newest release of cilium has this number.
fn wait_for_release(control_plane: &ControlPlane, number: u32) {
    let version = format!("--for=jsonpath={{.status.history[0].version}}={number}");
    control_plane.kubectl(&["wait", "-n", "cozy-cilium", "helmrelease/cilium", "--timeout=60s", &version]);
}

/// Waits until helm-controller, since its latest start, has looked at every release and found it in sync.
fn wait_until_in_sync(control_plane: &ControlPlane, releases: usize) {
    let log = control_plane.folder().join("logs").join(format!("{HELM_CONTROLLER}.log"));
    let started = Instant::now();
    loop {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let since_start = text.rsplit_once("starting manager").map(|(_, since)| since.to_owned()).unwrap_or_default();
        let names: std::collections::BTreeSet<String> = since_start
            .lines()
            .filter(|line| line.contains(IN_SYNC))
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .map(|line| format!("{}/{}", text_of(&line, "namespace"), text_of(&line, "name")))
            .collect();
        if names.len() >= releases {
            return;
        }
        assert!(
            started.elapsed() < Duration::from_secs(90),
            "only {names:?} of {releases} are in sync:\n{since_start}"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn text_of(line: &Value, field: &str) -> String {
    line.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// What a release consists of: the HelmReleases without the marks of the last look at them, the rest to the byte.
fn state_of_releases(control_plane: &ControlPlane) -> BTreeMap<String, Value> {
    let mut state = BTreeMap::new();
    for mut object in
        objects(control_plane, "helmreleases,helmcharts,secrets,configmaps,serviceaccounts,services,roles,deployments")
    {
        if text(&object, "/kind") == "HelmRelease" {
            let metadata = object["metadata"].as_object_mut().unwrap();
            metadata.remove("resourceVersion");
            metadata.remove("managedFields");
            // It stays when the controller is stopped in the middle of a look.
            let conditions = object["status"]["conditions"].as_array_mut().unwrap();
            conditions.retain(|condition| condition["type"] != "Reconciling");
        }
        state.insert(key(&object), object);
    }
    state
}

#[test]
fn the_same_seed_number_seeds_the_same_objects() {
    let seeded = |number: &str| {
        let control_plane = ControlPlane::start(&Options::default());
        let output = rig_command()
            .arg("seed")
            .arg(control_plane.folder())
            .args(["--size=300", "--output=json", "--seed", number])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(report["refused_types"].as_array().unwrap().len() <= 4, "{report}");
        let all = objects(&control_plane, &listable_types(&control_plane));
        // The control plane's own: addresses and certificates.
        let own = |object: &Value| {
            let namespace = text(object, "/metadata/namespace");
            ["default", "kube-system"].contains(&namespace) || text(object, "/kind") == "IPAddress"
        };
        all.into_iter()
            .filter(|object| !own(object))
            .map(|object| (key(&object), without_the_servers_part(object)))
            .collect::<BTreeMap<String, Value>>()
    };
    let (one, again) = (seeded("7"), seeded("7"));
    let differing: Vec<&String> =
        one.iter().filter(|(key, object)| again.get(*key) != Some(object)).map(|(key, _)| key).collect();
    assert!(differing.is_empty(), "{differing:?}");
    assert_eq!(one.len(), again.len());
}

/// An object without what the API server decides by itself.
fn without_the_servers_part(mut object: Value) -> Value {
    let kind = text(&object, "/kind").to_owned();
    let metadata = object["metadata"].as_object_mut().unwrap();
    for field in ["uid", "resourceVersion", "creationTimestamp", "managedFields"] {
        metadata.remove(field);
    }
    if let Some(owners) = metadata.get_mut("ownerReferences").and_then(Value::as_array_mut) {
        for owner in owners {
            owner.as_object_mut().unwrap().remove("uid");
        }
    }
    match kind.as_str() {
        // Addresses and ports are drawn by the API server.
        "Service" => {
            let spec = object["spec"].as_object_mut().unwrap();
            spec.retain(|field, _| !["clusterIP", "clusterIPs", "ports"].contains(&field.as_str()));
        }
        // Both name the Job's uid.
        "Job" => {
            object["spec"].as_object_mut().unwrap().remove("selector");
            object["spec"]["template"]["metadata"].as_object_mut().unwrap().remove("labels");
        }
        // Their status has the time of its last change.
        "PersistentVolume"
        | "APIService"
        | "FlowSchema"
        | "PriorityLevelConfiguration"
        | "ServiceCIDR"
        | "CustomResourceDefinition" => {
            object.as_object_mut().unwrap().remove("status");
        }
        _ => {}
    }
    object
}
