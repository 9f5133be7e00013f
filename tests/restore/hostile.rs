//! Snapshots that nobody's `backup` wrote: nothing is written to a place that an object does not name itself.

use bytes::Bytes;
use serde_json::{Value, json};
use snapback::progress::Silent;
use snapback::restore::{RestoreError, SkipReason, Wait, plan};
use snapback::store::{Blob, FrameGroup, SnapshotTree, SnapshotWriter};

use super::site::Site;

/// A snapshot of exactly these files.
async fn forged(files: &[(&str, Vec<u8>)]) -> SnapshotTree {
    let mut writer = SnapshotWriter::scratch(None);
    for (path, content) in files {
        writer.put(path, Blob::new(Bytes::from(content.clone())), FrameGroup::Shared).await.unwrap();
    }
    writer.finish().await.unwrap().tree()
}

fn map(space: &str, name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": space, "name": name, "uid": "1"}})
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_lies_where_another_one_belongs_is_refused() {
    const SPACE: &str = "hostile";
    let site = Site::in_namespace(SPACE).await;
    let live = site.snapshot().await;
    let mut secret = map(SPACE, "a");
    secret["kind"] = json!("Secret");
    let mut other_group = map(SPACE, "a");
    other_group["apiVersion"] = json!("apps/v1");
    let crd = |plural: &str| {
        let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "x.hostile.example", "uid": "1"}, "spec": {"group": "hostile.example", "scope": "Namespaced",
                "names": {"plural": plural, "kind": "X", "singular": "x", "listKind": "XList"},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]}})
    };
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"namespace": SPACE, "name": "cluster-admin", "uid": "1"}});
    let folder = format!("cluster/core/configmaps/{SPACE}");
    for (path, object) in [
        (format!("{folder}/a.json"), map("kube-system", "a")),
        (format!("{folder}/a.json"), map(SPACE, "b")),
        (format!("{folder}/a.json"), secret),
        (format!("{folder}/a.json"), other_group),
        (format!("{folder}/..%2F..%2Fsecrets%2Fa.json"), map(SPACE, "a")),
        ("cluster/core/configmaps/_/a.json".to_owned(), map("", "a")),
        (format!("cluster/rbac.authorization.k8s.io/clusterroles/{SPACE}/cluster-admin.json"), role),
        ("cluster/apiextensions.k8s.io/customresourcedefinitions/_/x.hostile.example.json".to_owned(), crd("secrets")),
    ] {
        let wanted = forged(&[(&path, object.to_string().into_bytes())]).await;
        let mut options = site.options.clone();
        options.selection =
            snapback::snapshot::Selection::new(std::slice::from_ref(&path), &[], snapback::snapshot::Scope::Everything)
                .unwrap();
        let refused = plan(&site.cluster, &live, &wanted, &options, &Silent).await.unwrap_err();
        let RestoreError::Misplaced { path: named, .. } = &refused else { panic!("{path}: {refused}") };
        assert_eq!(*named, path);
    }
    assert!(site.get(&format!("/api/v1/namespaces/{SPACE}/configmaps/a")).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_was_tampered_with_writes_and_deletes_nothing_else() {
    const SPACE: &str = "tampered";
    let site = Site::in_namespace(SPACE).await;
    let maps = format!("/api/v1/namespaces/{SPACE}/configmaps");
    for name in ["mine", "precious"] {
        site.post(&maps, json!({"metadata": {"name": name}, "data": {"a": "1"}})).await;
    }
    let wanted = site.snapshot().await;
    site.delete(&format!("{maps}/mine")).await;
    site.post(&maps, json!({"metadata": {"name": "extra"}})).await;
    let (live, plan) = site.plan(&wanted).await;
    let precious = live.entry(&format!("cluster/core/configmaps/{SPACE}/precious.json")).await.unwrap().unwrap();
    for (from, to) in [("mine", "precious"), ("extra", "precious"), ("mine", "secrets"), ("extra", "content")] {
        let mut forged = plan.clone();
        let action = forged.actions.iter_mut().find(|action| action.path.contains(from)).unwrap();
        match to {
            "content" => action.live = Some(precious.hash),
            "secrets" => action.address.resource = "secrets".to_owned(),
            name => action.path = action.path.replace(from, name),
        }
        forged.actions.retain(|action| !plan.actions.contains(action));
        let refused = site.apply(&live, &forged, &wanted, &Silent).await.unwrap_err();
        assert!(matches!(refused, RestoreError::Misplaced { .. }), "{from} to {to}: {refused}");
    }
    assert!(site.get(&format!("{maps}/precious")).await.is_some());
    assert!(site.get(&format!("{maps}/extra")).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_api_server_can_have_held_is_left_alone() {
    const SPACE: &str = "enormous";
    let mut site = Site::in_namespace(SPACE).await;
    site.only(&[&format!("cluster/*/*/{SPACE}/**")]);
    let huge = format!("cluster/core/configmaps/{SPACE}/huge.json");
    let small = format!("cluster/core/configmaps/{SPACE}/small.json");
    let mut object = map(SPACE, "huge");
    object["data"] = json!({"a": "x".repeat(100 << 20)});
    // Only its first half megabyte is ever in a pack's reach: the rest compresses away.
    let wanted =
        forged(&[(&huge, object.to_string().into_bytes()), (&small, map(SPACE, "small").to_string().into_bytes())])
            .await;
    drop(object);
    let restored = site.try_restore(&wanted, Wait::Skip).await;
    let [skipped] = restored.plan.skipped.as_slice() else { panic!("{:#?}", restored.plan.skipped) };
    assert!(matches!(skipped.reason, SkipReason::TooLarge { bytes } if bytes > 100 << 20), "{skipped:?}");
    assert_eq!(skipped.reason.to_string(), "it has 100 MiB, and no API server takes an object of that size");
    assert_eq!(restored.plan.out_of_reach(), 1);
    assert!(!restored.proof.holds(), "it is not as in the snapshot, and that is said");
    assert!(site.get(&format!("/api/v1/namespaces/{SPACE}/configmaps/small")).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn deep_nesting_is_restored_as_far_as_an_api_server_goes_and_refused_beyond() {
    const SPACE: &str = "deep";
    let mut site = Site::in_namespace(SPACE).await;
    site.crd("wells", "Well", "Namespaced").await;
    site.only(&[&format!("cluster/*/*/{SPACE}/**")]);
    let wells = format!("/apis/db.example/v1/namespaces/{SPACE}/wells");
    let spec = |levels: usize, value: u32| {
        let text = format!("{}{value}{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
        let mut reader = serde_json::Deserializer::from_str(&text);
        reader.disable_recursion_limit();
        serde::Deserialize::deserialize(&mut reader).map(|spec: Value| spec).unwrap()
    };
    let well = |value: u32| json!({"apiVersion": "db.example/v1", "kind": "Well", "metadata": {"name": "w"}, "spec": spec(300, value)});
    let made = site.cluster.send(http::Method::POST, &wells, Some(well(1).to_string().into_bytes())).await;
    made.expect("an API server keeps objects that are nested this deep");
    let wanted = site.snapshot().await;
    site.delete(&format!("{wells}/w")).await;
    site.cluster.send(http::Method::POST, &wells, Some(well(2).to_string().into_bytes())).await.unwrap();
    let restored = site.restore(&wanted, Wait::Skip).await;
    assert_eq!(restored.plan.counts().update, 1);

    let path = format!("cluster/db.example/wells/{SPACE}/w.json");
    let bottomless = format!("{}1{}", "[".repeat(1 << 20), "]".repeat(1 << 20)).into_bytes();
    let forged = forged(&[(&path, bottomless)]).await;
    let live = site.snapshot().await;
    let refused = plan(&site.cluster, &live, &forged, &site.options, &Silent).await.unwrap_err();
    assert!(matches!(&refused, RestoreError::NotAnObject { path: named, .. } if *named == path), "{refused}");
}
