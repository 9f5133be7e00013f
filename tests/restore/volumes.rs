//! Data that must not go with an object, and tokens that end with one.

use std::path::Path;

use serde_json::{Value, json};
use snapback::restore::{SkipReason, Wait};

use super::site::{Site, actions};
use crate::harness::control_plane::Options;

const VOLUMES: &str = "/api/v1/persistentvolumes";
const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";

/// A folder of this machine, which the real volume controller deletes when its claim goes, unless it is told to retain it.
fn volume(name: &str, folder: &Path) -> Value {
    json!({"metadata": {"name": name}, "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
        "persistentVolumeReclaimPolicy": "Delete", "storageClassName": "", "hostPath": {"path": folder}}})
}

fn claim(name: &str, volume: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "",
        "volumeName": volume, "resources": {"requests": {"storage": "1Gi"}}}})
}

async fn bound(site: &Site, name: &str) {
    let url = format!("{CLAIMS}/{name}");
    site.until(async || site.get(&url).await.is_some_and(|claim| claim["status"]["phase"] == "Bound")).await;
}

/// A folder with data in it. Only below /tmp the volume controller deletes one.
fn data() -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix("snapback-volume-").tempdir_in("/tmp").unwrap();
    std::fs::write(folder.path().join("data"), "precious").unwrap();
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn no_data_goes_with_a_claim_or_a_volume() {
    let site = Site::start(Options::default().controllers()).await;
    // That it would be gone otherwise.
    let lost = data();
    site.post(VOLUMES, volume("lost", lost.path())).await;
    site.post(CLAIMS, claim("lost", "lost")).await;
    bound(&site, "lost").await;
    site.remove(&format!("{CLAIMS}/lost")).await;
    site.until(async || !lost.path().exists()).await;
    site.until(async || site.get(&format!("{VOLUMES}/lost")).await.is_none()).await;
    let without = site.snapshot().await;

    let folder = data();
    site.post(VOLUMES, volume("disk", folder.path())).await;
    site.post(CLAIMS, claim("disk", "disk")).await;
    bound(&site, "disk").await;
    let with = site.snapshot().await;

    let restored = site.restore(&without, Wait::Skip).await;
    let dangers: Vec<String> = restored.plan.dangers().into_iter().map(|danger| danger.text).collect();
    let kept = "is deleted; its data stays, since the volume is set to Retain first";
    assert_eq!(dangers, [kept, kept], "{:#?}", restored.plan.actions);
    assert!(site.get(&format!("{VOLUMES}/disk")).await.is_none());
    // The volume controller has had its say: it has settled another volume meanwhile.
    let other = data();
    site.post(VOLUMES, volume("other", other.path())).await;
    site.post(CLAIMS, claim("other", "other")).await;
    bound(&site, "other").await;
    site.remove(&format!("{CLAIMS}/other")).await;
    site.until(async || !other.path().exists()).await;
    site.until(async || site.get(&format!("{VOLUMES}/other")).await.is_none()).await;
    assert_eq!(std::fs::read_to_string(folder.path().join("data")).unwrap(), "precious");

    // And back, bound to what is still there, with its own policy.
    site.restore(&with, Wait::Skip).await;
    bound(&site, "disk").await;
    let disk = site.get(&format!("{VOLUMES}/disk")).await.unwrap();
    assert_eq!(disk["spec"]["persistentVolumeReclaimPolicy"], "Delete");

    // A volume that is in use and is another one now is left alone: it could not end, and its claim would be lost.
    let moved = data();
    site.patch(&format!("{VOLUMES}/disk"), json!({"spec": {"persistentVolumeReclaimPolicy": "Retain"}})).await;
    site.remove(&format!("{CLAIMS}/disk")).await;
    site.remove(&format!("{VOLUMES}/disk")).await;
    site.post(VOLUMES, volume("disk", moved.path())).await;
    site.post(CLAIMS, claim("disk", "disk")).await;
    bound(&site, "disk").await;
    let restored = site.try_restore(&with, Wait::Skip).await;
    let path = "cluster/core/persistentvolumes/_/disk.json";
    let skipped = restored.plan.skipped.iter().find(|skipped| skipped.path == path);
    let Some(SkipReason::VolumeAtRisk { volume, .. }) = skipped.map(|skipped| &skipped.reason) else {
        panic!("{:#?}", restored.plan)
    };
    assert_eq!(volume.as_deref(), Some("disk"));
    assert!(!restored.proof.holds());
    assert!(site.get(&format!("{VOLUMES}/disk")).await.unwrap()["metadata"]["deletionTimestamp"].is_null());

    // Released, it is made anew, and neither's data is touched.
    site.patch(&format!("{VOLUMES}/disk"), json!({"spec": {"persistentVolumeReclaimPolicy": "Retain"}})).await;
    site.remove(&format!("{CLAIMS}/disk")).await;
    site.until(async || site.get(&format!("{VOLUMES}/disk")).await.unwrap()["status"]["phase"] == "Released").await;
    site.patch(
        &format!("{VOLUMES}/disk"),
        json!({"spec": {"persistentVolumeReclaimPolicy": "Delete", "claimRef": null}}),
    )
    .await;
    let restored = site.restore(&with, Wait::Skip).await;
    assert_eq!(restored.plan.counts().recreate, 1, "{:#?}", actions(&restored.plan));
    bound(&site, "disk").await;
    for data in [&folder, &moved] {
        assert_eq!(std::fs::read_to_string(data.path().join("data")).unwrap(), "precious");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_whose_tokens_end_are_named() {
    let mut site = Site::start(Options::default().controllers()).await;
    site.namespace("robots").await;
    site.only(&["namespaces/robots", "cluster/*/*/robots/**"]);
    let (accounts, pods) = ("/api/v1/namespaces/robots/serviceaccounts", "/api/v1/namespaces/robots/pods");
    let account = |name: &str| json!({"metadata": {"name": name}});
    let pod = |name: &str, account: &str, token: bool| {
        json!({"metadata": {"name": name}, "spec": {"serviceAccountName": account,
            "automountServiceAccountToken": token, "containers": [{"name": "c", "image": "c:1"}]}})
    };
    site.post(accounts, account("robot")).await;
    let wanted = site.snapshot().await;

    for (name, token) in [("arm", true), ("leg", true), ("statue", false)] {
        site.post(pods, pod(name, "robot", token)).await;
    }
    site.delete(&format!("{accounts}/robot")).await;
    site.post(accounts, account("extra")).await;
    site.post(pods, pod("lonely", "extra", true)).await;
    let phase = async |name: &str| site.get(&format!("{pods}/{name}")).await.unwrap()["status"]["phase"].clone();
    site.until(async || phase("arm").await == "Running" && phase("lonely").await == "Running").await;

    let restored = site.restore(&wanted, Wait::Skip).await;
    let dangers: Vec<(String, String)> =
        restored.plan.dangers().into_iter().map(|danger| (danger.path, danger.text)).collect();
    let line = |name: &str, text: &str| (format!("cluster/core/serviceaccounts/robots/{name}.json"), text.to_owned());
    assert_eq!(
        dangers,
        [
            line(
                "robot",
                "is made anew, with a new UID; the tokens of pods arm, leg end: they have to be started again"
            ),
            line("extra", "is deleted; the token of pod lonely ends with it"),
        ]
    );
}
