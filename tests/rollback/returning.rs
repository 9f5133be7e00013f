//! What only the snapshot has and nobody answers for comes back in the middle of a rollback: it must not refuse what is
//! written after it, and is in force at the end.

use serde_json::{Value, json};
use snapback::journal::{Event, Outcome, Reason};

use super::case::{Case, kinds};
use super::kills::{check_installer, installed};
use crate::harness::control_plane::Options;
use crate::harness::sample::soak;
use crate::journal::countdown::Side;
use crate::restore::site::{Site, essence};
use crate::restore::storage_versions_type::{GROUP, Type, dead_webhook, open, version};

const WEBHOOKS: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
const MUTATING: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
const API_SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
const MAPS: &str = "/api/v1/namespaces/hooks/configmaps";

/// Must be asked about every ConfigMap and every Deployment in two namespaces, also when one is deleted or scaled.
fn webhook(name: &str) -> Value {
    let resources = json!(["configmaps", "deployments"]);
    let rule = json!({"apiGroups": ["*"], "apiVersions": ["v1"], "operations": ["*"], "resources": resources});
    let names = json!({"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["hooks", "cozy-system"]});
    json!({"metadata": {"name": name}, "webhooks": [{"name": "all.example.org", "failurePolicy": "Fail",
        "sideEffects": "None", "admissionReviewVersions": ["v1"], "rules": [rule], "timeoutSeconds": 1,
        "namespaceSelector": {"matchExpressions": [names]},
        "clientConfig": {"service": {"namespace": "hooks", "name": "guard"}, "caBundle": "Cg=="}}]})
}

async fn map_can_be_made(site: &Site) -> bool {
    let body = json!({"metadata": {"generateName": "probe-"}}).to_string().into_bytes();
    site.cluster.send(http::Method::POST, &format!("{MAPS}?dryRun=All"), Some(body)).await.is_ok()
}

/// What is in the way of no write by itself, and yet of all.
async fn in_the_way(site: &Site) -> [Value; 3] {
    let mut found = Vec::new();
    for url in
        [format!("{WEBHOOKS}/checks"), format!("{MUTATING}/changes"), format!("{API_SERVICES}/v1.dead.example.org")]
    {
        let mut object = essence(&site.get(&url).await.unwrap_or_else(|| panic!("{url} is not there")));
        // What the API server says of an APIService.
        object.as_object_mut().unwrap().remove("status");
        object["metadata"]["managedFields"].as_array_mut().unwrap().retain(|entry| entry["subresource"] != "status");
        found.push(object);
    }
    found.try_into().unwrap()
}

/// All of it goes, with ConfigMaps; another one comes.
async fn accident(site: &Site) {
    for url in
        [format!("{WEBHOOKS}/checks"), format!("{MUTATING}/changes"), format!("{API_SERVICES}/v1.dead.example.org")]
    {
        if site.get(&url).await.is_some() {
            site.remove(&url).await;
        }
    }
    site.until(async || map_can_be_made(site).await).await;
    for name in ["a", "b"] {
        site.delete(&format!("{MAPS}/{name}")).await;
    }
    site.post(MAPS, json!({"metadata": {"name": "extra"}})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_back_and_is_not_answered_for_refuses_nothing_until_all_is_done() {
    let site = Site::start(Options::default().controllers()).await;
    site.namespace("hooks").await;
    // Held still meanwhile: it has to be started before anything refuses that.
    installed(&site).await;
    let ports = json!({"ports": [{"port": 443}]});
    site.post("/api/v1/namespaces/hooks/services", json!({"metadata": {"name": "guard"}, "spec": ports})).await;
    for name in ["a", "b"] {
        site.post(MAPS, json!({"metadata": {"name": name}, "data": {"a": "1"}})).await;
    }
    site.post(WEBHOOKS, webhook("checks")).await;
    site.post(MUTATING, webhook("changes")).await;
    let spec = json!({"group": "dead.example.org", "version": "v1", "groupPriorityMinimum": 1000, "versionPriority": 10,
        "service": {"namespace": "hooks", "name": "guard", "port": 443}, "caBundle": "Cg=="});
    site.post(API_SERVICES, json!({"metadata": {"name": "v1.dead.example.org"}, "spec": spec})).await;
    site.until(async || !map_can_be_made(&site).await).await;
    let wanted = in_the_way(&site).await;
    let mut case = Case::of(site).await;
    case.scope = "everything";
    let site = &case.site;

    accident(site).await;
    let said = case.snapback.run(&["rollback", "1", "--scope", "everything", "--dry-run"]);
    for item in ["validatingwebhookconfiguration checks", "mutatingwebhookconfiguration changes"] {
        let line = format!(
            "| {item} is set aside meanwhile: all.example.org calls Service hooks/guard: no endpoint of it is ready"
        );
        assert!(said.stdout.contains(&line), "{line}\n{}", said.stdout);
    }
    assert!(said.stdout.contains("| apiservice v1.dead.example.org is set aside meanwhile: "), "{}", said.stdout);
    let mut journal = case.begin().await;
    let report = case.drive(&mut journal).await.unwrap();
    assert_eq!(report.outcome, Some(Outcome::Done {}), "{report:#?}");
    assert_eq!(report.rounds.len(), 1, "{:#?}", report.rounds);
    assert_eq!(in_the_way(site).await, wanted);
    assert!(!map_can_be_made(site).await, "they are in force again");
    case.check("without a kill").await;
    check_installer(site, "without a kill").await;

    // Killed between any two records.
    let all = kinds(&journal);
    let every = (2..all.len() - 1).flat_map(|record| [(record, Side::Before), (record, Side::After)]);
    for (record, side) in every.enumerate().filter(|(number, _)| soak() || number % 9 == 4).map(|(_, kill)| kill) {
        let what = format!("killed {side:?} record {record} ({})", all[record]);
        accident(site).await;
        let id = case.dies(record, side).await;
        let mut journal = case.resume(&id).await.unwrap();
        let report = case.drive(&mut journal).await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
        assert_eq!(report.outcome, Some(Outcome::Done {}), "{what}: {report:#?}");
        assert_eq!(in_the_way(site).await, wanted, "{what}");
        case.check(&what).await;
        check_installer(site, &what).await;
    }

    // Given up after they came back: what was not there before is not there afterwards.
    accident(site).await;
    let converged = all.iter().position(|kind| *kind == "converged").unwrap();
    let id = case.dies(converged, Side::Before).await;
    let mut journal = case.resume(&id).await.unwrap();
    journal.append(Event::GivenUp { reason: Reason::Asked {} }).await.unwrap();
    case.drive(&mut journal).await.unwrap();
    assert!(map_can_be_made(site).await);
    for url in
        [format!("{WEBHOOKS}/checks"), format!("{MUTATING}/changes"), format!("{API_SERVICES}/v1.dead.example.org")]
    {
        assert!(site.get(&url).await.is_none(), "{url}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_whose_conversion_nobody_answers_for_comes_back() {
    let site = Site::start(Options::default()).await;
    let own =
        Type::install(&site, "orphans", &[version("v1alpha1", false, &open()), version("v1", true, &open())]).await;
    own.post("v1", "default", "a", &json!({"size": 1})).await;
    site.patch(&own.url(), json!({"spec": {"conversion": dead_webhook()}})).await;
    let other = format!("/apis/{GROUP}/v1alpha1/orphans");
    site.until(async || site.cluster.get(&other).await.is_err()).await;
    let wanted = own.crd().await["spec"].clone();
    let mut case = Case::of(site).await;
    case.scope = "everything";
    let own = Type { site: &case.site, plural: "orphans" };
    for deleted in [false, true] {
        let none = json!({"spec": {"conversion": {"strategy": "None", "webhook": null}}});
        case.site.patch(&own.url(), none).await;
        case.site.until(async || case.site.cluster.get(&other).await.is_ok()).await;
        let object = own.object_url("v1", "default", "a");
        case.site.patch(&object, json!({"spec": {"size": 2}})).await;
        if deleted {
            case.site.remove(&own.url()).await;
        }
        let mut journal = case.begin().await;
        let report = case.drive(&mut journal).await.unwrap();
        assert_eq!(report.outcome, Some(Outcome::Done {}), "{report:#?}");
        assert!(report.rounds.iter().all(|round| round.failures.is_empty()), "{:#?}", report.rounds);
        assert_eq!(own.crd().await["spec"], wanted);
        assert_eq!(case.site.get(&object).await.unwrap()["spec"]["size"], 1);
        case.check("comes back").await;
    }
}
