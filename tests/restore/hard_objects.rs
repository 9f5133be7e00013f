//! Objects that do not take a simple write.

use serde_json::{Value, json};
use snapback::restore::{Operation, Wait};

use super::site::{Site, actions, essence};
use crate::harness::control_plane::Options;

/// Makes it anew under the same name with something else in it.
async fn replace(site: &Site, list: &str, object: Value) {
    let url = format!("{list}/{}", object["metadata"]["name"].as_str().unwrap());
    site.delete(&url).await;
    site.post(list, object).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_cannot_be_changed_make_a_new_object() {
    let site = Site::start(Options::default()).await;
    let (secrets, services) = ("/api/v1/namespaces/default/secrets", "/api/v1/namespaces/default/services");
    let bindings = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";
    let secret = |value: &str| json!({"metadata": {"name": "frozen"}, "immutable": true, "stringData": {"a": value}});
    let binding = |role: &str| {
        json!({"metadata": {"name": "who"}, "subjects": [{"kind": "User", "name": "u", "apiGroup": "rbac.authorization.k8s.io"}],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}})
    };
    let service = json!({"metadata": {"name": "web"}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}});
    site.post(secrets, secret("1")).await;
    site.post(bindings, binding("view")).await;
    let web = site.post(services, service.clone()).await;
    let wanted = site.snapshot().await;

    replace(&site, secrets, secret("2")).await;
    replace(&site, bindings, binding("edit")).await;
    let other = {
        site.delete(&format!("{services}/web")).await;
        let mut other = service;
        // A free address for certain: not the one it had.
        let last: u8 = web["spec"]["clusterIP"].as_str().unwrap().rsplit('.').next().unwrap().parse().unwrap();
        let network = web["spec"]["clusterIP"].as_str().unwrap().rsplit_once('.').unwrap().0.to_owned();
        other["spec"]["clusterIP"] = json!(format!("{network}.{}", if last > 100 { last - 7 } else { last + 7 }));
        site.post(services, other).await
    };
    assert_ne!(other["spec"]["clusterIP"], web["spec"]["clusterIP"]);

    let restored = site.restore(&wanted, Wait::Skip).await;
    assert_eq!(restored.plan.counts().recreate, 3, "{:#?}", restored.plan.actions);
    assert_eq!(restored.plan.dangers().len(), 3);
    let after = site.get(&format!("{services}/web")).await.unwrap();
    assert_eq!(essence(&after), essence(&web), "the same cluster IP and node port");
    let binding = site.get(&format!("{bindings}/who")).await.unwrap();
    assert_eq!(binding["roleRef"]["name"], "view");
    assert_eq!(site.get(&format!("{secrets}/frozen")).await.unwrap()["data"]["a"], "MQ==");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_comes_back_is_bound_to_its_volume_again() {
    let site = Site::start(Options::default().controllers()).await;
    let (volumes, claims) = ("/api/v1/persistentvolumes", "/api/v1/namespaces/default/persistentvolumeclaims");
    for name in ["both", "claim"] {
        site.post(
            volumes,
            json!({"metadata": {"name": format!("pv-{name}")}, "spec": {"capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteOnce"], "persistentVolumeReclaimPolicy": "Retain", "storageClassName": "",
                "hostPath": {"path": "/nowhere"}}}),
        )
        .await;
        site.post(
            claims,
            json!({"metadata": {"name": name}, "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "",
                "volumeName": format!("pv-{name}"), "resources": {"requests": {"storage": "1Gi"}}}}),
        )
        .await;
    }
    let bound = async |name: &str| {
        let claim = site.get(&format!("{claims}/{name}")).await;
        claim.is_some_and(|claim| claim["status"]["phase"] == "Bound")
    };
    for name in ["both", "claim"] {
        site.until(async || bound(name).await).await;
    }
    let wanted = site.snapshot().await;

    for url in [format!("{claims}/both"), format!("{claims}/claim"), format!("{volumes}/pv-both")] {
        site.delete(&url).await;
        site.until(async || site.get(&url).await.is_none()).await;
    }
    let released = format!("{volumes}/pv-claim");
    site.until(async || site.get(&released).await.unwrap()["status"]["phase"] == "Released").await;

    let restored = site.restore(&wanted, Wait::Skip).await;
    assert!(actions(&restored.plan).contains(&"update cluster/core/persistentvolumes/_/pv-claim.json".to_owned()));
    for name in ["both", "claim"] {
        site.until(async || bound(name).await).await;
        let volume = site.get(&format!("{volumes}/pv-{name}")).await.unwrap();
        let claim = site.get(&format!("{claims}/{name}")).await.unwrap();
        assert_eq!(volume["status"]["phase"], "Bound", "{name}");
        assert_eq!(volume["spec"]["claimRef"]["uid"], claim["metadata"]["uid"], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn workloads_accounts_and_what_appears_by_itself() {
    let site = Site::start(Options::default().controllers()).await;
    site.namespace("tenant").await;
    let (accounts, secrets) = ("/api/v1/namespaces/tenant/serviceaccounts", "/api/v1/namespaces/tenant/secrets");
    site.patch(&format!("{accounts}/default"), json!({"imagePullSecrets": [{"name": "registry"}]})).await;
    site.post(accounts, json!({"metadata": {"name": "robot"}})).await;
    site.post(
        secrets,
        json!({"metadata": {"name": "robot-token", "annotations": {"kubernetes.io/service-account.name": "robot"}},
            "type": "kubernetes.io/service-account-token"}),
    )
    .await;
    let template = json!({"metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": "web:1"}]}});
    let selector = json!({"matchLabels": {"app": "web"}});
    let deployments = "/apis/apps/v1/namespaces/tenant/deployments";
    for name in ["deleted", "edited"] {
        site.post(
            deployments,
            json!({"metadata": {"name": name}, "spec": {"selector": selector, "template": template}}),
        )
        .await;
    }
    let job = json!({"metadata": {"name": "work"}, "spec": {"suspend": true, "template":
        {"spec": {"restartPolicy": "Never", "containers": [{"name": "w", "image": "w:1"}]}}}});
    site.post("/apis/batch/v1/namespaces/tenant/jobs", job).await;
    let token = format!("{secrets}/robot-token");
    site.until(async || site.get(&token).await.unwrap()["data"]["token"].is_string()).await;
    for name in ["deleted", "edited"] {
        let url = format!("{deployments}/{name}");
        site.until(async || site.get(&url).await.unwrap()["status"]["replicas"] == 1).await;
    }
    let wanted = site.snapshot().await;

    site.delete(&format!("{deployments}/deleted")).await;
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "web:2"}]}}}});
    site.patch(&format!("{deployments}/edited"), image).await;
    site.delete("/apis/batch/v1/namespaces/tenant/jobs/work?propagationPolicy=Background").await;
    site.delete(&format!("{accounts}/robot")).await;
    site.until(async || site.get(&token).await.is_none()).await;
    let restored = site.restore(&wanted, Wait::Skip).await;
    let touched = |part: &str| restored.plan.actions.iter().any(|action| action.path.contains(part));
    assert!(!touched("/pods/") && !touched("/replicasets/"), "{:#?}", actions(&restored.plan));
    site.until(async || site.get(&token).await.unwrap()["data"]["token"].is_string()).await;

    // The whole namespace: its default account and its CA appear by themselves.
    site.delete("/api/v1/namespaces/tenant").await;
    site.until(async || site.get("/api/v1/namespaces/tenant").await.is_none()).await;
    let restored = site.restore(&wanted, Wait::Skip).await;
    assert!(touched_create(&restored.plan.actions, "cluster/core/serviceaccounts/tenant/default.json"));
    assert!(!restored.plan.actions.iter().any(|action| action.path.contains("kube-root-ca.crt")));
    let account = site.get(&format!("{accounts}/default")).await.unwrap();
    assert_eq!(account["imagePullSecrets"][0]["name"], "registry");
}

fn touched_create(actions: &[snapback::restore::Action], path: &str) -> bool {
    actions.iter().any(|action| action.path == path && matches!(action.operation, Operation::Create { .. }))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_never_list_is_left_alone() {
    let site = Site::start(Options::default().controllers()).await;
    site.namespace("tenant").await;
    let wanted = site.snapshot().await;
    let pods = "/api/v1/namespaces/tenant/pods";
    site.post(pods, json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "c:1"}]}})).await;
    site.post("/api/v1/nodes", json!({"metadata": {"name": "extra-node"}})).await;
    site.patch("/api/v1/namespaces/tenant/configmaps/kube-root-ca.crt", json!({"metadata": {"labels": {"a": "b"}}}))
        .await;
    let role = "/apis/rbac.authorization.k8s.io/v1/clusterroles/view";
    site.patch(role, json!({"metadata": {"labels": {"mine": "yes"}}})).await;
    let restored = site.restore(&wanted, Wait::Skip).await;
    let update = "update cluster/rbac.authorization.k8s.io/clusterroles/_/view.json".to_owned();
    assert_eq!(actions(&restored.plan), [update], "changed in place, and nothing else");
    assert!(site.get(&format!("{pods}/p")).await.is_some());
    assert!(site.get("/api/v1/nodes/extra-node").await.is_some());
    let skipped: Vec<&str> = restored.plan.skipped.iter().map(|skipped| skipped.path.as_str()).collect();
    assert!(skipped.contains(&"cluster/core/pods/tenant/p.json"), "{skipped:?}");
    assert!(skipped.contains(&"cluster/core/nodes/_/extra-node.json"), "{skipped:?}");
}
