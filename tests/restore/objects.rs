//! Objects edited, deleted and added.

use http::Method;
use serde_json::json;
use snapback::restore::Wait;

use super::site::{Site, actions, essence, fields};
use crate::harness::control_plane::Options;

#[tokio::test(flavor = "multi_thread")]
async fn a_config_map_edited_another_deleted_and_a_third_one_added() {
    let site = Site::start(Options::default()).await;
    let maps = "/api/v1/namespaces/default/configmaps";
    for name in ["edited", "deleted", "kept"] {
        site.post(maps, json!({"metadata": {"name": name, "labels": {"a": "b"}}, "data": {"mode": "production"}}))
            .await;
    }
    let before = site.get(&format!("{maps}/edited")).await.unwrap();
    let wanted = site.snapshot().await;

    site.patch(&format!("{maps}/edited"), json!({"data": {"mode": "oops"}, "metadata": {"labels": {"a": null}}})).await;
    site.delete(&format!("{maps}/deleted")).await;
    site.post(maps, json!({"metadata": {"name": "added"}})).await;
    let written = site.our_writes().await.len();

    let restored = site.restore(&wanted, Wait::Full).await;
    let folder = "cluster/core/configmaps/default";
    assert_eq!(
        actions(&restored.plan),
        [
            format!("create {folder}/deleted.json"),
            format!("update {folder}/edited.json"),
            format!("delete {folder}/added.json")
        ]
    );
    let edited = format!("{folder}/edited.json");
    let changed = fields(&restored.plan, &edited);
    assert!(changed.contains(&"data.mode".to_owned()), "{changed:?}");
    assert!(!serde_json::to_string(&restored.plan).unwrap().contains("oops"), "a plan holds no values");
    let dangers = restored.plan.dangers();
    assert_eq!((dangers.len(), dangers[0].text.as_str()), (1, "is deleted"));

    // Exactly as it was, field managers included, and the same object.
    let after = site.get(&format!("{maps}/edited")).await.unwrap();
    assert_eq!(essence(&after), essence(&before));
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    assert!(site.get(&format!("{maps}/added")).await.is_none());
    assert_eq!(restored.proof.watched_seconds, 0, "no owner was made anew");

    // Nothing was touched that did not differ.
    let touched: Vec<_> = site.our_writes().await.split_off(written);
    assert!(!touched.is_empty());
    assert!(
        touched
            .iter()
            .all(|(_, uri)| uri == maps || ["edited", "deleted", "added"].iter().any(|name| uri.ends_with(name))),
        "{touched:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn status_and_field_managers_come_back_with_their_times() {
    let site = Site::start(Options::default()).await;
    site.crd("databases", "Database", "Namespaced").await;
    let databases = "/apis/db.example/v1/namespaces/default/databases";
    for name in ["edited", "deleted", "retouched", "restatus"] {
        site.post(
            databases,
            json!({"apiVersion": "db.example/v1", "kind": "Database", "metadata": {"name": name},
            "spec": {"replicas": 9_007_199_254_740_993_i64}}),
        )
        .await;
        site.patch(
            &format!("{databases}/{name}/status"),
            json!({"status": {"phase": "Ready", "observedGeneration": 1}}),
        )
        .await;
    }
    let mut before = Vec::new();
    for name in ["edited", "deleted", "retouched", "restatus"] {
        before.push(essence(&site.get(&format!("{databases}/{name}")).await.unwrap()));
    }
    let wanted = site.snapshot().await;
    // Times of field managers count in seconds.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;

    site.patch(&format!("{databases}/edited"), json!({"spec": {"replicas": 5, "extra": true}})).await;
    site.patch(&format!("{databases}/edited/status"), json!({"status": {"phase": "Broken"}})).await;
    site.delete(&format!("{databases}/deleted")).await;
    site.patch(&format!("{databases}/restatus/status"), json!({"status": {"phase": "Broken", "more": 1}})).await;
    // Edited and edited back: only the time of a field manager differs.
    site.patch(&format!("{databases}/retouched"), json!({"spec": {"replicas": 5}})).await;
    site.patch(&format!("{databases}/retouched"), json!({"spec": {"replicas": 9_007_199_254_740_993_i64}})).await;

    let restored = site.restore(&wanted, Wait::Full).await;
    assert_eq!(restored.plan.actions.len(), 4, "{:#?}", actions(&restored.plan));
    for (name, before) in ["edited", "deleted", "retouched", "restatus"].iter().zip(before) {
        let after = site.get(&format!("{databases}/{name}")).await.unwrap();
        assert_eq!(essence(&after), before, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_changed_between_plan_and_apply_is_not_overwritten() {
    let site = Site::start(Options::default()).await;
    let maps = "/api/v1/namespaces/default/configmaps";
    let wanted = site.snapshot_and_changes(maps).await;
    let (live, plan) = site.plan(&wanted).await;

    site.patch(&format!("{maps}/edited"), json!({"data": {"a": "3"}})).await;
    site.post(maps, json!({"metadata": {"name": "deleted"}, "data": {"a": "3"}})).await;
    site.delete(&format!("{maps}/added")).await;
    site.post(maps, json!({"metadata": {"name": "added"}, "data": {"a": "3"}})).await;
    let applied = site.apply(&live, &plan, &wanted, &snapback::progress::Silent).await.unwrap();
    assert_eq!(applied.failures().count(), 3, "{:#?}", applied.steps);
    for name in ["edited", "deleted", "added"] {
        assert_eq!(site.get(&format!("{maps}/{name}")).await.unwrap()["data"]["a"], "3", "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secret_values_stay_out_of_plans_and_problems() {
    let site = Site::start(Options::default()).await;
    let secrets = "/api/v1/namespaces/default/secrets";
    site.post(secrets, json!({"metadata": {"name": "s"}, "stringData": {"password": "hunter2-before"}})).await;
    let wanted = site.snapshot().await;
    site.send(
        Method::PUT,
        &format!("{secrets}/s"),
        Some(json!({"apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "s"}, "stringData": {"password": "hunter2-after"}})),
    )
    .await;
    let restored = site.restore(&wanted, Wait::Full).await;
    // Base64 of what the two values share.
    for text in [format!("{:?}", restored.plan), format!("{:?}", restored.applied), format!("{:?}", restored.proof)] {
        assert!(!text.contains("hunter2") && !text.contains("aHVudGVy"), "{text}");
    }
}
