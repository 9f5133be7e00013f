//! What is left alone stays so on a real API server, each rule can be switched off by its name, and what hangs says why.

use http::Method;
use serde_json::{Value, json};
use snapback::restore::{Operation, SkipReason, Wait};

use super::site::{CRDS, Site, actions, essence, failures};
use crate::harness::control_plane::Options;

/// Types of others, and the rule that covers each.
const TYPES: [(&str, &str, &str, &str); 5] = [
    ("internal.linstor.linbit.com", "volumes", "Volumes", "linstor"),
    ("cluster.x-k8s.io", "machines", "Machine", "machines"),
    ("infrastructure.cluster.x-k8s.io", "proxmoxmachines", "ProxmoxMachine", "machines"),
    ("kubevirt.io", "virtualmachineinstances", "VirtualMachineInstance", "virtualmachineinstances"),
    ("cilium.io", "ciliumendpoints", "CiliumEndpoint", "cilium-state"),
];

fn list_of(group: &str, plural: &str) -> String {
    format!("/apis/{group}/v1/namespaces/default/{plural}")
}

fn object(group: &str, kind: &str, name: &str) -> Value {
    json!({"apiVersion": format!("{group}/v1"), "kind": kind, "metadata": {"name": name}, "spec": {"size": 1}})
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_somebody_elses_is_left_alone_and_forced_by_name() {
    let mut site = Site::start(Options::default().controllers()).await;
    for (group, plural, kind, _) in TYPES {
        let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}});
        // Some of these groups are protected: the API server asks for their approval.
        let approval = json!({"api-approved.kubernetes.io": "unapproved, testing-only"});
        let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.{group}"), "annotations": approval},
            "spec": {"group": group, "scope": "Namespaced", "versions": [version],
                "names": {"plural": plural, "kind": kind, "singular": kind.to_lowercase()}}});
        site.post(CRDS, crd).await;
        let list = list_of(group, plural);
        site.until(async || site.get(&list).await.is_some()).await;
        for name in ["edited", "deleted"] {
            site.post(&list, object(group, kind, name)).await;
        }
    }
    let job = json!({"metadata": {"name": "done"}, "spec": {"template": {"spec": {"restartPolicy": "Never",
        "containers": [{"name": "c", "image": "c:1"}]}}}});
    let jobs = "/apis/batch/v1/namespaces/default/jobs";
    site.post(jobs, job).await;
    // As the Job controller does when the pods of a Job have ended, which nobody here lets them.
    let (done, now) = (format!("{jobs}/done"), "2026-11-28T00:00:00Z");
    let condition =
        |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": now, "lastProbeTime": now});
    let status = json!({"status": {"startTime": now, "completionTime": now, "succeeded": 1, "active": 0, "ready": 0,
        "terminating": 0, "uncountedTerminatedPods": {},
        "conditions": [condition("SuccessCriteriaMet"), condition("Complete")]}});
    site.patch(&done, json!({"spec": {"suspend": true}})).await;
    site.until(async || site.get(&done).await.unwrap()["status"]["active"].is_null()).await;
    site.patch(&format!("{done}/status"), status).await;
    site.only(&[
        "*.internal.linstor.linbit.com",
        "machines.cluster.x-k8s.io",
        "proxmoxmachines.infrastructure.cluster.x-k8s.io",
        "virtualmachineinstances.kubevirt.io",
        "ciliumendpoints.cilium.io",
        "jobs.batch",
    ]);
    let wanted = site.snapshot().await;

    for (group, plural, kind, _) in TYPES {
        let list = list_of(group, plural);
        site.patch(&format!("{list}/edited"), json!({"spec": {"size": 2}})).await;
        site.delete(&format!("{list}/deleted")).await;
        site.post(&list, object(group, kind, "added")).await;
    }
    site.delete(&format!("{done}?propagationPolicy=Background")).await;
    site.until(async || site.get(&done).await.is_none()).await;

    let restored = site.restore(&wanted, Wait::Skip).await;
    assert!(restored.plan.actions.is_empty(), "{:#?}", actions(&restored.plan));
    let rule = |path: &str| {
        let skipped = restored.plan.skipped.iter().find(|skipped| skipped.path == path);
        match skipped.map(|skipped| &skipped.reason) {
            Some(SkipReason::NeverList { rule }) => rule.clone(),
            other => panic!("{path}: {other:?}"),
        }
    };
    for (group, plural, _, expected) in TYPES {
        for name in ["edited", "deleted", "added"] {
            assert_eq!(rule(&format!("cluster/{group}/{plural}/default/{name}.json")), expected);
        }
    }
    assert_eq!(rule("cluster/batch/jobs/default/done.json"), "finished-jobs");

    // Whoever knows better says so by name, and then it is an object like any other.
    site.options.force_kinds =
        ["linstor", "machines", "virtualmachineinstances", "cilium-state"].map(str::to_owned).to_vec();
    let restored = site.restore(&wanted, Wait::Skip).await;
    let counts = restored.plan.counts();
    assert_eq!((counts.create, counts.update, counts.delete), (5, 5, 5), "{:#?}", actions(&restored.plan));
    site.options.force_kinds = vec!["finished-jobs".to_owned()];
    let (_, plan) = site.plan(&wanted).await;
    assert_eq!(actions(&plan), ["create cluster/batch/jobs/default/done.json"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_hangs_says_which_finalizer_holds_it() {
    let mut site = Site::start(Options::default().controllers()).await;
    site.options.patience = std::time::Duration::from_secs(3);
    let wanted = site.snapshot().await;
    site.namespace("hung").await;
    let maps = "/api/v1/namespaces/hung/configmaps";
    site.post(maps, json!({"metadata": {"name": "held", "finalizers": ["db.example/hold"]}})).await;
    // It is known what holds it before anybody waits for it.
    site.delete("/api/v1/namespaces/hung").await;
    let namespace = async || site.get("/api/v1/namespaces/hung").await.unwrap()["status"].to_string();
    site.until(async || namespace().await.contains("db.example/hold in 1 resource instances")).await;
    site.only(&["namespaces/hung"]);
    let restored = site.try_restore(&wanted, Wait::Skip).await;
    assert_eq!(actions(&restored.plan), ["delete cluster/core/namespaces/_/hung.json"]);
    let said = &failures(&restored.applied)["cluster/core/namespaces/_/hung.json"];
    assert!(said.contains("it is still there after 3 s, held by kubernetes"), "{said}");
    assert!(said.contains("db.example/hold in 1 resource instances"), "{said}");
    assert!(!restored.proof.holds());
    site.patch(&format!("{maps}/held"), json!({"metadata": {"finalizers": null}})).await;
    site.until(async || site.get("/api/v1/namespaces/hung").await.is_none()).await;
    site.restore(&wanted, Wait::Skip).await;
}

/// Applies as this manager; without force, as somebody who minds what others own.
async fn applied(site: &Site, url: &str, manager: &str, object: Value, force: bool) -> Result<Value, String> {
    let url = format!("{url}?fieldManager={manager}&force={force}");
    let body = Some(object.to_string().into_bytes());
    let answer = site.cluster.send_as(Method::PATCH, &url, "application/apply-patch+yaml", body).await;
    answer.map(|bytes| serde_json::from_slice(&bytes).unwrap()).map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_applied_a_field_owns_it_again() {
    let site = Site::start(Options::default()).await;
    let maps = "/api/v1/namespaces/default/configmaps";
    let map = |name: &str, data: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data});
    let urls = ["edited", "deleted"].map(|name| format!("{maps}/{name}"));
    for (url, name) in urls.iter().zip(["edited", "deleted"]) {
        applied(&site, url, "gitops", map(name, json!({"a": "1", "b": "1"})), false).await.unwrap();
        applied(&site, url, "operator", map(name, json!({"c": "1"})), false).await.unwrap();
    }
    let before = [site.get(&urls[0]).await.unwrap(), site.get(&urls[1]).await.unwrap()];
    let wanted = site.snapshot().await;

    // Somebody takes a field from its owner, and the operator gives one up.
    applied(&site, &urls[0], "somebody", map("edited", json!({"a": "2"})), true).await.unwrap();
    applied(&site, &urls[0], "operator", map("edited", json!({})), false).await.unwrap();
    site.delete(&urls[1]).await;
    let restored = site.restore(&wanted, Wait::Skip).await;
    let update = |action: &&snapback::restore::Action| matches!(action.operation, Operation::Update { .. });
    assert_eq!(restored.plan.actions.iter().filter(update).count(), 1);
    for (url, (name, before)) in urls.iter().zip(["edited", "deleted"].into_iter().zip(&before)) {
        let after = site.get(url).await.unwrap();
        assert_eq!(after["metadata"]["managedFields"], before["metadata"]["managedFields"], "{name}");
        assert_eq!(essence(&after), essence(before), "{name}");
        // Its owner changes it without a conflict, anybody else meets one.
        let others = applied(&site, url, "somebody", map(name, json!({"a": "3"})), false).await;
        assert!(others.unwrap_err().contains("409"), "{name}");
        applied(&site, url, "gitops", map(name, json!({"a": "3", "b": "1"})), false).await.unwrap();
    }
}
