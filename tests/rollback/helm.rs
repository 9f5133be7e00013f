//! Each round is judged as helm-controller will judge its end, not only the plan that was shown.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::Method;
use serde_json::{Value, json};
use snapback::journal::{Outcome, Reason};
use snapback::rollback::ALLOW_HELM_UPGRADE;

use super::case::{Case, kinds};
use crate::harness::control_plane::Options;
use crate::journal::countdown::Side;
use crate::restore::site::{CRDS, Site};

const RELEASE: &str = "/apis/helm.toolkit.fluxcd.io/v2/namespaces/tenant/helmreleases/demo";
const CHART: &str = "/apis/source.toolkit.fluxcd.io/v1/namespaces/cozy-system/helmcharts/tenant-demo";
const SECRETS: &str = "/api/v1/namespaces/tenant/secrets";

async fn crd(site: &Site, group: &str, version: &str, plural: &str, kind: &str) {
    let loose = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let schema = json!({"type": "object", "properties": {"spec": loose, "status": loose}});
    let version = json!({"name": version, "served": true, "storage": true, "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": schema}});
    let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {"group": group, "scope": "Namespaced", "versions": [version],
            "names": {"plural": plural, "kind": kind, "singular": kind.to_lowercase()}}});
    site.post(CRDS, crd).await;
}

fn stored(number: u64, status: &str, chart: &str, level: &str) -> Value {
    json!({"name": "demo", "namespace": "tenant", "version": number, "config": {"logLevel": level},
        "info": {"first_deployed": "2026-11-23T12:00:00Z", "last_deployed": format!("2026-11-23T12:00:0{number}Z"),
            "status": status},
        "chart": {"metadata": {"name": "demo", "version": chart}}})
}

/// The Secret of a release, as Helm stores it.
fn secret(release: &Value) -> Value {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(release.to_string().as_bytes()).unwrap();
    let data = STANDARD.encode(STANDARD.encode(packed.finish().unwrap()));
    let name = format!("sh.helm.release.v1.demo.v{}", release["version"]);
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": "helm.sh/release.v1",
        "data": {"release": data}})
}

fn recorded(stored: &Value) -> Value {
    json!({"name": "demo", "namespace": "tenant", "version": stored["version"], "status": stored["info"]["status"],
        "chartName": "demo", "chartVersion": stored["chart"]["metadata"]["version"],
        "firstDeployed": stored["info"]["first_deployed"], "lastDeployed": stored["info"]["last_deployed"]})
}

/// What helm-controller and source-controller leave behind when a release is brought to a chart and values.
async fn released(site: &Site, stored: &[Value], level: &str) {
    site.patch(RELEASE, json!({"spec": {"values": {"logLevel": level}}})).await;
    let history: Vec<Value> = stored.iter().rev().map(recorded).collect();
    let generation = site.get(RELEASE).await.unwrap()["metadata"]["generation"].clone();
    site.patch(&format!("{RELEASE}/status"), json!({"status": {"observedGeneration": generation, "history": history}}))
        .await;
    for stored in stored {
        let secret = secret(stored);
        let url = format!("{SECRETS}/{}", secret["metadata"]["name"].as_str().unwrap());
        match site.get(&url).await {
            Some(_) => drop(site.send(Method::PUT, &url, Some(secret)).await),
            None => drop(site.post(SECRETS, secret).await),
        }
    }
}

async fn offers(site: &Site, chart: &str) {
    let status = json!({"observedChartName": "demo", "artifact": {"revision": chart}});
    site.patch(&format!("{CHART}/status"), json!({"status": status})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_that_would_make_helm_controller_upgrade_is_given_up_unless_that_was_agreed_to() {
    let site = Site::start(Options::default()).await;
    crd(&site, "helm.toolkit.fluxcd.io", "v2", "helmreleases", "HelmRelease").await;
    crd(&site, "source.toolkit.fluxcd.io", "v1", "helmcharts", "HelmChart").await;
    for name in ["tenant", "cozy-system"] {
        site.post("/api/v1/namespaces", json!({"metadata": {"name": name}})).await;
    }
    let source = json!({"kind": "HelmRepository", "name": "charts"});
    let mut spec = json!({"chart": "demo", "version": "*", "sourceRef": source});
    let object = |version: &str, kind: &str, name: &str, spec: &Value| json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec});
    for url in [RELEASE, CHART] {
        let list = url.rsplit_once('/').unwrap().0;
        site.until(async || site.get(list).await.is_some()).await;
    }
    let charts = CHART.rsplit_once('/').unwrap().0;
    site.post(charts, object("source.toolkit.fluxcd.io/v1", "HelmChart", "tenant-demo", &spec)).await;
    spec["sourceRef"]["namespace"] = json!("cozy-system");
    let spec = json!({"chart": {"spec": spec}});
    let releases = RELEASE.rsplit_once('/').unwrap().0;
    site.post(releases, object("helm.toolkit.fluxcd.io/v2", "HelmRelease", "demo", &spec)).await;
    released(&site, &[stored(1, "deployed", "0.1.0", "info")], "info").await;
    offers(&site, "0.1.0").await;

    let mut case = Case::of(site).await;
    // Without the chart, which lies elsewhere.
    case.scope = "namespace=tenant";
    let newer = [stored(1, "superseded", "0.1.0", "info"), stored(2, "deployed", "0.1.0", "debug")];
    released(&case.site, &newer, "debug").await;

    // The plan that was shown leaves the release in sync. Then the process dies, a newer chart is fetched, and the release
    // is brought to it.
    let mut journal = case.begin().await;
    let report = case.drive(&mut journal).await.unwrap();
    assert_eq!(report.outcome, Some(Outcome::Done {}), "{report:#?}");
    let round = kinds(&journal).iter().position(|kind| *kind == "round").unwrap();
    for agreed in [false, true] {
        released(&case.site, &newer, "debug").await;
        offers(&case.site, "0.1.0").await;
        case.force = if agreed { vec![ALLOW_HELM_UPGRADE.to_owned()] } else { Vec::new() };
        case.site.cluster.send(Method::DELETE, &format!("{SECRETS}/sh.helm.release.v1.demo.v3"), None).await.ok();
        let id = case.dies(round, Side::After).await;
        offers(&case.site, "0.2.0").await;
        let newest =
            [newer[0].clone(), stored(2, "superseded", "0.1.0", "debug"), stored(3, "deployed", "0.2.0", "debug")];
        released(&case.site, &newest, "debug").await;
        let before = case.site.get(RELEASE).await.unwrap();
        let mut journal = case.resume(&id).await.unwrap();
        let report = case.drive(&mut journal).await.unwrap();
        let after = case.site.get(RELEASE).await.unwrap();
        if agreed {
            assert_eq!(report.outcome, Some(Outcome::Done {}), "{report:#?}");
            assert_eq!(after["spec"]["values"]["logLevel"], "info");
        } else {
            let reason = Reason::PlanStale {};
            assert_eq!(report.outcome, Some(Outcome::Failed { reason }), "{report:#?}");
            assert_eq!(after, before, "nothing was written");
            assert_eq!(journal.state().rounds(), 1, "{:?}", kinds(&journal));
        }
    }

    // What the command was told is what its rounds are told.
    let newest = [stored(1, "superseded", "0.1.0", "info"), stored(2, "deployed", "0.2.0", "debug")];
    released(&case.site, &newest, "debug").await;
    let rollback = ["rollback", "1", "--scope", "namespace=tenant", "--yes", "--no-wait"];
    let run = case.snapback.run(&rollback);
    assert_eq!(run.code, 4, "{}", run.all());
    assert!(run.stderr.contains("--allow-helm-upgrade` restores it so"), "{}", run.stderr);
    let run = case.snapback.run(&[&rollback[..], &["--allow-helm-upgrade"]].concat());
    assert_eq!(run.code, 0, "{}", run.all());
    assert_eq!(case.site.get(RELEASE).await.unwrap()["spec"]["values"]["logLevel"], "info");
}
