//! A snapshot and another cluster than its own: exported and applied there, refused there, restored there on purpose.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use insta::assert_snapshot;

use super::watched::{CANARY_BASE64, Watched, fill};
use crate::harness::control_plane::{ControlPlane, Options};
use crate::harness::snapback::Snapback;

#[test]
fn a_snapshot_reaches_another_cluster_as_yaml_or_when_that_is_said() {
    let (cluster, _turn) = ControlPlane::shared_in_turn();
    fill(cluster, "cli-abroad", "abroad.example");
    let snapback = Watched(Snapback::new().with_kubeconfig(&cluster.kubeconfig()));
    snapback.run(&["init"]);
    assert_eq!(snapback.run(&["backup", "--label", "pre-upgrade"]).code, 0);

    let folder = snapback.0.home().join("out");
    let run = snapback.run(&[
        "export",
        "pre-upgrade",
        "out",
        "--only",
        "cluster/**/cli-abroad/**",
        "--only",
        "crd/databases.abroad.example",
        "--only",
        "ns/cli-abroad",
    ]);
    assert_snapshot!(run.all(), @r"
    exit 0
    --- stdout
    wrote 5 objects to out
    --- stderr
    writing objects
    left out 1 of Secrets, which are written only when asked for (--reveal)
    to apply it, folder by folder:
      kubectl apply --server-side --force-conflicts -R -f out/1-definitions
      kubectl apply --server-side --force-conflicts -R -f out/2-namespaces
      kubectl apply --server-side --force-conflicts -R -f out/4-namespaced
    ");
    assert!(!folder.join("4-namespaced/cli-abroad/secrets").exists());
    let refused = snapback.run(&["export", "pre-upgrade", "out"]);
    assert_snapshot!(refused.all(), @r"
    exit 4
    --- stdout
    --- stderr
    error: `out` is not empty
    hint: name a new or empty folder, or a file that ends in .tar
    ");
    assert!(files(&folder).iter().all(|file| fs::metadata(file).unwrap().permissions().mode() & 0o777 == 0o600));
    assert!(files(&folder).iter().all(|file| !fs::read_to_string(file).unwrap().contains(CANARY_BASE64)));

    let revealed =
        snapback.run(&["export", "pre-upgrade", "all.tar", "--reveal", "--only", "cluster/**/cli-abroad/**"]);
    assert!(revealed.stderr.contains("warning: 1 Secret written in clear"), "{}", revealed.all());
    assert_eq!(fs::metadata(snapback.0.home().join("all.tar")).unwrap().permissions().mode() & 0o777, 0o600);

    let other = ControlPlane::start(&Options::default());
    let mut folders: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    for folder in folders {
        other.kubectl(&["apply", "--server-side", "-R", "-f", folder.to_str().unwrap()]);
        if folder.ends_with("1-definitions") {
            other.kubectl(&["wait", "--for=condition=established", "crd/databases.abroad.example"]);
        }
    }
    let data = |from: &ControlPlane, object: &str, path: &str| {
        from.kubectl(&["get", object, "-n", "cli-abroad", "-o", &format!("jsonpath={path}")])
    };
    for (object, path) in [("cm/settings", "{.data}"), ("cm/doomed", "{.data}"), ("databases/orders", "{.spec}")] {
        assert_eq!(data(&other, object, path), data(cluster, object, path), "{object}");
    }

    // Its snapshots are another cluster's.
    let there = Watched(Snapback::new().with_kubeconfig(&other.kubeconfig()));
    let repository = snapback.0.repository().display().to_string();
    let refused = there.run(&["restore", "pre-upgrade", "--yes", "--repo", &repository]);
    // Both contexts have one name.
    let identity = |cluster: &ControlPlane| {
        cluster.kubectl(&["get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}"])[..8].to_owned()
    };
    let (from, to) = (identity(cluster), identity(&other));
    assert_snapshot!(refused.all().replace(&from, "FROM").replace(&to, "TO"), @r"
    exit 4
    --- stdout
    --- stderr
    error: snapshot #1 is of another cluster (context `throwaway`, kube-system FROM), not of this one (context `throwaway`, kube-system TO)
    hint: name the right cluster with --context, or say --from-another-cluster when that is what you want
    ");
    assert_snapshot!(there.run(&["show", "latest", "--repo", &repository]).all(), @r"
    exit 1
    --- stdout
    --- stderr
    error: the repository has no snapshot of this cluster
    hint: run `snapback snapshots` to see which clusters it has, or `snapback backup` to add this one
    ");

    // When it is said, it goes all the way.
    other.kubectl(&["delete", "configmap", "doomed", "-n", "cli-abroad"]);
    let patch = r#"{"data":{"mode":"test"}}"#;
    other.kubectl(&["patch", "configmap", "settings", "-n", "cli-abroad", "--type=merge", "-p", patch]);
    let (settings, doomed) = ("cm/cli-abroad/settings", "cm/cli-abroad/doomed");
    let restore = ["restore", "pre-upgrade", "--yes", "--from-another-cluster", "--repo", &repository];
    let restored = there.run(&[&restore[..], &["--only", settings, "--only", doomed]].concat());
    assert_eq!(restored.code, 0, "{}", restored.all());
    let warning = "warning: snapshot #1 is of another cluster (context `throwaway`, kube-system ";
    assert!(restored.stderr.contains(warning) && restored.stdout.contains("proven"), "{}", restored.all());
    for object in ["cm/settings", "cm/doomed"] {
        assert_eq!(data(&other, object, "{.data}"), data(cluster, object, "{.data}"), "{object}");
    }
    // What was there before is this cluster's only snapshot, and no `latest`.
    assert_snapshot!(there.run(&["show", "latest", "--repo", &repository]).all(), @r"
    exit 1
    --- stdout
    --- stderr
    error: this cluster has only snapshots that a restore took by itself, and `latest` passes over those
    hint: name one by its number: `2` is the newest
    ");

    there.run(&["backup", "--repo", &repository]);
    let nobody = Watched(Snapback::new());
    assert_snapshot!(nobody.run(&["show", "latest", "--repo", &repository]).all(), @r"
    exit 4
    --- stdout
    --- stderr
    error: `latest` means of this cluster, and no cluster answers
    caused by: there is no kubeconfig: HOME/.kube/config
    hint: the repository has snapshots of `throwaway`, `throwaway`; name one by its number
    ");
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}
