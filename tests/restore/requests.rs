//! Requests to Velero and cert-manager, of their real CRDs: made anew they would run again.

use std::collections::BTreeMap;

use rig::seed::crds::{Crd, load, small};
use rig::toolchain::Toolchain;
use serde_json::json;
use snapback::restore::{SkipReason, Wait};

use super::site::{CRDS, Site, actions};
use crate::harness::control_plane::Options;
use crate::harness::snapback::Snapback;

/// Each type with a spec that its schema takes, and the rule that covers it.
fn requests() -> [(&'static str, serde_json::Value, &'static str); 12] {
    let pod = json!({"kind": "Pod", "name": "a", "namespace": "a"});
    let issuer = json!({"name": "letsencrypt"});
    let upload = json!({"backupStorageLocation": "a", "operationTimeout": "1h", "snapshotType": "CSI",
        "sourceNamespace": "a", "sourcePVC": "a", "csiSnapshot": {"storageClass": "a", "volumeSnapshot": "a"}});
    let download = json!({"backupStorageLocation": "a", "operationTimeout": "1h", "snapshotID": "a",
        "sourceNamespace": "a", "targetVolume": {"namespace": "a", "pv": "a", "pvc": "a"}});
    let kept = json!({"backupStorageLocation": "a", "node": "a", "pod": pod, "repoIdentifier": "a", "volume": "a"});
    let put_back = json!({"backupStorageLocation": "a", "pod": pod, "repoIdentifier": "a", "snapshotID": "a",
        "sourceNamespace": "a", "volume": "a"});
    let challenge = json!({"authorizationURL": "https://a", "dnsName": "a.example", "issuerRef": issuer, "key": "a",
        "solver": {}, "token": "a", "type": "HTTP-01", "url": "https://a"});
    [
        ("deletebackuprequests.velero.io", json!({"backupName": "a"}), "velero-requests"),
        ("downloadrequests.velero.io", json!({"target": {"kind": "BackupLog", "name": "a"}}), "velero-requests"),
        ("serverstatusrequests.velero.io", json!({}), "velero-requests"),
        ("backups.velero.io", json!({"ttl": "1h"}), "velero-runs"),
        ("restores.velero.io", json!({"backupName": "a"}), "velero-runs"),
        ("podvolumebackups.velero.io", kept, "velero-runs"),
        ("podvolumerestores.velero.io", put_back, "velero-runs"),
        ("datauploads.velero.io", upload, "velero-runs"),
        ("datadownloads.velero.io", download, "velero-runs"),
        (
            "certificaterequests.cert-manager.io",
            json!({"request": "YQ==", "issuerRef": issuer}),
            "certificate-requests",
        ),
        ("orders.acme.cert-manager.io", json!({"request": "YQ==", "issuerRef": issuer}), "certificate-requests"),
        ("challenges.acme.cert-manager.io", challenge, "certificate-requests"),
    ]
}

/// The real CRDs by their names, as the small CozyStack has them.
fn definitions() -> BTreeMap<String, Crd> {
    let toolchain = Toolchain::find().unwrap();
    small(&load(toolchain.folder()).unwrap()).into_iter().map(|crd| (crd.name(), crd)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_would_run_again_are_left_alone_and_forced_by_name() {
    let mut site = Site::start(Options::default()).await;
    let definitions = definitions();
    let requests = requests();
    for (name, spec, _) in &requests {
        let crd = &definitions[*name];
        site.post(CRDS, crd.body.clone()).await;
        let list = crd.collection("default");
        site.until(async || site.get(&list).await.is_some()).await;
        for name in ["edited", "deleted"] {
            let object =
                json!({"apiVersion": crd.api_version(), "kind": crd.kind, "metadata": {"name": name}, "spec": spec});
            site.post(&list, object).await;
        }
    }
    let only: Vec<&str> = requests.iter().map(|(name, ..)| *name).collect();
    site.only(&only);
    let snapback = Snapback::new().with_kubeconfig(&site.control_plane().kubeconfig());
    snapback.ok(&["init"]);
    snapback.ok(&["backup"]);
    let wanted = site.snapshot().await;

    for (name, spec, _) in &requests {
        let crd = &definitions[*name];
        let list = crd.collection("default");
        site.patch(&format!("{list}/edited"), json!({"metadata": {"labels": {"a": "b"}}})).await;
        site.delete(&format!("{list}/deleted")).await;
        let object =
            json!({"apiVersion": crd.api_version(), "kind": crd.kind, "metadata": {"name": "added"}, "spec": spec});
        site.post(&list, object).await;
    }
    let restored = site.restore(&wanted, Wait::Skip).await;
    assert!(restored.plan.actions.is_empty(), "{:#?}", actions(&restored.plan));
    for (name, _, expected) in &requests {
        let (plural, group) = name.split_once('.').unwrap();
        for name in ["edited", "deleted", "added"] {
            let path = format!("cluster/{group}/{plural}/default/{name}.json");
            let skipped = restored.plan.skipped.iter().find(|skipped| skipped.path == path).map(|found| &found.reason);
            assert_eq!(skipped, Some(&SkipReason::NeverList { rule: (*expected).to_owned() }), "{path}");
        }
    }
    // What is exported makes no request either.
    let exported = snapback.json(&["export", "1", "out"]);
    for (rule, count) in
        [("DeleteBackupRequests", 6), ("Velero's Backups and Restores", 12), ("CertificateRequests", 6)]
    {
        let left_out = exported["leftOut"].as_object().unwrap();
        let found = left_out.iter().find(|(reason, _)| reason.contains(rule)).map(|(_, count)| count.as_u64());
        assert_eq!(found, Some(Some(count)), "{rule}: {left_out:#?}");
    }

    let rules = ["velero-requests", "velero-runs", "certificate-requests"];
    site.options.force_kinds = rules.map(str::to_owned).to_vec();
    let restored = site.restore(&wanted, Wait::Skip).await;
    let counts = restored.plan.counts();
    assert_eq!((counts.create, counts.update, counts.delete), (12, 12, 12), "{:#?}", actions(&restored.plan));
}
