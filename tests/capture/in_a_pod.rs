//! A backup inside a pod: no kubeconfig, only what Kubernetes puts into a container.

use std::path::Path;

use crate::harness::control_plane::ControlPlane;
use crate::harness::own_mounts::with_own_mounts;
use crate::harness::snapback::{Run, Snapback};

/// A kubelet mounts the account's files there; /run is empty here, and only for this process.
const MOUNT: &str = "
mount -t tmpfs none \"$(readlink -f /var/run)\"
mkdir -p /var/run/secrets/kubernetes.io/serviceaccount
cp \"$1\"/* /var/run/secrets/kubernetes.io/serviceaccount
shift
exec \"$@\"";

#[test]
fn a_service_account_backs_up_from_inside_a_pod() {
    let cluster = ControlPlane::shared();
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/backup-only-rbac.yaml");
    cluster.apply(&std::fs::read_to_string(manifest).unwrap());
    let token = cluster.kubectl(&["-n", "snapback", "create", "token", "snapback-backup", "--duration=1h"]);
    let account = tempfile::tempdir().unwrap();
    let layout = rig::layout::Layout::new(cluster.folder());
    std::fs::write(account.path().join("token"), token.trim()).unwrap();
    std::fs::write(account.path().join("namespace"), "snapback").unwrap();
    std::fs::copy(layout.certificate("ca"), account.path().join("ca.crt")).unwrap();

    let snapback = Snapback::new();
    snapback.ok(&["init"]);
    let port = cluster.server().rsplit_once(':').unwrap().1;
    let backup = |account: &Path| -> Option<Run> {
        let inside = snapback.command(&["backup"]);
        let mut command = with_own_mounts(MOUNT)?;
        command.arg(account).arg(inside.get_program()).args(inside.get_args());
        command.env_clear().envs(inside.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("KUBERNETES_SERVICE_HOST", "127.0.0.1").env("KUBERNETES_SERVICE_PORT", port);
        Some(snapback.take(command.current_dir(snapback.home()).output().unwrap()))
    };
    let Some(run) = backup(account.path()) else { return };
    assert_eq!(run.code, 0, "{}", run.all());
    let taken = snapback.json(&["snapshots"])["snapshots"][0].clone();
    assert_eq!((taken["context"].as_str(), taken["complete"].as_bool()), (Some("in-cluster"), Some(true)), "{taken}");
    assert!(taken["objects"].as_u64().unwrap() > 100, "{taken}");

    // A pod that mounts no account's token (automountServiceAccountToken: false).
    for file in ["token", "ca.crt", "namespace"] {
        std::fs::remove_file(account.path().join(file)).unwrap();
    }
    std::fs::write(account.path().join("other"), "").unwrap();
    let run = backup(account.path()).unwrap();
    assert_eq!(run.code, 1, "{}", run.all());
    assert!(
        run.stderr.contains("error: there is no kubeconfig") && run.stderr.contains("service account"),
        "{}",
        run.all()
    );
    assert!(run.stderr.contains("hint: "), "{}", run.all());
    assert!(
        Path::new("/var/run").exists() && !Path::new("/var/run/secrets/kubernetes.io/serviceaccount/other").exists()
    );
}
