//! Admission that refuses: it is named in the plan, the rest of the restore goes on, and nothing is lost by it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Method;
use serde_json::{Value, json};
use snapback::restore::{Action, Plan, Wait};

use super::site::{Site, actions, failures};
use crate::harness::control_plane::Options;

const POLICIES: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
const BINDINGS: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";
const WEBHOOKS: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";

/// A policy that refuses what its expression does not hold for, in force in one namespace.
async fn policy(site: &Site, name: &str, namespace: &str, operations: &[&str], expression: &str) {
    let rule = json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": operations, "resources": ["configmaps"]});
    site.post(
        POLICIES,
        json!({"metadata": {"name": name}, "spec": {"failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [rule]}, "validations": [{"expression": expression}]}}),
    )
    .await;
    let selector = json!({"matchLabels": {"kubernetes.io/metadata.name": namespace}});
    site.post(
        BINDINGS,
        json!({"metadata": {"name": format!("{name}-binding")}, "spec": {"policyName": name,
            "validationActions": ["Deny"], "matchResources": {"namespaceSelector": selector}}}),
    )
    .await;
}

/// A webhook without whose answer nothing may be written in one namespace, at an address where nobody answers.
fn webhook(name: &str, namespace: Option<&str>, url: &str, resources: &[&str]) -> Value {
    let selector = match namespace {
        Some(namespace) => json!({"matchLabels": {"kubernetes.io/metadata.name": namespace}}),
        None => json!({}),
    };
    let rule = json!({"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": resources});
    json!({"metadata": {"name": name}, "webhooks": [{"name": format!("{name}.example.com"), "rules": [rule],
        "clientConfig": {"url": url}, "failurePolicy": "Fail", "sideEffects": "None", "timeoutSeconds": 1,
        "namespaceSelector": selector, "admissionReviewVersions": ["v1"]}]})
}

/// Waits until what was put in the way is in force: it takes a second.
async fn refused(site: &Site, method: Method, url: &str, body: Value) {
    let body = serde_json::to_vec(&body).unwrap();
    let url = format!("{url}?dryRun=All");
    site.until(async || site.cluster.send(method.clone(), &url, Some(body.clone())).await.is_err()).await;
}

fn action<'a>(plan: &'a Plan, name: &str) -> &'a Action {
    plan.actions.iter().find(|action| action.path.ends_with(&format!("/{name}.json"))).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_would_refuse_is_in_the_plan_and_the_rest_is_restored() {
    const SPACE: &str = "refusals";
    let site = Site::in_namespace(SPACE).await;
    let url = |resource: &str| format!("/api/v1/namespaces/{SPACE}/{resource}");
    let (maps, secrets, claims) = (url("configmaps"), url("secrets"), url("persistentvolumeclaims"));
    let map = |name: &str| json!({"metadata": {"name": name}, "data": {"a": "1"}});
    for name in ["free", "guarded", "guarded-new"] {
        site.post(&maps, map(name)).await;
    }
    let frozen = |value: &str| json!({"metadata": {"name": "frozen"}, "immutable": true, "data": {"a": value}});
    site.post(&maps, frozen("1")).await;
    site.post(&secrets, json!({"metadata": {"name": "locked"}, "stringData": {"password": "hunter2-before"}})).await;
    site.post(
        &claims,
        json!({"metadata": {"name": "big"}, "spec": {"accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "2Gi"}}}}),
    )
    .await;
    // Nobody takes its protection off here, and with the LimitRange it cannot be written any more.
    site.patch(&format!("{claims}/big"), json!({"metadata": {"finalizers": null}})).await;
    let limits = json!([{"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}}]);
    site.post(&url("limitranges"), json!({"metadata": {"name": "small"}, "spec": {"limits": limits}})).await;
    let wanted = site.snapshot().await;

    for (list, name) in [(&maps, "guarded-new"), (&maps, "frozen"), (&claims, "big"), (&secrets, "locked")] {
        site.remove(&format!("{list}/{name}")).await;
    }
    let old = site.post(&maps, frozen("2")).await;
    for name in ["free", "guarded"] {
        site.patch(&format!("{maps}/{name}"), json!({"data": {"a": "2"}})).await;
    }
    site.post(&maps, map("guarded-extra")).await;
    let no = "!object.metadata.name.startsWith('guarded') && object.metadata.name != 'frozen'";
    policy(&site, "refusals-writes", SPACE, &["CREATE", "UPDATE"], no).await;
    policy(&site, "refusals-deletes", SPACE, &["DELETE"], "!oldObject.metadata.name.startsWith('guarded')").await;
    site.post(WEBHOOKS, webhook("refusals", Some(SPACE), "https://127.0.0.1:1/", &["secrets"])).await;
    refused(&site, Method::POST, &maps, map("guarded-probe")).await;
    refused(&site, Method::DELETE, &format!("{maps}/guarded-extra"), json!({"dryRun": ["All"]})).await;
    refused(&site, Method::POST, &secrets, json!({"metadata": {"name": "probe"}})).await;

    // Of this namespace: others work on the same control plane.
    let content = async || {
        let tree = site.capture(Some(wanted.clone())).await;
        let mut hashes = Vec::new();
        for resource in ["configmaps", "secrets", "persistentvolumeclaims"] {
            let entry = tree.entry(&format!("cluster/core/{resource}/{SPACE}")).await.unwrap();
            hashes.push(entry.map(|entry| entry.hash));
        }
        hashes
    };
    let before = content().await;
    let (live, plan) = site.plan(&wanted).await;
    assert_eq!(content().await, before, "planning changed something");
    let writes = "policy `refusals-writes` (binding `refusals-writes-binding`) refuses it";
    let expected = [
        ("create", "guarded-new", writes),
        ("update", "guarded", writes),
        ("recreate", "frozen", writes),
        ("delete", "guarded-extra", "policy `refusals-deletes` (binding `refusals-deletes-binding`) refuses it"),
        (
            "create",
            "locked",
            "webhook `refusals.example.com` does not answer, and nothing may be written without its answer",
        ),
        ("create", "big", "a LimitRange of its namespace refuses it"),
    ];
    for (verb, name, who) in expected {
        let action = action(&plan, name);
        assert_eq!(action.operation.verb(), verb, "{name}");
        assert_eq!(action.refused.as_ref().map(ToString::to_string).as_deref(), Some(who), "{name}");
        assert!(!action.unchecked, "{name}");
    }
    assert_eq!((action(&plan, "free").refused.as_ref(), action(&plan, "free").unchecked), (None, false));
    assert_eq!(plan.refusals().values().map(Vec::len).sum::<usize>(), expected.len());

    let applied = site.apply(&live, &plan, &wanted, &snapback::progress::Silent).await.unwrap();
    let failures = failures(&applied);
    assert_eq!(failures.len(), expected.len(), "{failures:#?}");
    for (_, name, who) in expected {
        assert_eq!(failures[&action(&plan, name).path], who);
    }
    assert!(!format!("{applied:?}").contains("hunter2"));
    let data = async |name: &str| site.get(&format!("{maps}/{name}")).await.unwrap()["data"]["a"].clone();
    assert_eq!(data("free").await, "1", "the rest is restored");
    assert_eq!(data("guarded").await, "2");
    // What could not be made anew was not deleted for it.
    let kept = site.get(&format!("{maps}/frozen")).await.unwrap();
    assert_eq!((&kept["metadata"]["uid"], &kept["data"]["a"]), (&old["metadata"]["uid"], &json!("2")));

    // Without what refused, a second run does the rest.
    for (list, name) in
        [(BINDINGS, "refusals-writes-binding"), (BINDINGS, "refusals-deletes-binding"), (WEBHOOKS, "refusals")]
    {
        site.delete(&format!("{list}/{name}")).await;
    }
    site.delete(&format!("{}/small", url("limitranges"))).await;
    let probe = format!("{maps}?dryRun=All");
    let body = serde_json::to_vec(&map("guarded-probe")).unwrap();
    site.until(async || site.cluster.send(Method::POST, &probe, Some(body.clone())).await.is_ok()).await;
    site.restore(&wanted, Wait::Skip).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_hangs_does_not_make_a_plan_take_hours() {
    const SPACE: &str = "hanging";
    let site = Site::in_namespace(SPACE).await;
    let maps = format!("/api/v1/namespaces/{SPACE}/configmaps");
    for number in 0..60 {
        site.post(&maps, json!({"metadata": {"name": format!("m{number}")}})).await;
    }
    let wanted = site.snapshot().await;
    for number in 0..60 {
        site.delete(&format!("{maps}/m{number}")).await;
    }
    // It takes connections and never says a word.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let hanging = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            held.push(connection);
        }
    });
    site.post(WEBHOOKS, webhook("hanging", Some(SPACE), &url, &["configmaps"])).await;
    refused(&site, Method::POST, &maps, json!({"metadata": {"name": "probe"}})).await;

    let before = calls.load(Ordering::Relaxed);
    let (_, plan) = site.plan(&wanted).await;
    let asked = calls.load(Ordering::Relaxed) - before;
    assert!((16..40).contains(&asked), "{asked} of 60 waited for an answer");
    let named = plan.refusals().values().map(Vec::len).sum::<usize>();
    assert!((16..40).contains(&named), "{named}");
    assert_eq!(plan.actions.iter().filter(|action| action.unchecked).count(), 60 - named, "the others are said to be");
    hanging.abort();
    site.delete(&format!("{WEBHOOKS}/hanging")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_upgrade_put_in_everybodys_way_goes_first() {
    let site = Site::start(Options::default()).await;
    let maps = "/api/v1/namespaces/default/configmaps";
    let wanted = site.snapshot_and_changes(maps).await;
    policy(&site, "closed", "default", &["*"], "false").await;
    refused(&site, Method::POST, maps, json!({"metadata": {"name": "probe"}})).await;
    // Nothing at all can be written any more, save for webhook configurations themselves.
    site.post(WEBHOOKS, webhook("everything", None, "https://127.0.0.1:1/", &["*/*"])).await;
    refused(&site, Method::POST, maps, json!({"metadata": {"name": "probe"}})).await;
    site.until(async || {
        let (_, plan) = site.plan(&wanted).await;
        plan.actions.iter().filter(|action| action.path.contains("/configmaps/")).all(|action| action.refused.is_some())
    })
    .await;

    let restored = site.restore(&wanted, Wait::Skip).await;
    let steps = actions(&restored.plan);
    let first = steps.iter().position(|step| step.contains("/configmaps/")).unwrap();
    let last = steps.iter().rposition(|step| step.contains("/admissionregistration.k8s.io/")).unwrap();
    assert!(last < first, "{steps:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_is_used_up_is_named_until_the_extras_are_gone() {
    let mut site = Site::start(Options::default().controllers()).await;
    site.namespace("tenant").await;
    let (maps, quotas) = ("/api/v1/namespaces/tenant/configmaps", "/api/v1/namespaces/tenant/resourcequotas");
    site.until(async || site.get(&format!("{maps}/kube-root-ca.crt")).await.is_some()).await;
    for name in ["a", "b"] {
        site.post(maps, json!({"metadata": {"name": name}})).await;
    }
    let frozen = |value: &str| json!({"metadata": {"name": "frozen"}, "immutable": true, "data": {"a": value}});
    site.post(maps, frozen("1")).await;
    site.post(quotas, json!({"metadata": {"name": "few"}, "spec": {"hard": {"count/configmaps": "4"}}})).await;
    let used = async || site.get(&format!("{quotas}/few")).await.unwrap()["status"]["used"]["count/configmaps"].clone();
    site.until(async || used().await == "4").await;
    let wanted = site.snapshot().await;

    for name in ["b", "frozen"] {
        site.delete(&format!("{maps}/{name}")).await;
    }
    site.until(async || used().await == "2").await;
    site.post(maps, frozen("2")).await;
    site.post(maps, json!({"metadata": {"name": "extra"}})).await;
    site.until(async || used().await == "4").await;

    // What is in the way is no part of this restore.
    site.only(&["configmaps/tenant/b"]);
    let restored = site.try_restore(&wanted, Wait::Skip).await;
    let path = "cluster/core/configmaps/tenant/b.json";
    let who = "quota `few` of its namespace is used up";
    assert_eq!(action(&restored.plan, "b").refused.as_ref().unwrap().to_string(), who);
    assert_eq!(failures(&restored.applied), [(path.to_owned(), who.to_owned())].into());
    assert!(!restored.proof.holds());

    // All of it: what is made anew makes room for itself, and the extra one for the missing one.
    site.only(&["namespaces/tenant", "cluster/*/*/tenant/**"]);
    let restored = site.restore(&wanted, Wait::Skip).await;
    assert_eq!(restored.plan.counts().recreate, 1);
    assert_eq!(site.get(&format!("{maps}/frozen")).await.unwrap()["data"]["a"], "1");
}
