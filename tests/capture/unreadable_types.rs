//! Types that the API server itself cannot read: bytes in etcd that are no object, objects at a version that is gone.

use http::Method;
use serde_json::json;
use snapback::cluster::Cluster;

use super::taking::{connect, crd, create, create_crd, take, wait_until};
use crate::harness::control_plane::{ControlPlane, Options};
use crate::harness::sample::soak;
use crate::harness::snapback::Snapback;

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
/// How often a read is sent that gets 429 with "(re)initializing" (`cluster::request`).
const ATTEMPTS: usize = 3;

#[tokio::test(flavor = "multi_thread")]
async fn what_the_api_server_cannot_read_is_missing_and_named_and_the_rest_is_there() {
    let control_plane = ControlPlane::start(&Options::default());
    let cluster = connect(&control_plane).await;
    create_crd(&cluster, &crd("sounds", &["v1"])).await;
    put(&cluster, "sounds", "v1").await;
    leave_behind(&cluster).await;
    // There before the type is, so that its cache is never ready.
    control_plane.etcdctl(&["put", "/registry/test.snapback/brokens/default/a", "garbage"]);
    create(&cluster, CRDS, &crd("brokens", &["v1"])).await;
    wait_until(async || cluster.get("/apis/test.snapback/v1/brokens").await.unwrap_err().status() != Some(404)).await;

    let mark = "/apis/test.snapback/v1/brokens?timeoutSeconds=77";
    let refused = cluster.get(mark).await.unwrap_err();
    assert_eq!(refused.status(), Some(429), "{refused}");
    assert!(refused.to_string().contains("storage is (re)initializing"), "{refused}");
    let asked = control_plane.audit_log().iter().filter(|event| event.uri == mark).count();
    assert_eq!(asked, ATTEMPTS, "such an answer is no throttling");

    let taken = take(&cluster).await;
    let missing: Vec<_> = taken.capture.unlistable.iter().map(|missing| missing.resource.as_str()).collect();
    assert_eq!(missing, ["brokens", "lefts"]);
    let (status, words) = taken.missing("brokens").unwrap();
    assert!(status == 500 && words.contains("corrupt object"), "{status}: {words}");
    let (status, words) = taken.missing("lefts").unwrap();
    assert!(status == 500 && words.contains("test.snapback/v1"), "{status}: {words}");
    assert!(taken.object("cluster/test.snapback/sounds/default/a.json").await.is_some());

    let snapback = Snapback::new().with_kubeconfig(&control_plane.kubeconfig());
    snapback.ok(&["init"]);
    let run = snapback.run(&["backup"]);
    assert_eq!(run.code, 3, "{}", run.all());
    for name in ["brokens.test.snapback", "lefts.test.snapback"] {
        assert!(run.stderr.contains(&format!("cannot list {name}")), "{name}: {}", run.all());
    }

    if soak() {
        // Broken while the API server runs: 504 for half a minute, since the cache stands still, and only then 500.
        control_plane.etcdctl(&["put", "/registry/podtemplates/default/a", "garbage"]);
        let key = "/registry/apiextensions.k8s.io/customresourcedefinitions/a.test.snapback";
        control_plane.etcdctl(&["put", key, "garbage"]);
        let taken = take(&cluster).await;
        for resource in ["brokens", "customresourcedefinitions", "podtemplates"] {
            assert!(taken.missing(resource).is_some(), "{resource}: {:?}", taken.capture.unlistable);
        }
        assert!(taken.object("cluster/test.snapback/sounds/default/a.json").await.is_some());
    }
}

async fn put(cluster: &Cluster, plural: &str, version: &str) {
    let object = json!({
        "apiVersion": format!("test.snapback/{version}"), "kind": format!("Kind{plural}"), "metadata": {"name": "a"},
    });
    create(cluster, &format!("/apis/test.snapback/{version}/namespaces/default/{plural}"), &object).await;
}

/// An object that is stored at a version which its CRD then loses: the API server takes every step of it.
async fn leave_behind(cluster: &Cluster) {
    create_crd(cluster, &crd("lefts", &["v1"])).await;
    put(cluster, "lefts", "v1").await;
    let change = async |subresource: &str, patch: serde_json::Value| {
        let url = format!("{CRDS}/lefts.test.snapback{subresource}");
        let patch = Some(patch.to_string().into_bytes());
        cluster.send_as(Method::PATCH, &url, "application/merge-patch+json", patch).await.unwrap();
    };
    let versions = |names: &[&str]| json!({"spec": {"versions": crd("lefts", names)["spec"]["versions"]}});
    change("", versions(&["v2", "v1"])).await;
    change("/status", json!({"status": {"storedVersions": ["v2"]}})).await;
    change("", versions(&["v2"])).await;
    let gone =
        async || cluster.get("/apis/test.snapback/v2/lefts?limit=500").await.is_err_and(|e| e.status() == Some(500));
    wait_until(gone).await;
}
