//! Objects that do not take a simple write.

use serde_json::{Value, json};
use snapback::restore::{Operation, Wait};

use super::site::{Site, actions, essence};
use crate::harness::control_plane::Options;
use crate::harness::snapback::Snapback;

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

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_would_have_to_be_deleted_is_left_alone_with_the_way_out() {
    let site = Site::start(Options::default().controllers()).await;
    let (volumes, claims) = ("/api/v1/persistentvolumes", "/api/v1/namespaces/default/persistentvolumeclaims");
    let claim = |modes: &str| {
        json!({"metadata": {"name": "data"}, "spec": {"accessModes": [modes], "storageClassName": "",
            "volumeName": "disk", "resources": {"requests": {"storage": "1Gi"}}}})
    };
    site.post(
        volumes,
        json!({"metadata": {"name": "disk"}, "spec": {"capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce", "ReadWriteMany"], "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": "", "hostPath": {"path": "/nowhere"}}}),
    )
    .await;
    site.post(claims, claim("ReadWriteOnce")).await;
    let (data, disk) = (format!("{claims}/data"), format!("{volumes}/disk"));
    let bound = async || site.get(&data).await.is_some_and(|claim| claim["status"]["phase"] == "Bound");
    site.until(bound).await;
    let wanted = site.snapshot().await;
    // Another claim to the same disk took its place.
    let retain = json!({"spec": {"persistentVolumeReclaimPolicy": "Retain", "claimRef": null}});
    site.patch(&disk, json!({"spec": {"persistentVolumeReclaimPolicy": "Retain"}})).await;
    site.remove(&data).await;
    site.patch(&disk, retain).await;
    site.post(claims, claim("ReadWriteMany")).await;
    site.until(bound).await;
    site.patch(&disk, json!({"spec": {"persistentVolumeReclaimPolicy": "Delete"}})).await;
    // A claim that its controller writes while it is tried by a dry run is told by the next plan only.
    let version = async || site.get(&data).await.map(|claim| claim["metadata"]["resourceVersion"].clone());
    site.until(async || {
        let before = version().await;
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        before == version().await
    })
    .await;

    let restored = site.try_restore(&wanted, Wait::Skip).await;
    let [skipped] =
        restored.plan.skipped.iter().filter(|skipped| skipped.path.contains("claims")).collect::<Vec<_>>()[..]
    else {
        panic!("{:#?}", restored.plan)
    };
    assert_eq!(
        skipped.reason.to_string(),
        "spec cannot be changed, and deleting a claim can take its volume's data with it; to have it back as it was, \
         set the persistentVolumeReclaimPolicy of volume disk to Retain, stop the pods that use the claim, delete the \
         claim, and restore again"
    );
    assert!(!restored.proof.holds());
    assert!(bound().await, "it still has its volume");

    // Done as it says.
    site.patch(&disk, json!({"spec": {"persistentVolumeReclaimPolicy": "Retain"}})).await;
    site.remove(&data).await;
    site.restore(&wanted, Wait::Skip).await;
    site.until(bound).await;
    assert_eq!(site.get(&data).await.unwrap()["spec"]["accessModes"], json!(["ReadWriteOnce"]));
    assert_eq!(site.get(&disk).await.unwrap()["spec"]["persistentVolumeReclaimPolicy"], "Delete");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_keeps_the_pods_that_it_adopts_again_and_no_others() {
    let mut site = Site::start(Options::default().controllers()).await;
    site.namespace("work").await;
    site.only(&["cluster/*/*/work/**"]);
    let (deployments, sets) =
        ("/apis/apps/v1/namespaces/work/deployments", "/apis/apps/v1/namespaces/work/statefulsets");
    let template = |labels: &Value| json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "c:1"}]}});
    let deployment = |app: &str| {
        let labels = json!({"app": app});
        json!({"metadata": {"name": "web"},
            "spec": {"selector": {"matchLabels": labels}, "template": template(&labels)}})
    };
    let set = |service: &str| {
        let labels = json!({"app": "db"});
        json!({"metadata": {"name": "db"}, "spec": {"serviceName": service, "replicas": 1,
            "selector": {"matchLabels": labels}, "template": template(&labels)}})
    };
    let pods = async |app: &str| {
        let list = format!("/api/v1/namespaces/work/pods?labelSelector=app%3D{app}");
        let list = site.get(&list).await.unwrap()["items"].as_array().unwrap().clone();
        list.into_iter().map(|pod| pod["metadata"]["uid"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    site.post(deployments, deployment("right")).await;
    site.post(sets, set("right")).await;
    site.until(async || pods("right").await.len() == 1 && pods("db").await.len() == 1).await;
    let wanted = site.snapshot().await;

    // Both were made anew with a field that cannot be changed.
    replace(&site, deployments, deployment("wrong")).await;
    site.until(async || pods("right").await.is_empty() && pods("wrong").await.len() == 1).await;
    replace(&site, sets, set("wrong")).await;
    site.until(async || {
        pods("db").await.len() == 1 && site.get(&format!("{sets}/db")).await.unwrap()["status"]["replicas"] == 1
    })
    .await;
    let database = pods("db").await;
    let restored = site.restore(&wanted, Wait::Skip).await;
    assert_eq!(restored.plan.counts().recreate, 2, "{:#?}", restored.plan.actions);
    // The pods of a selector that is no more go; those of one that is the same stay as they are.
    site.until(async || pods("right").await.len() == 1 && pods("wrong").await.is_empty()).await;
    let adopted = format!("{sets}/db");
    let owner = site.get(&adopted).await.unwrap()["metadata"]["uid"].clone();
    site.until(async || {
        let pod = site.get("/api/v1/namespaces/work/pods/db-0").await;
        pod.is_some_and(|pod| pod["metadata"]["ownerReferences"][0]["uid"] == owner)
    })
    .await;
    assert_eq!(pods("db").await, database, "it never stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_one_default_class_comes_back_although_another_one_took_its_place() {
    let mut site = Site::start(Options::default()).await;
    site.only(&["priorityclasses"]);
    let classes = "/apis/scheduling.k8s.io/v1/priorityclasses";
    let class = |name: &str, default: bool| json!({"metadata": {"name": name}, "value": 5, "globalDefault": default});
    for (name, default) in [("deleted", true), ("edited", false)] {
        site.post(classes, class(name, default)).await;
    }
    let wanted = site.snapshot().await;
    site.delete(&format!("{classes}/deleted")).await;
    site.patch(&format!("{classes}/edited"), json!({"globalDefault": true})).await;
    // Two defaults at a time are refused: it is tried again once the other one is none any more.
    let restored = site.restore(&wanted, Wait::Skip).await;
    let create = restored.plan.actions.iter().find(|action| action.path.contains("deleted")).unwrap();
    assert!(create.refused.is_some(), "{create:?}");
    assert_eq!(site.get(&format!("{classes}/deleted")).await.unwrap()["globalDefault"], true);
}

async fn is_unavailable(site: &Site) -> bool {
    let found = site.get("/apis/apiregistration.k8s.io/v1/apiservices/v1.dead.example").await.unwrap();
    found["status"]["conditions"].as_array().is_some_and(|all| all.iter().any(|one| one["status"] == "False"))
}

async fn is_held_up(site: &Site) -> bool {
    let namespace = site.get("/api/v1/namespaces/held").await.unwrap();
    namespace["status"].to_string().contains("NamespaceDeletionDiscoveryFailure")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_an_api_server_nobody_has_holds_up_says_so() {
    let mut site = Site::start(Options::default().controllers()).await;
    site.namespace("held").await;
    let services = "/apis/apiregistration.k8s.io/v1/apiservices";
    let remote = json!({"metadata": {"name": "v1.dead.example"}, "spec": {"group": "dead.example", "version": "v1",
        "groupPriorityMinimum": 100, "versionPriority": 100, "insecureSkipTLSVerify": true,
        "service": {"namespace": "default", "name": "nobody"}}});
    site.post(services, remote.clone()).await;
    site.until(async || is_unavailable(&site).await).await;
    let with_it = site.snapshot().await;
    site.delete("/api/v1/namespaces/held").await;
    site.until(async || is_held_up(&site).await).await;

    // It was there before: that is not this restore's to change.
    site.options.patience = std::time::Duration::from_secs(3);
    site.only(&["namespaces/held", "apiservices"]);
    let restored = site.try_restore(&with_it, Wait::Skip).await;
    let problem = format!("{:?}", restored.applied.failures().collect::<Vec<_>>());
    assert!(problem.contains("it is still there after 3 s") && problem.contains("dead.example"), "{problem}");
    assert!(site.get(&format!("{services}/v1.dead.example")).await.is_some());

    // It came later: it goes before anything waits for what it holds up.
    let without_it = {
        site.delete(&format!("{services}/v1.dead.example")).await;
        site.until(async || site.get("/api/v1/namespaces/held").await.is_none()).await;
        site.namespace("held").await;
        site.snapshot().await
    };
    site.post(services, remote).await;
    site.until(async || is_unavailable(&site).await).await;
    site.delete("/api/v1/namespaces/held").await;
    site.until(async || is_held_up(&site).await).await;
    site.options.patience = std::time::Duration::from_secs(240);
    site.restore(&without_it, Wait::Skip).await;
}

/// The volume controller lets go of a volume a moment after its claim is gone, perhaps after the plan was made; and a
/// volume lies in no namespace, so that it is not selected with its claim.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_comes_back_brings_its_volume_along() {
    // On a control plane of its own: a volume is seen by everybody.
    let mut site = Site::start(Options::default()).await;
    site.only(&["namespaces/volume-late", "cluster/*/*/volume-late/**"]);
    site.post("/api/v1/namespaces", json!({"metadata": {"name": "volume-late"}})).await;
    let (volume, claims) =
        ("/api/v1/persistentvolumes/pv-late", "/api/v1/namespaces/volume-late/persistentvolumeclaims");
    let size = json!({"storage": "1Gi"});
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "", "volumeName": "pv-late",
            "resources": {"requests": size}}});
    let claim = site.post(claims, claim).await;
    let reference = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": "volume-late",
        "name": "data", "uid": claim["metadata"]["uid"]});
    let snapback = Snapback::new().with_kubeconfig(&site.control_plane().kubeconfig());
    snapback.ok(&["init"]);
    let made = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv-late"},
        "spec": {"capacity": size, "accessModes": ["ReadWriteOnce"], "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "", "hostPath": {"path": "/tmp/late"}, "claimRef": reference}});
    site.post("/api/v1/persistentvolumes", made).await;
    let wanted = site.snapshot().await;

    snapback.ok(&["backup"]);
    let data = format!("{claims}/data");
    site.patch(&data, json!({"metadata": {"finalizers": null}})).await;
    site.remove(&data).await;
    // A line of what was not selected says why it is there.
    let dry = ["restore", "1", "--dry-run", "--only", "namespaces/volume-late", "--only", "cluster/*/*/volume-late/**"];
    let shown = snapback.ok(&dry).stdout;
    let line = shown.lines().find(|line| line.starts_with("  ~ persistentvolumes pv-late: ")).unwrap_or(&shown);
    assert!(line.ends_with(" (not selected itself, but its claim, which comes back)"), "{shown}");
    let actions_of_plan = snapback.json(&dry)["plan"]["actions"].clone();
    let selected: Vec<_> =
        actions_of_plan.as_array().unwrap().iter().map(|action| action["selected"].clone()).collect();
    assert_eq!(selected, [false, true], "{actions_of_plan:#}");
    let restored = site.try_restore(&wanted, Wait::Skip).await;
    assert_eq!(
        actions(&restored.plan),
        [
            "update cluster/core/persistentvolumes/_/pv-late.json",
            "create cluster/core/persistentvolumeclaims/volume-late/data.json"
        ]
    );
    // It waits for whoever has the claim's name; the old UID would make the new claim a lost one.
    assert_eq!(site.get(volume).await.unwrap()["spec"]["claimRef"]["uid"], json!(null));
    site.patch(volume, json!({"metadata": {"finalizers": null}})).await;
    site.delete(volume).await;
}
