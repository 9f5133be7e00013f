//! The accident of the quickstart: a CRD is deleted with its objects while a ConfigMap that one of them owns survives,
//! and a namespace is gone. It is put back in two parts, so that dependents inside and outside of what is restored are
//! under the eyes of garbage collection at the same time.

use serde_json::{Value, json};
use snapback::restore::{Operation, Wait};

use super::site::{CRDS, Site, actions, essence};
use crate::harness::control_plane::Options;

const ORDERS: &str = "/apis/db.example/v1/namespaces/default/databases/orders";
const CRD: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/databases.db.example";
const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const PODS: &str = "/api/v1/namespaces/default/pods";
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
    // Owned as well, but no part of what is restored first: a Secret, a Pod (which nothing ever restores), and something
    // made after the snapshot. An owner that the snapshot does not know is not brought back with its type.
    let owner_of = |object: &Value| {
        json!([{"apiVersion": "db.example/v1", "kind": "Database", "name": object["metadata"]["name"],
            "uid": object["metadata"]["uid"]}])
    };
    let owned = |name: &str, owners: Value| json!({"metadata": {"name": name, "ownerReferences": owners}});
    site.post(SECRETS, owned("orders-password", owner_of(&orders))).await;
    let mut pod = owned("orders-0", owner_of(&orders));
    pod["spec"] = json!({"containers": [{"name": "db", "image": "db:1"}]});
    site.post(PODS, pod).await;
    let wanted = site.snapshot().await;
    let mut later = kind.clone();
    later["metadata"] = json!({"name": "later"});
    let later = site.post(databases, later).await;
    site.post(SECRETS, owned("later-password", owner_of(&later))).await;
    site.post(SECRETS, owned("orders-later", owner_of(&orders))).await;
    let crd = site.get(CRD).await.unwrap();
    let outside = ["orders-password", "orders-later", "later-password"].map(|name| format!("{SECRETS}/{name}"));
    let outside = [&outside[..], &[format!("{PODS}/orders-0")]].concat();
    let pod_runs = async || site.get(&outside[3]).await.unwrap()["status"]["phase"] == "Running";
    site.until(pod_runs).await;
    let mut before = Vec::new();
    for url in &outside {
        before.push(site.get(url).await.unwrap());
    }
    let survivor = site.get(CONNECTION).await.unwrap();

    site.delete(CRD).await;
    site.patch("/api/v1/namespaces/default/configmaps/settings", json!({"data": {"mode": "oops"}})).await;
    site.delete("/api/v1/namespaces/tenant").await;
    site.until(async || site.get(ORDERS).await.is_none()).await;
    for url in outside.iter().map(String::as_str).chain([CONNECTION]) {
        assert!(site.get(url).await.is_some(), "{url} survives while its owner's type is missing");
    }

    // The type and its objects, with one of the survivors. It may still be ending: that is waited for.
    let mut site = site;
    site.only(&["crd/databases.db.example", "databases.db.example", "configmaps/default/orders-connection"]);
    let restored = site.restore(&wanted, Wait::Full).await;
    let steps = actions(&restored.plan);
    let at = |text: &str| steps.iter().position(|step| step == text).unwrap_or_else(|| panic!("{text}: {steps:#?}"));
    let connection = "cluster/core/configmaps/default/orders-connection.json";
    let database = "cluster/db.example/databases/default/orders.json";
    let type_path = "cluster/apiextensions.k8s.io/customresourcedefinitions/_/databases.db.example.json";
    assert!(at(&format!("release {connection}")) < at(&format!("create {type_path}")));
    assert!(at(&format!("create {type_path}")) < at(&format!("create {database}")));
    assert!(at(&format!("create {database}")) < at(&format!("update {connection}")));
    for path in ["secrets/default/orders-password", "secrets/default/orders-later", "pods/default/orders-0"] {
        let path = format!("cluster/core/{path}.json");
        assert!(at(&format!("release {path}")) < at(&format!("create {type_path}")));
        assert!(at(&format!("create {database}")) < at(&format!("readopt {path}")));
    }
    let lost = "cluster/core/secrets/default/later-password.json";
    let dangers: Vec<String> = restored.plan.dangers().into_iter().map(|danger| danger.path).collect();
    assert_eq!(dangers, [lost], "what is lost for good is said aloud");
    assert!(!steps.contains(&format!("readopt {lost}")));

    assert!(restored.proof.watched_seconds >= 90, "{}", restored.proof.watched_seconds);
    let back = site.get(CONNECTION).await.expect("the survivor is alive after garbage collection had its time");
    assert_eq!(back["metadata"]["uid"], survivor["metadata"]["uid"]);
    let orders_now = site.get(ORDERS).await.unwrap();
    assert_ne!(orders_now["metadata"]["uid"], orders["metadata"]["uid"]);
    assert_eq!(back["metadata"]["ownerReferences"][0]["uid"], orders_now["metadata"]["uid"]);
    assert_eq!(orders_now["status"], orders["status"]);
    assert_eq!(orders_now["metadata"]["managedFields"], orders["metadata"]["managedFields"]);
    let crd_now = site.get(CRD).await.unwrap();
    assert_eq!(crd_now["spec"], crd["spec"]);
    // Those outside are the same objects in everything but the owner's UID, or the owner that is no more.
    for (url, mut was) in outside.iter().zip(before) {
        let mut now = site.get(url).await.unwrap_or_else(|| panic!("garbage collection took {url}"));
        assert_eq!(now["metadata"]["uid"], was["metadata"]["uid"], "{url}");
        if url.ends_with("later-password") {
            assert!(now["metadata"]["ownerReferences"].is_null(), "{now:#?}");
            was["metadata"].as_object_mut().unwrap().remove("ownerReferences");
            was["metadata"].as_object_mut().unwrap().remove("managedFields");
            now["metadata"].as_object_mut().unwrap().remove("managedFields");
        } else {
            was["metadata"]["ownerReferences"] = owner_of(&orders_now);
        }
        assert_eq!(essence(&now), essence(&was), "{url}");
    }

    // Then everything else.
    site.only(&["namespaces/tenant", "cluster/*/*/tenant/**", "configmaps/default"]);
    let restored = site.restore(&wanted, Wait::Skip).await;
    let steps = actions(&restored.plan);
    let at = |text: &str| steps.iter().position(|step| step == text).unwrap_or_else(|| panic!("{text}: {steps:#?}"));
    assert!(
        at("create cluster/core/namespaces/_/tenant.json") < at("create cluster/core/configmaps/tenant/settings.json")
    );
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
