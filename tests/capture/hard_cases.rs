//! What is hard to capture, all in one cluster: each line of the facts that capture touches, and the issue's bad input.

use http::Method;
use serde_json::json;
use snapback::cluster::{Cluster, discover};
use snapback::snapshot::{CaptureOptions, ObjectPath, RecordedOrigin, Scope, Selection, TypeState, canonical_object};

use super::taking::{connect, crd, create, create_crd, only, take, take_after, wait_until};
use crate::harness::control_plane::{ControlPlane, Options};
use crate::harness::sample::soak;
use crate::harness::snapback::Snapback;

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test(flavor = "multi_thread")]
async fn every_object_is_there_with_the_bytes_that_a_get_gives() {
    let control_plane = ControlPlane::start(&Options::default());
    let cluster = connect(&control_plane).await;
    create_crd(&cluster, &crd("empties", &["v1"])).await;
    // One that is never served, since its kind is taken, is nothing that discovery should have.
    let mut twin = crd("twins", &["v1"]);
    twin["spec"]["names"]["kind"] = json!("Kindempties");
    create(&cluster, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &twin).await;
    control_plane.kubectl(&["wait", "--for=condition=NamesAccepted=false", "crd/twins.test.snapback", "--timeout=60s"]);
    let taken = take(&cluster).await;
    assert_eq!(taken.capture.unlistable, []);
    assert_eq!(taken.capture.attempts, 1);
    assert_eq!(taken.capture.identity, cluster.identity().await.unwrap());
    assert!(taken.capture.revision > 0);

    let types = discover(&cluster).await.unwrap();
    let mut objects = 0;
    for (path, bytes) in taken.files().await {
        let Some(object) = ObjectPath::parse(&path) else {
            assert_eq!(path, snapback::snapshot::TYPES_PATH);
            continue;
        };
        let served = types.iter().find(|t| t.group == object.group && t.resource == object.resource).unwrap();
        let now = cluster.get(&served.object_url(object.namespace.as_deref(), &object.name)).await.unwrap();
        let now = std::str::from_utf8(&now).unwrap();
        let (identity, now) = canonical_object(now, &served.api_version(), &served.kind).unwrap();
        assert_eq!(identity.name, object.name);
        assert_eq!(String::from_utf8(bytes).unwrap(), String::from_utf8(now).unwrap(), "{path}");
        objects += 1;
    }
    assert_eq!(objects, taken.capture.objects);
    assert!(objects > 100, "{objects}");

    let types = taken.types().await;
    assert_eq!(types.server, "v1.37");
    // A type with no objects is there, with none.
    let empty = types.find("test.snapback", "empties").unwrap();
    assert_eq!(
        (empty.objects(), empty.origin, empty.storage_version.as_str()),
        (Some(0), RecordedOrigin::Custom, "v1")
    );
    // Views and what was not asked for say so; what holds no objects is not mentioned.
    for (group, resource, reason) in [
        ("", "componentstatuses", "a view that is not stored"),
        ("", "events", "not asked for"),
        ("events.k8s.io", "events", "the same objects as core events"),
        ("coordination.k8s.io", "leases", "not asked for"),
    ] {
        let reason = reason.to_owned();
        assert_eq!(types.find(group, resource).unwrap().state, TypeState::Skipped { reason }, "{resource}");
        assert!(taken.capture.skipped.iter().any(|skipped| skipped.resource == resource), "{resource}");
    }
    assert_eq!(types.find("authentication.k8s.io", "tokenreviews"), None);

    let with_events = CaptureOptions { with_events: true, ..CaptureOptions::default() };
    let with_events = take_after(&cluster, &with_events, None).await.unwrap();
    assert!(with_events.types().await.find("coordination.k8s.io", "leases").unwrap().objects().unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_captures_of_an_unchanged_cluster_are_the_same_even_around_a_restart_of_the_api_server() {
    let control_plane = ControlPlane::start(&Options::default());
    let cluster = connect(&control_plane).await;
    create_crd(&cluster, &crd("things", &["v1", "v1alpha1"])).await;
    create(
        &cluster,
        "/apis/test.snapback/v1/namespaces/default/things",
        &json!({"apiVersion": "test.snapback/v1", "kind": "Kindthings", "metadata": {"name": "a"}, "spec": {"x": "<&>é"}}),
    )
    .await;
    // An API server writes a few objects of its own in its first seconds.
    let mut before = take(&cluster).await;
    for _ in 0..20 {
        let next = take_after(&cluster, &CaptureOptions::default(), Some(before.tree.clone())).await.unwrap();
        let same = next.tree.root() == before.tree.root();
        before = next;
        if same {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    control_plane.stop_server("kube-apiserver");
    control_plane.start_server("kube-apiserver");
    let after = take(&cluster).await;
    let (before, after) = (before.files().await, after.files().await);
    let version = |bytes: &[u8]| {
        let object: serde_json::Value = serde_json::from_slice(bytes).unwrap();
        object.pointer("/metadata/resourceVersion").cloned()
    };
    let mut compared = 0;
    for (path, bytes) in &before {
        let Some(then) = version(bytes) else {
            assert_eq!(after.get(path), Some(bytes), "{path}");
            continue;
        };
        let Some(now) = after.get(path).filter(|now| version(now) == Some(then)) else { continue };
        assert_eq!(String::from_utf8_lossy(now), String::from_utf8_lossy(bytes), "{path}");
        compared += 1;
    }
    assert!(compared > 100 && compared + 20 > before.len(), "{compared} of {}", before.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn names_numbers_and_versions_survive() {
    let control_plane = ControlPlane::start(&Options::default());
    let cluster = connect(&control_plane).await;
    let long = format!("{}.x", "a".repeat(251));
    let role = "a: strange (role) name ü";
    create(&cluster, CONFIG_MAPS, &json!({"metadata": {"name": long}, "data": {"k": "v"}})).await;
    create(
        &cluster,
        "/apis/rbac.authorization.k8s.io/v1/clusterroles",
        &json!({"metadata": {"name": role}, "rules": []}),
    )
    .await;
    // Stored at v1beta1, which is not the version that the server prefers.
    create_crd(&cluster, &crd("numbers", &["v1beta1", "v1"])).await;
    // The group's first version does not hold this one.
    create_crd(&cluster, &crd("olds", &["v1alpha1"])).await;
    let spec = r#"{"big":9007199254740993,"bigger":9223372036854775807,"real":1.5,"e":1e-7}"#;
    let object =
        format!(r#"{{"apiVersion":"test.snapback/v1","kind":"Kindnumbers","metadata":{{"name":"n"}},"spec":{spec}}}"#);
    let url = "/apis/test.snapback/v1/namespaces/default/numbers";
    cluster.send(Method::POST, url, Some(object.into_bytes())).await.unwrap();
    create(
        &cluster,
        "/apis/test.snapback/v1alpha1/namespaces/default/olds",
        &json!({"apiVersion": "test.snapback/v1alpha1", "kind": "Kindolds", "metadata": {"name": "o"}}),
    )
    .await;

    let taken = take(&cluster).await;
    assert_eq!(taken.capture.unlistable, []);
    let place = |group: &str, resource: &str, namespace: Option<&str>, name: &str| {
        let namespace = namespace.map(str::to_owned);
        ObjectPath { group: group.to_owned(), resource: resource.to_owned(), namespace, name: name.to_owned() }
            .to_tree_path()
    };
    let config = taken.object(&place("", "configmaps", Some("default"), &long)).await.unwrap();
    assert_eq!(config["metadata"]["name"], long);
    let found = taken.object(&place("rbac.authorization.k8s.io", "clusterroles", None, role)).await.unwrap();
    assert_eq!(found["metadata"]["name"], role);
    let numbers = taken.text(&place("test.snapback", "numbers", Some("default"), "n")).await;
    assert!(numbers.contains(r#""big":9007199254740993,"bigger":9223372036854775807"#), "{numbers}");
    assert!(numbers.contains(r#""apiVersion":"test.snapback/v1beta1""#), "{numbers}");
    assert!(taken.object(&place("test.snapback", "olds", Some("default"), "o")).await.is_some());
    let types = taken.types().await;
    assert_eq!(types.find("test.snapback", "numbers").unwrap().version, "v1beta1");
    assert_eq!(types.find("test.snapback", "numbers").unwrap().served_versions, ["v1beta1", "v1"]);
    assert_eq!(types.find("test.snapback", "olds").unwrap().version, "v1alpha1");

    let one = take_after(&cluster, &only(&[&format!("cm/default/{long}"), "Kindolds"]), None).await.unwrap();
    assert_eq!(one.capture.objects, 2);
    let typo = take_after(&cluster, &only(&["numbres"]), None).await.err().unwrap().to_string();
    assert!(typo.contains("`numbres` names no type") && typo.contains("numbers.test.snapback"), "{typo}");
    // A type that only the snapshot before this one knows is no typing mistake: the cluster lost it.
    cluster
        .send(Method::DELETE, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/olds.test.snapback", None)
        .await
        .unwrap();
    wait_until(async || cluster.get("/apis/test.snapback/v1alpha1/olds").await.is_err()).await;
    let gone = take_after(&cluster, &only(&["Kindolds"]), Some(taken.tree)).await.unwrap();
    assert_eq!((gone.capture.objects, gone.capture.unlistable.len()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_backends_are_named_and_cost_nothing_else() {
    let control_plane = ControlPlane::start(&Options::default());
    let cluster = connect(&control_plane).await;
    let group = "/apis/apiregistration.k8s.io/v1/apiservices";
    create(
        &cluster,
        group,
        &json!({
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": "v1.dead.example.com"},
            "spec": {"group": "dead.example.com", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1,
                     "insecureSkipTLSVerify": true, "service": {"namespace": "default", "name": "nobody"}},
        }),
    )
    .await;
    for plural in ["mixeds", "plains"] {
        create_crd(&cluster, &crd(plural, &["v1", "v2"])).await;
    }
    // One object of `mixeds` is stored at v1; then v2 becomes the version that is stored, and nobody converts.
    put(&cluster, "mixeds", "v1", "old").await;
    for plural in ["mixeds", "plains"] {
        let url = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{plural}.test.snapback");
        let patch = json!({"spec": {
            "versions": crd(plural, &["v2", "v1"])["spec"]["versions"],
            "conversion": {"strategy": "Webhook", "webhook": {
                "clientConfig": {"url": "https://127.0.0.1:1/convert"}, "conversionReviewVersions": ["v1"]}},
        }});
        let patch = Some(serde_json::to_vec(&patch).unwrap());
        cluster.send_as(Method::PATCH, &url, "application/merge-patch+json", patch).await.unwrap();
        // The storage of a CRD is exchanged some moments after its spec.
        wait_until(async || cluster.get(&format!("/apis/test.snapback/v1/{plural}?limit=500")).await.is_ok()).await;
    }
    wait_until(async || cluster.get("/apis/test.snapback/v2/mixeds").await.is_err()).await;
    put(&cluster, "plains", "v2", "new").await;

    let taken = take(&cluster).await;
    let (status, words) = taken.missing("mixeds").expect("a type that cannot be read is named");
    assert_eq!(status, 500);
    assert!(words.contains("conversion webhook"), "{words}");
    assert_eq!(taken.capture.unlistable.len(), 1, "{:?}", taken.capture.unlistable);
    assert_eq!(taken.capture.unlistable[0].verb, "list");
    assert!(matches!(taken.types().await.find("test.snapback", "mixeds").unwrap().state, TypeState::Unlistable { .. }));
    assert!(taken.object("cluster/test.snapback/plains/default/new.json").await.is_some());
    // The APIService is an object like others; what it serves is a view.
    assert!(taken.object("cluster/apiregistration.k8s.io/apiservices/_/v1.dead.example.com.json").await.is_some());
    let dead = taken.types().await.find("dead.example.com", "*").unwrap().clone();
    assert_eq!(dead.origin, RecordedOrigin::Remote);
    let TypeState::Skipped { reason } = dead.state else { panic!("{dead:?}") };
    assert_eq!(reason, "dead.example.com/v1 is served by another API server, Service default/nobody");
}

async fn put(cluster: &Cluster, plural: &str, version: &str, name: &str) {
    let object = json!({
        "apiVersion": format!("test.snapback/{version}"), "kind": format!("Kind{plural}"), "metadata": {"name": name},
    });
    create(cluster, &format!("/apis/test.snapback/{version}/namespaces/default/{plural}"), &object).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_objects_come_in_small_pages() {
    let control_plane = ControlPlane::start(&Options::default());
    let cluster = connect(&control_plane).await;
    let count: u64 = if soak() { 100 } else { 25 };
    for n in 0..count {
        // One MiB is what the API server takes of a ConfigMap's data.
        let data = format!("{n:07}").repeat((1 << 20) / 7);
        create(&cluster, CONFIG_MAPS, &json!({"metadata": {"name": format!("big-{n}")}, "data": {"k": data}})).await;
    }
    let taken = take_after(&cluster, &only(&["configmaps/default/big-*"]), None).await.unwrap();
    assert_eq!((taken.capture.objects, taken.capture.unlistable.len()), (count, 0));
    let last = taken.object(&format!("cluster/core/configmaps/default/big-{}.json", count - 1)).await.unwrap();
    assert_eq!(last["data"]["k"].as_str().unwrap().len(), (1 << 20) / 7 * 7);
    let lists = control_plane
        .audit_log()
        .into_iter()
        .filter(|event| event.verb == "list" && event.uri.starts_with(CONFIG_MAPS) && event.uri.contains("continue="));
    assert!(lists.count() >= 2, "the pages were not made smaller");

    let snapback = Snapback::new().with_kubeconfig(&control_plane.kubeconfig());
    snapback.ok(&["init"]);
    let (run, peak) = snapback.measured(&["backup"]);
    assert_eq!(run.code, 0, "{}", run.all());
    println!("{count} objects of 1 MiB: peak {peak} KiB");
    // The issue's bound, for any number of objects.
    assert!(peak < 150 * 1024, "{peak} KiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plan_is_what_kubectl_gets() {
    let control_plane = ControlPlane::start(&Options::default());
    let cluster = connect(&control_plane).await;
    for namespace in ["cozy-system", "tenant-a"] {
        create(&cluster, "/api/v1/namespaces", &json!({"metadata": {"name": namespace}})).await;
        for (resource, object) in [
            ("configmaps", json!({"metadata": {"name": "cozystack"}})),
            ("secrets", json!({"metadata": {"name": "s"}})),
            ("services", json!({"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}})),
            ("serviceaccounts", json!({"metadata": {"name": "not-in-all"}})),
        ] {
            create(&cluster, &format!("/api/v1/namespaces/{namespace}/{resource}"), &object).await;
        }
    }
    let selection = Selection::new(&[], &[], Scope::Plan).unwrap();
    let taken = take_after(&cluster, &CaptureOptions { selection, ..CaptureOptions::default() }, None).await.unwrap();
    let mut wanted: Vec<String> = control_plane
        .kubectl(&["get", "all,cm,secret,pvc", "-n", "cozy-system", "-o", "name"])
        .lines()
        .map(|line| line.rsplit('/').next().unwrap().to_owned())
        .collect();
    let mut found: Vec<String> = Vec::new();
    for path in taken.files().await.into_keys() {
        let Some(object) = ObjectPath::parse(&path) else { continue };
        if object.resource != "customresourcedefinitions" {
            assert_eq!(object.namespace.as_deref(), Some("cozy-system"), "{path}");
            found.push(object.name);
        }
    }
    wanted.sort();
    found.sort();
    assert_eq!(found, wanted);
    assert!(wanted.contains(&"web".to_owned()));
    // Other namespaces' Secrets were not even asked for.
    let asked = control_plane.audit_log();
    let secrets: Vec<_> = asked.iter().filter(|event| event.verb == "list" && event.uri.contains("secrets")).collect();
    assert!(secrets.iter().any(|event| event.uri.starts_with("/api/v1/namespaces/cozy-system/secrets?")));
    assert!(
        !secrets.iter().any(|event| event.uri.contains("/api/v1/secrets?") && event.user == "admin"),
        "{secrets:?}"
    );
}
