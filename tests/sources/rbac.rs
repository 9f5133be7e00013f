//! The account of deploy/backup-only-rbac.yaml, on a real API server: it backs up everything and can write nothing.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::harness::control_plane::{ControlPlane, Options};
use crate::harness::snapback::Snapback;

const USER: &str = "system:serviceaccount:snapback:snapback-backup";

/// A kubeconfig with a token that the API server itself made for the account.
fn kubeconfig(cluster: &ControlPlane) -> PathBuf {
    let token = cluster.kubectl(&["-n", "snapback", "create", "token", "snapback-backup", "--duration=1h"]);
    let path = cluster.folder().join("kubeconfig-backup-only");
    let layout = rig::layout::Layout::new(cluster.folder());
    let config = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "backup",
        "clusters": [{"name": "c", "cluster": {"server": cluster.server(), "certificate-authority": layout.certificate("ca")}}],
        "users": [{"name": "backup", "user": {"token": token.trim()}}],
        "contexts": [{"name": "backup", "context": {"cluster": "c", "user": "backup"}}],
    });
    rig::layout::write_private(&path, config.to_string().as_bytes()).unwrap();
    path
}

fn kubectl(cluster: &ControlPlane, kubeconfig: &Path, arguments: &[&str]) -> Output {
    Command::new(cluster.program("kubectl"))
        .args(arguments)
        .env("KUBECONFIG", kubeconfig)
        .env("HOME", cluster.folder())
        .output()
        .unwrap()
}

#[test]
fn the_account_backs_up_completely_and_can_write_nothing() {
    let cluster = ControlPlane::start(&Options::default());
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/backup-only-rbac.yaml");
    cluster.apply(&std::fs::read_to_string(manifest).unwrap());
    cluster.apply("{apiVersion: v1, kind: Secret, metadata: {name: theirs, namespace: default}, stringData: {a: b}}");
    let account = kubeconfig(&cluster);

    let snapback = Snapback::new().with_kubeconfig(&account);
    snapback.ok(&["init"]);
    snapback.ok(&["backup"]);
    let admin = Snapback::new().with_kubeconfig(&cluster.kubeconfig());
    admin.ok(&["init"]);
    admin.ok(&["backup"]);
    let types = |snapback: &Snapback| snapback.json(&["snapshots"])["snapshots"][0]["types"].clone();
    assert_eq!(types(&snapback), types(&admin), "the account sees what an administrator sees");
    snapback.ok(&["show", "latest:cluster/core/secrets/default/theirs.json"]);

    for attempt in [
        &["create", "configmap", "mine"][..],
        &["delete", "secret", "theirs"],
        &["label", "namespace", "default", "a=b"],
        &["annotate", "secret", "theirs", "a=b"],
        &["create", "token", "snapback-backup", "-n", "snapback"],
        &["create", "clusterrolebinding", "mine", "--clusterrole=cluster-admin", "--user=me"],
        &["get", "secrets", "--watch", "--request-timeout=5s"],
        &["get", "secrets", "--as=system:admin"],
        &["get", "--raw", "/metrics"],
        &["get", "--raw", "/debug/pprof/"],
    ] {
        let output = kubectl(&cluster, &account, attempt);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("orbidden"), "{attempt:?}: {} {said}", output.status);
    }

    let audit = cluster.audit_log();
    let asked: Vec<_> = audit.iter().filter(|event| event.user == USER).collect();
    assert!(asked.len() > 50, "only {} requests of the account are in the audit log", asked.len());
    let written: Vec<_> = asked.iter().filter(|event| event.is_write() && event.code < 300).collect();
    assert!(written.is_empty(), "{written:?}");
}
