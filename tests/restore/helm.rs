//! What helm-controller will make of a plan is said beforehand, and then the real helm-controller is asked.
//!
//! One small CozyStack: every HelmRelease that the real controller has brought to rest is judged in sync, those with
//! values of every kind from every place too. Then an upgrade, and a way back that leaves out something else for each
//! release. The verdicts hold for what is there after it, and for what the controller says and does when it starts again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rig::flux::HELM_CONTROLLER;
use serde_json::{Value, json};
use snapback::progress::Silent;
use snapback::restore::helm::{Differs, State, Strange, Unknown, judge_plan, judge_snapshot};

use super::site::Site;
use crate::harness::control_plane::Options;

const RELEASES: &str = "/apis/helm.toolkit.fluxcd.io/v2/helmreleases";
const LAB: &str = "/apis/helm.toolkit.fluxcd.io/v2/namespaces/helm-lab/helmreleases";

/// Releases by what the way back leaves out: the newest stored release, the HelmRelease's own part, the older stored
/// release as it was, and the ConfigMap that values come from. The last has, with the namespace before it, a name too
/// long for Helm.
const NEWER_LEFT: &str = "cozy-metallb/metallb";
const STATUS_LEFT: &str = "cozy-etcd-operator/etcd-operator";
const STORED_LEFT: &str = "cozy-postgres-operator/postgres-operator";
const VALUES_LEFT: &str = "helm-lab/awkward-with-a-name-that-is-longer-than-helm-takes";
/// Nothing is left out of these: one with post-renderers and another storage, one of an OCI artifact, and one that was
/// deleted with its chart.
const NOTHING_LEFT: [&str; 2] = ["helm-lab/rendered", "helm-lab/oci"];
const MADE_ANEW: &str = "cozy-system/cozystack-api";
/// Those that the way back does not touch: the first hangs in an upgrade, of the second nothing stored is left.
const HANGING: &str = "cozy-cert-manager/cert-manager-issuers";
const UNINSTALLED: &str = "tenant-root/tenant-foo";
const SUSPENDED: &str = "cozy-kubeovn/kubeovn";

#[tokio::test(flavor = "multi_thread")]
async fn the_real_helm_controller_does_what_was_said() {
    let mut site = Site::start(Options::default().template("cozystack-500").controllers().argument("--flux")).await;
    install_awkward_releases(&site).await;
    let upgraded = [NEWER_LEFT, STATUS_LEFT, STORED_LEFT, VALUES_LEFT, MADE_ANEW, NOTHING_LEFT[0], NOTHING_LEFT[1]];
    for release in [NEWER_LEFT, STATUS_LEFT, STORED_LEFT, MADE_ANEW] {
        site.patch(&url(release), json!({"spec": no_wait()})).await;
    }
    at_rest(&site, 1, &upgraded).await;
    let wanted = site.snapshot().await;
    let before = judge_snapshot(&wanted).await.unwrap();
    assert!(before.len() >= 14, "{} HelmReleases", before.len());
    let others: Vec<_> = before.iter().filter(|(_, state)| **state != State::InSync).collect();
    assert!(others.is_empty(), "{others:#?}");

    upgrade(&site, &upgraded).await;

    // The way back, in pieces.
    site.only(&pieces().iter().map(String::as_str).collect::<Vec<_>>());
    let (live, plan) = site.plan(&wanted).await;
    let verdicts = judge_plan(&live, &wanted, &plan).await.unwrap();
    let said = |refused: bool| -> BTreeMap<String, State> {
        let verdicts = verdicts.iter().filter(|verdict| verdict.is_refused() == refused);
        verdicts.map(|verdict| (verdict.release.clone(), verdict.after.clone())).collect()
    };
    let strange = |recorded, stored| State::Unmanaged { why: Strange::NotObserved { recorded, stored } };
    let refused = [
        (NEWER_LEFT, strange(1, 2)),
        (STATUS_LEFT, strange(2, 1)),
        (STORED_LEFT, strange(1, 1)),
        (VALUES_LEFT, State::OutOfSync { why: Differs::Values }),
    ];
    let refused = refused.map(|(release, state)| (release.to_owned(), state));
    assert_eq!(said(true), refused.clone().into());
    let locked = State::Locked { pending: "pending-upgrade".to_owned() };
    assert_eq!(said(false), [(HANGING.to_owned(), locked.clone())].into());

    // What was planned is what is there afterwards.
    let applied = site.apply(&live, &plan, &wanted, &Silent).await.unwrap();
    assert_eq!(applied.failures().count(), 0, "{:#?}", applied.failures().collect::<Vec<_>>());
    let mut expected = before;
    expected.extend(refused);
    let untouched = [(HANGING, locked), (UNINSTALLED, State::NotInstalled), (SUSPENDED, State::Suspended)];
    expected.extend(untouched.map(|(release, state)| (release.to_owned(), state)));
    let mut found = judge_snapshot(&site.snapshot().await).await.unwrap();
    // The writes made a new generation, and what is rendered after the chart hangs on that. Of the plan it is known.
    for release in NOTHING_LEFT {
        let state = found.insert(release.to_owned(), State::InSync);
        assert_eq!(state, Some(State::Unknown { why: Unknown::NotYetObserved }), "{release}");
    }
    assert_eq!(found, expected);

    // And what the real one says and does.
    let stored_before = stored(&site).await;
    tokio::task::block_in_place(|| site.control_plane().start_server(HELM_CONTROLLER));
    let findings = first_findings(&site, expected.len()).await;
    for (release, state) in &expected {
        assert_eq!(findings[release], finding_of(state), "{release}");
    }
    for (release, state) in expected.iter().filter(|(release, _)| *release != HANGING && *release != SUSPENDED) {
        let newest = stored_before.get(release).copied().unwrap_or_default();
        at_rest(&site, newest + i64::from(!state.is_at_rest()), &[release]).await;
    }
    // It called the pending release failed, and tried again.
    let secrets = "/api/v1/namespaces/cozy-cert-manager/secrets/sh.helm.release.v1.cert-manager-issuers";
    site.until(async || site.get(&format!("{secrets}.v3")).await.is_some()).await;
    assert_eq!(site.get(&format!("{secrets}.v2")).await.unwrap()["metadata"]["labels"]["status"], "failed");
}

/// Releases with values of every kind from every place, another storage, a long name, post-renderers, common metadata,
/// and an OCI artifact.
async fn install_awkward_releases(site: &Site) {
    for namespace in ["helm-lab", "helm-store"] {
        site.post("/api/v1/namespaces", json!({"metadata": {"name": namespace}})).await;
    }
    let settings =
        "component: from-a-map\nlogLevel: warning\nenabled: yes\nmode: 0755\nlabels:\n  1: one\n  on-time: \"on\"\n";
    let data = json!({"values.yaml": settings, "port": "8080", "raw": "a,b={c}"});
    let maps = "/api/v1/namespaces/helm-lab/configmaps";
    site.post(maps, json!({"metadata": {"name": "settings"}, "data": data})).await;
    let secret =
        json!({"metadata": {"name": "settings"}, "stringData": {"more": "password: hunter2\nlogLevel: trace\n"}});
    site.post("/api/v1/namespaces/helm-lab/secrets", secret).await;
    let awkward = json!({
        "yes": "no", "empty": "", "tilde": "~", "number": "0123", "date": "2026-11-23", "lines": "a\n  b\n\n",
        "face": "😀", "html": "<a href='x'>&</a>", "control": "\u{1}\u{8}\u{c}", "map": {}, "list": [], "null": null,
        "int": 3, "big": 9_007_199_254_740_993_i64, "small": 0.000_000_1, "frac": 1.5, "huge": 1e21,
        "nested": [[1, [2, {"a": [3]}]], {"b": {"c": ["d"]}}, []],
    });
    let from = |kind: &str, more: Value| {
        let mut source = json!({"kind": kind, "name": "settings"});
        source.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        source
    };
    let values_from = json!([
        from("ConfigMap", json!({})),
        from("Secret", json!({"valuesKey": "more"})),
        from("ConfigMap", json!({"valuesKey": "port", "targetPath": "deep.port"})),
        from("ConfigMap", json!({"valuesKey": "raw", "targetPath": "deep.raw", "literal": true})),
        from("ConfigMap", json!({"valuesKey": "none", "optional": true})),
    ]);
    let spec = json!({"targetNamespace": "helm-lab", "valuesFrom": values_from, "values": awkward});
    site.post(LAB, release(VALUES_LEFT, &spec)).await;

    let image = json!({"name": "ghcr.io/cozystack/cozystack/helm-lab-rendered", "newTag": "v1"});
    let spec = json!({"targetNamespace": "helm-lab", "storageNamespace": "helm-store",
        "postRenderers": [{"kustomize": {"images": [image]}}],
        "commonMetadata": {"labels": {"team": "a"}, "annotations": {"note": "<b>"}}});
    site.post(LAB, release(NOTHING_LEFT[0], &spec)).await;

    // An artifact as an OCIRepository has it; the archive is one that the stand-in serves.
    let charts = "/apis/source.toolkit.fluxcd.io/v1/namespaces/cozy-system/helmcharts";
    let chart = site.get(&format!("{charts}/cozy-metallb-metallb")).await.unwrap();
    let mut artifact = chart["status"]["artifact"].clone();
    artifact["revision"] = json!(format!("0.36.2@{}", artifact["digest"].as_str().unwrap()));
    let repositories = "/apis/source.toolkit.fluxcd.io/v1/namespaces/helm-lab/ocirepositories";
    let repository = json!({"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "OCIRepository",
        "metadata": {"name": "metallb"}, "spec": {"interval": "1h", "url": "oci://registry.example.org/metallb"}});
    site.post(repositories, repository).await;
    let status = json!({"status": {"observedGeneration": 1, "artifact": artifact}});
    site.patch(&format!("{repositories}/metallb/status"), status).await;
    // helm-controller makes the digest a part of the version, and the stand-in's charts put that into a label as it is.
    let no_label = "- op: remove\n  path: /metadata/labels/app.kubernetes.io~1version\n";
    let patches = json!([{"target": {"kind": ".*"}, "patch": no_label}]);
    let spec = json!({"chart": null, "chartRef": {"kind": "OCIRepository", "name": "metallb"},
        "postRenderers": [{"kustomize": {"patches": patches}}]});
    site.post(LAB, release(NOTHING_LEFT[1], &spec)).await;
}

fn release(name: &str, more: &Value) -> Value {
    let chart = json!({"spec": {"chart": "cozy-metallb", "version": "0.36.2",
        "sourceRef": {"kind": "HelmRepository", "name": "cozystack-system", "namespace": "cozy-system"}}});
    let mut spec = no_wait();
    spec["interval"] = json!("1h");
    spec["chart"] = chart;
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let (_, name) = name.split_once('/').unwrap();
    json!({"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "metadata": {"name": name}, "spec": spec})
}

/// Of a release that is not to hang it does not wait for the pods, which takes the most time.
fn no_wait() -> Value {
    json!({"install": {"disableWait": true}, "upgrade": {"disableWait": true}})
}

fn url(release: &str) -> String {
    let (namespace, name) = release.split_once('/').unwrap();
    format!("/apis/helm.toolkit.fluxcd.io/v2/namespaces/{namespace}/helmreleases/{name}")
}

/// What happens to the cluster: upgrades, one that hangs, one that is suspended; then helm-controller is killed, one
/// release is deleted with its chart, and of another one everything that Helm stored.
async fn upgrade(site: &Site, upgraded: &[&str]) {
    site.patch(&url(SUSPENDED), json!({"spec": {"suspend": true}})).await;
    // No node is large enough for its pods, so that helm-controller waits for them when it is killed.
    let wide = json!({"spec": {"values": {"resources": {"requests": {"cpu": "100000"}}}}});
    site.patch(&url(HANGING), wide).await;
    let data = json!({"data": {"values.yaml": "logLevel: error\nreplicas: 1\n"}});
    site.patch("/api/v1/namespaces/helm-lab/configmaps/settings", data).await;
    let now = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "now"}}});
    site.patch(&url(VALUES_LEFT), now).await;
    for release in upgraded.iter().filter(|release| **release != VALUES_LEFT) {
        site.patch(&url(release), json!({"spec": {"values": {"logLevel": "trace"}}})).await;
    }
    at_rest(site, 2, upgraded).await;
    let pending = "/api/v1/namespaces/cozy-cert-manager/secrets/sh.helm.release.v1.cert-manager-issuers.v2";
    site.until(async || site.get(pending).await.is_some()).await;
    tokio::task::block_in_place(|| site.control_plane().kill_server(HELM_CONTROLLER));
    assert_eq!(site.get(pending).await.unwrap()["metadata"]["labels"]["status"], "pending-upgrade");

    let chart = "/apis/source.toolkit.fluxcd.io/v1/namespaces/cozy-system/helmcharts/cozy-system-cozystack-api";
    for gone in [url(MADE_ANEW), chart.to_owned()] {
        site.patch(&gone, json!({"metadata": {"finalizers": null}})).await;
        site.delete(&gone).await;
    }
    site.delete("/api/v1/namespaces/tenant-root/secrets?labelSelector=owner%3Dhelm%2Cname%3Dtenant-foo").await;
}

fn pieces() -> Vec<String> {
    let part = |release: &str, stored: &str| {
        let (namespace, name) = release.split_once('/').unwrap();
        format!("cluster/core/secrets/{namespace}/sh.helm.release.v1.{name}{stored}.json")
    };
    let object = |release: &str| format!("helmreleases.helm.toolkit.fluxcd.io/{release}");
    let mut only = vec![
        object(NEWER_LEFT),
        part(STATUS_LEFT, ".v*"),
        object(STORED_LEFT),
        part(STORED_LEFT, ".v2"),
        object(VALUES_LEFT),
        "cluster/core/secrets/helm-lab/sh.helm.release.v1.*".to_owned(),
        "cluster/core/secrets/helm-store/*".to_owned(),
        object(MADE_ANEW),
        part(MADE_ANEW, ".v*"),
        "helmcharts.source.toolkit.fluxcd.io/cozy-system/cozy-system-cozystack-api".to_owned(),
    ];
    only.extend(NOTHING_LEFT.map(object));
    only
}

/// How helm-controller says in its log what was found.
fn finding_of(state: &State) -> &'static str {
    match state {
        State::InSync => "release in-sync with desired state",
        State::OutOfSync { why: Differs::Values } => {
            "release out-of-sync with desired state: release config values changed"
        }
        State::Unmanaged { .. } => "release not managed by controller: release not observed to be made for object",
        State::Locked { .. } => "release locked: release with status 'pending-upgrade'",
        State::NotInstalled => "release not installed: no release in storage for object",
        State::Suspended => "reconciliation is suspended for this object",
        other => panic!("nobody expects {other}"),
    }
}

/// The first that helm-controller has found of each release since its latest start.
async fn first_findings(site: &Site, releases: usize) -> BTreeMap<String, String> {
    let log = site.control_plane().folder().join("logs").join(format!("{HELM_CONTROLLER}.log"));
    let started = Instant::now();
    loop {
        let text = std::fs::read_to_string(&log).unwrap();
        let since_start = text.rsplit_once("starting manager").map_or("", |(_, since)| since);
        let mut findings = BTreeMap::new();
        for line in since_start.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let text = |field: &str| line.get(field).and_then(Value::as_str).unwrap_or_default();
            let said = text("msg");
            if said.starts_with("release ") || said.contains("is suspended") {
                findings.entry(format!("{}/{}", text("namespace"), text("name"))).or_insert_with(|| said.to_owned());
            }
        }
        if findings.len() >= releases {
            return findings;
        }
        assert!(started.elapsed() < PATIENCE, "only {findings:#?} of {releases}:\n{since_start}");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// For what takes a second where nothing else runs, and a minute on a machine that is full.
const PATIENCE: Duration = Duration::from_secs(180);

/// Waits until each of these is at its release of this number, ready, and nothing is under way for its generation.
async fn at_rest(site: &Site, number: i64, releases: &[&str]) {
    let started = Instant::now();
    let waited_for: BTreeSet<&str> = releases.iter().copied().collect();
    loop {
        let list = site.get(RELEASES).await.unwrap();
        let all: Vec<&Value> = list["items"].as_array().unwrap().iter().collect();
        let waiting: Vec<&Value> = all
            .into_iter()
            .filter(|release| waited_for.contains(named(release).as_str()) && !is_at_rest(release, number))
            .collect();
        if waiting.is_empty() {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "not at release {number}: {waiting:#?}");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

fn named(release: &Value) -> String {
    let text = |field: &str| release["metadata"][field].as_str().unwrap().to_owned();
    format!("{}/{}", text("namespace"), text("name"))
}

fn is_at_rest(release: &Value, number: i64) -> bool {
    let conditions = release["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
        && !conditions.iter().any(|one| one["type"] == "Reconciling")
        && release["status"]["history"][0]["status"] == "deployed"
        && release["status"]["history"][0]["version"] == number
        && release["status"]["observedGeneration"] == release["metadata"]["generation"]
}

/// The newest number that Helm has stored of each release.
async fn stored(site: &Site) -> BTreeMap<String, i64> {
    let secrets = site.get("/api/v1/secrets?labelSelector=owner%3Dhelm").await.unwrap();
    let mut newest: BTreeMap<(String, String), i64> = BTreeMap::new();
    for secret in secrets["items"].as_array().unwrap() {
        let label = |name: &str| secret["metadata"]["labels"][name].as_str().unwrap().to_owned();
        let number =
            newest.entry((secret["metadata"]["namespace"].as_str().unwrap().to_owned(), label("name"))).or_default();
        *number = label("version").parse::<i64>().unwrap().max(*number);
    }
    let list = site.get(RELEASES).await.unwrap();
    let number = |release: &Value| {
        let name = release["status"]["history"][0]["name"].as_str()?.to_owned();
        let storage = release["status"]["storageNamespace"].as_str()?.to_owned();
        Some((named(release), *newest.get(&(storage, name))?))
    };
    list["items"].as_array().unwrap().iter().filter_map(number).collect()
}
