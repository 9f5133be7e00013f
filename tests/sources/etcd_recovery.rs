//! The etcd rung, with the real etcdutl, etcd and API server: a kit, and a control plane that starts from a snapshot.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};

use super::restored_etcd::RestoredEtcd;
use crate::harness::control_plane::{ControlPlane, Options};
use crate::harness::snapback::Snapback;

const AHEAD: u64 = 1_000_000_000;

/// With a configuration that takes this cluster's etcd file too.
pub(crate) fn configured(cluster: &ControlPlane) -> Snapback {
    let snapback = Snapback::new().with_kubeconfig(&cluster.kubeconfig());
    let etcd = cluster.etcd();
    let mut text = format!("etcd:\n  required: true\n  endpoints: ['{}']\n", etcd.url);
    for (key, path) in [("ca", &etcd.ca), ("cert", &etcd.certificate), ("key", &etcd.key)] {
        writeln!(text, "  {key}: {}", Path::new(path).display()).unwrap();
    }
    std::fs::write(snapback.home().join("snapback.yaml"), text).unwrap();
    snapback
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

async fn names(api: &Api<ConfigMap>) -> (Vec<String>, u64) {
    let list = api.list(&ListParams::default()).await.unwrap();
    let names = list.items.iter().filter_map(|item| item.metadata.name.clone());
    (
        names.filter(|name| name != "kube-root-ca.crt").collect(),
        list.metadata.resource_version.unwrap().parse().unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_out_of_a_snapshot_serves_it_and_sends_watchers_back_to_their_lists() {
    let cluster = ControlPlane::start(&Options::default().template("empty"));
    let snapback = configured(&cluster);
    cluster.kubectl(&["create", "configmap", "before"]);
    snapback.ok(&["init"]);
    snapback.ok(&["backup"]);
    snapback.ok(&["backup", "--only", "configmaps/default", "--exclude", "etcd/**"]);
    cluster.kubectl(&["create", "configmap", "after"]);
    let api: Api<ConfigMap> = Api::default_namespaced(cluster.client().await);
    let (seen, revision) = names(&api).await;
    assert_eq!(seen, ["after", "before"]);
    let mut watch = api.watch(&WatchParams::default(), &revision.to_string()).await.unwrap().boxed();

    let refused = snapback.run(&["etcd", "prepare", "2"]);
    assert_eq!(refused.code, 4, "{}", refused.all());
    assert!(refused.stderr.contains("hint: the newest of this cluster that does is #1"), "{}", refused.all());
    let missing = snapback.run(&["etcd", "prepare", "1", "kit", "--etcdutl", "no-etcdutl"]);
    assert!(missing.code == 1 && missing.stderr.contains("--etcdutl FILE"), "{}", missing.all());
    assert!(!snapback.home().join("kit").exists());
    let program = cluster.program("etcdutl");
    let etcdutl = program.to_str().unwrap();
    let document = snapback.json(&["etcd", "prepare", "1", "kit", "--etcdutl", etcdutl]);
    let number = |field: &str| document[field].as_u64().unwrap_or_else(|| panic!("{field}: {document}"));
    assert_eq!((&document["hashed"], &document["installation"]), (&true.into(), &"plainEtcd".into()), "{document}");
    assert!(number("revisionAhead") >= number("revision") + AHEAD, "{document}");
    assert!(number("liveRevision") >= revision && number("revision") < revision, "{document}");
    assert_eq!(number("writesLost"), number("liveRevision") - number("revision"));

    let kit = snapback.home().join("kit");
    let mut files: Vec<_> = std::fs::read_dir(&kit).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["RUNBOOK.md", "etcd-moved-ahead.db", "etcd-snapshot.db"]);
    assert_eq!(mode(&kit), 0o700);
    assert!(files.iter().all(|file| mode(&kit.join(file)) == 0o600));
    let runbook = std::fs::read_to_string(kit.join("RUNBOOK.md")).unwrap();
    let lost = format!("**{} writes**", number("writesLost"));
    for expected in [&lost, "snapback etcd restore 1 --data-dir", "LINSTOR", "OVN", "Proxmox", "Volumes"] {
        assert!(runbook.contains(expected), "`{expected}` is not in\n{runbook}");
    }

    // As Talos does it: no options at all.
    let restored = RestoredEtcd::start(&cluster, &kit.join("etcd-moved-ahead.db"), &snapback.home().join("talos"));
    assert_eq!(restored.get_keys("/registry/configmaps/default/before"), "/registry/configmaps/default/before");
    assert_eq!(restored.get_keys("/registry/configmaps/default/after"), "");
    drop(restored);

    // Not in order: it would wait for the open watch.
    cluster.kill_server("kube-apiserver");
    cluster.stop_server("etcd");
    let data = cluster.folder().join("etcd");
    let place = data.to_str().unwrap();
    let restore = [
        ["etcd", "restore", "1", "--data-dir", place, "--etcdutl", etcdutl, "--name", "throwaway"].as_slice(),
        &["--initial-advertise-peer-urls", "https://127.0.0.1:2380"],
    ]
    .concat();
    let refused = snapback.run(&restore);
    let hint = format!("put it aside: `mv {place} {place}.before`");
    assert!(refused.code == 4 && refused.stderr.contains(&hint), "{}", refused.all());
    std::fs::rename(&data, cluster.folder().join("etcd.before")).unwrap();
    snapback.ok(&restore);
    let made: Vec<_> = std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!((made, mode(&data)), (vec!["member".into()], 0o700));
    cluster.start_server("etcd");
    cluster.start_server("kube-apiserver");

    // The old connection broke; the watcher asks again from where it was, and is told to list.
    while let Some(Ok(_)) = watch.next().await {}
    let mut again = api.watch(&WatchParams::default(), &revision.to_string()).await.unwrap().boxed();
    match again.next().await {
        Some(Ok(WatchEvent::Error(status))) => assert_eq!(status.code, 410, "{status:?}"),
        other => panic!("a watcher from before was not told that its revision is gone: {other:?}"),
    }
    let (seen, listed) = names(&api).await;
    assert_eq!(seen, ["before"]);
    assert!(listed > AHEAD, "{listed}");
    cluster.kubectl(&["create", "configmap", "later"]);
    let mut watch = api.watch(&WatchParams::default(), &listed.to_string()).await.unwrap().boxed();
    assert!(
        matches!(watch.next().await, Some(Ok(WatchEvent::Added(added))) if added.metadata.name.as_deref() == Some("later"))
    );
}
