//! The accident of the quickstart: a CRD is deleted with its objects while a ConfigMap that one of them owns survives,
//! and a namespace is gone.

use serde_json::json;
use snapback::restore::{Operation, Wait};

use super::site::{CRDS, Site, actions};
use crate::harness::control_plane::Options;

const ORDERS: &str = "/apis/db.example/v1/namespaces/default/databases/orders";
const CRD: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/databases.db.example";
const CONNECTION: &str = "/api/v1/namespaces/default/configmaps/orders-connection";

/// The only test that gives garbage collection its 90 seconds.
#[tokio::test(flavor = "multi_thread")]
async fn a_crd_with_its_objects_a_namespace_and_a_surviving_dependent_come_back() {
    let site = Site::start(Options::default().controllers()).await;
    site.crd("databases", "Database", "Namespaced").await;
    site.namespace("tenant").await;
    let databases = "/apis/db.example/v1/namespaces/default/databases";
    let kind = json!({"apiVersion": "db.example/v1", "kind": "Database"});
    for name in ["orders", "invoices"] {
        let mut object = kind.clone();
        object["metadata"] = json!({"name": name});
        object["spec"] = json!({"engine": "postgres"});
        site.post(databases, object).await;
        site.patch(&format!("{databases}/{name}/status"), json!({"status": {"phase": "Ready"}})).await;
    }
    let orders = site.get(ORDERS).await.unwrap();
    let owner = json!({"apiVersion": "db.example/v1", "kind": "Database", "name": "orders",
        "uid": orders["metadata"]["uid"]});
    site.post(
        "/api/v1/namespaces/default/configmaps",
        json!({"metadata": {"name": "orders-connection", "ownerReferences": [owner]}, "data": {"host": "orders"}}),
    )
    .await;
    for namespace in ["tenant", "default"] {
        let maps = format!("/api/v1/namespaces/{namespace}/configmaps");
        site.post(&maps, json!({"metadata": {"name": "settings"}, "data": {"mode": "production"}})).await;
    }
    site.patch("/api/v1/namespaces/tenant/serviceaccounts/default", json!({"metadata": {"labels": {"a": "b"}}})).await;
    let wanted = site.snapshot().await;
    let survivor = site.get(CONNECTION).await.unwrap();

    site.delete(CRD).await;
    site.patch("/api/v1/namespaces/default/configmaps/settings", json!({"data": {"mode": "oops"}})).await;
    site.delete("/api/v1/namespaces/tenant").await;
    site.until(async || site.get(ORDERS).await.is_none()).await;
    assert!(site.get(CONNECTION).await.is_some(), "the dependent survives while its owner's type is missing");

    // Both may still be ending: they are waited for, never written to.
    let restored = site.restore(&wanted, Wait::Full).await;
    let steps = actions(&restored.plan);
    let at = |text: &str| steps.iter().position(|step| step == text).unwrap_or_else(|| panic!("{text}: {steps:#?}"));
    let connection = "cluster/core/configmaps/default/orders-connection.json";
    let database = "cluster/db.example/databases/default/orders.json";
    let crd = "cluster/apiextensions.k8s.io/customresourcedefinitions/_/databases.db.example.json";
    assert!(at(&format!("release {connection}")) < at(&format!("create {crd}")));
    assert!(at(&format!("create {crd}")) < at(&format!("create {database}")));
    assert!(at(&format!("create {database}")) < at(&format!("update {connection}")));
    assert!(
        at("create cluster/core/namespaces/_/tenant.json") < at("create cluster/core/configmaps/tenant/settings.json")
    );

    assert!(restored.proof.watched_seconds >= 90, "{}", restored.proof.watched_seconds);
    let back = site.get(CONNECTION).await.expect("the survivor is alive after garbage collection had its time");
    assert_eq!(back["metadata"]["uid"], survivor["metadata"]["uid"]);
    let orders_now = site.get(ORDERS).await.unwrap();
    assert_ne!(orders_now["metadata"]["uid"], orders["metadata"]["uid"]);
    assert_eq!(back["metadata"]["ownerReferences"][0]["uid"], orders_now["metadata"]["uid"]);
    assert_eq!(orders_now["status"], orders["status"]);
    assert_eq!(orders_now["metadata"]["managedFields"], orders["metadata"]["managedFields"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_being_deleted_is_waited_for_and_then_made_anew() {
    let site = Site::start(Options::default().controllers()).await;
    site.crd("databases", "Database", "Namespaced").await;
    site.namespace("tenant").await;
    let maps = "/api/v1/namespaces/tenant/configmaps";
    site.post(maps, json!({"metadata": {"name": "plain"}, "data": {"a": "1"}})).await;
    site.post(maps, json!({"metadata": {"name": "held", "finalizers": ["db.example/hold"]}})).await;
    let databases = "/apis/db.example/v1/namespaces/default/databases";
    site.post(
        databases,
        json!({"apiVersion": "db.example/v1", "kind": "Database",
            "metadata": {"name": "held", "finalizers": ["db.example/hold"]}}),
    )
    .await;
    let wanted = site.snapshot().await;

    site.delete("/api/v1/namespaces/tenant").await;
    site.delete(CRD).await;
    let held = [format!("{maps}/held"), format!("{databases}/held")];
    for url in &held {
        site.until(async || !site.get(url).await.unwrap()["metadata"]["deletionTimestamp"].is_null()).await;
    }
    let (_, plan) = site.plan(&wanted).await;
    for path in [
        "cluster/core/namespaces/_/tenant.json",
        "cluster/apiextensions.k8s.io/customresourcedefinitions/_/databases.db.example.json",
    ] {
        let action = plan.actions.iter().find(|action| action.path == path).unwrap();
        assert_eq!(action.operation, Operation::Create { after_gone: true }, "{path}");
    }
    // Someone finishes the deletion while the restore waits.
    let (restored, ()) = tokio::join!(site.restore(&wanted, Wait::Skip), async {
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        for url in &held {
            site.patch(url, json!({"metadata": {"finalizers": null}})).await;
        }
    });
    assert!(restored.proof.holds());
    let held = site.get(&held[1]).await.unwrap();
    assert!(held["metadata"]["deletionTimestamp"].is_null());
    assert_eq!(held["metadata"]["finalizers"][0], "db.example/hold");
    // A PUT onto what was ending would have been answered with 200: there is none before both were made anew.
    let writes = site.our_writes().await;
    for (url, list) in [("/api/v1/namespaces/tenant", "/api/v1/namespaces"), (CRD, CRDS)] {
        let deleted = writes.iter().position(|(verb, uri)| verb == "delete" && uri == url).unwrap();
        let made = writes.iter().rposition(|(verb, uri)| verb == "create" && uri == list).unwrap();
        let between = writes.get(deleted..made).expect("it was made anew after its deletion");
        assert!(!between.iter().any(|(verb, uri)| verb == "update" && uri == url), "{between:?}");
    }
}
