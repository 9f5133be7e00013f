//! Snapshots of a part, and what lies beside the cluster: neither is ever taken for something that was deleted.

use std::fs;

use insta::assert_snapshot;
use serde_json::json;

use crate::harness::control_plane::{ControlPlane, Options};
use crate::harness::snapback::Snapback;

#[test]
fn a_snapshot_of_a_part_says_nothing_about_the_rest() {
    let (cluster, _turn) = ControlPlane::shared_in_turn();
    cluster.apply(
        "{apiVersion: v1, kind: Namespace, metadata: {name: cli-parts}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: cli-parts}, data: {mode: production}}
---
{apiVersion: v1, kind: Secret, metadata: {name: b, namespace: cli-parts}, stringData: {c: d}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: cli-parts-beside}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: cli-parts-beside}}",
    );
    let snapback = Snapback::new().with_kubeconfig(&cluster.kubeconfig());
    snapback.ok(&["init"]);
    snapback.ok(&["backup"]);
    snapback.ok(&["backup", "--only", "cm/cli-parts", "--label", "part"]);
    let part = snapback.json(&["show", "part"]);
    assert_eq!((&part["snapshot"]["objects"], &part["snapshot"]["scope"]), (&json!(1), &json!("only=cm/cli-parts")));
    // `latest` stays the newest of everything.
    assert_eq!(snapback.json(&["show", "latest"])["snapshot"]["number"], 1);
    assert_snapshot!(snapback.run(&["show", "latest~1"]).all(), @r"
    exit 1
    --- stdout
    --- stderr
    error: there is no `latest~1`: `latest` counts 1 snapshot of this cluster
    hint: run `snapback snapshots` to see which there are
    ");

    assert_eq!(snapback.json(&["diff", "part", "live"])["changes"], json!([]));
    assert_eq!(snapback.json(&["diff", "part", "1"])["changes"], json!([]));
    cluster.kubectl(&["delete", "secret", "b", "-n", "cli-parts"]);
    cluster.kubectl(&["patch", "cm", "a", "-n", "cli-parts", "--type=merge", "-p", r#"{"data":{"mode":"test"}}"#]);
    let plan = snapback.json(&["restore", "part", "--dry-run"]);
    let counts = &plan["plan"]["counts"];
    assert_eq!((&counts["update"], &counts["create"], &counts["delete"]), (&json!(1), &json!(0), &json!(0)), "{plan}");
    // A part of the part.
    let plan = snapback.json(&["restore", "part", "--dry-run", "--only", "secrets/cli-parts"]);
    assert_eq!(plan["plan"]["actions"], json!([]));
    let plan = snapback.json(&["restore", "1", "--dry-run", "--only", "secrets/cli-parts"]);
    assert_eq!(plan["plan"]["counts"]["create"], 1, "{plan}");
}

#[test]
fn an_object_whose_name_has_blanks_is_selected_by_its_name() {
    let (cluster, _turn) = ControlPlane::shared_in_turn();
    let role = |verb: &str| {
        let rules = format!("rules: [{{apiGroups: [''], resources: [pods], verbs: [{verb}]}}]");
        cluster.apply(&format!(
            "{{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {{name: 'cli my role'}}, {rules}}}"
        ));
    };
    role("get");
    let snapback = Snapback::new().with_kubeconfig(&cluster.kubeconfig());
    snapback.ok(&["init"]);
    snapback.ok(&["backup", "--only", "clusterroles/cli my role"]);
    assert_eq!(snapback.json(&["show", "1"])["snapshot"]["objects"], 1);
    role("list");
    let restore = ["restore", "1", "--only", "clusterroles/cli my role", "--no-wait"];
    let run = snapback.run(&restore);
    assert!(run.stderr.contains("--only 'clusterroles/cli my role' --yes`"), "{}", run.all());
    snapback.ok(&[&restore[..], &["--yes"]].concat());
    let verb = || cluster.kubectl(&["get", "clusterrole", "cli my role", "-o", "jsonpath={.rules[0].verbs[0]}"]);
    assert_eq!(verb(), "get");
    snapback.ok(&["undo", "--yes", "--no-wait"]);
    assert_eq!(verb(), "list");
}

#[test]
fn a_pattern_that_matches_nothing_is_said() {
    let (cluster, _turn) = ControlPlane::shared_in_turn();
    cluster.apply("{apiVersion: v1, kind: Namespace, metadata: {name: cli-nothing}}");
    let snapback = Snapback::new().with_kubeconfig(&cluster.kubeconfig());
    snapback.ok(&["init"]);
    let (found, lost, path) = ("ns/cli-nothing", "cm/cli-nothing/nope", "cluster/nope/**");
    let only = ["--only", found, "--only", lost, "--only", path];
    for command in [&["backup"][..], &["restore", "1", "--dry-run"], &["diff", "1", "live"], &["diff", "live", "1"]] {
        let run = snapback.run(&[command, &only].concat());
        assert_eq!(run.code, 0, "{command:?}: {}", run.all());
        for pattern in [lost, path] {
            let warning = format!("warning: `{pattern}` matches nothing\n");
            assert_eq!(run.stderr.matches(&warning).count(), 1, "{command:?}: {}", run.all());
        }
        assert_eq!(run.stderr.matches("matches nothing").count(), 2, "{command:?}: {}", run.all());
    }
}

#[test]
fn a_type_that_is_gone_from_the_cluster_is_still_known_by_the_snapshot() {
    let (cluster, _turn) = ControlPlane::shared_in_turn();
    cluster.apply(
        "{apiVersion: v1, kind: Namespace, metadata: {name: cli-gone}}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: vaults.gone.example}
spec:
  group: gone.example
  names: {kind: Vault, plural: vaults, singular: vault, shortNames: [vlt]}
  scope: Namespaced
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}",
    );
    cluster.kubectl(&["wait", "--for=condition=established", "crd/vaults.gone.example"]);
    cluster.apply("{apiVersion: gone.example/v1, kind: Vault, metadata: {name: gold, namespace: cli-gone}}");
    let snapback = Snapback::new().with_kubeconfig(&cluster.kubeconfig());
    snapback.ok(&["init"]);
    snapback.ok(&["backup"]);
    snapback.ok(&["backup", "--only", "vlt", "--label", "part"]);
    cluster.kubectl(&["delete", "crd", "vaults.gone.example"]);

    for pattern in ["vaults.gone.example", "vaults", "vlt", "Vault/cli-gone/gold"] {
        for (before, after, verb) in [("1", "live", "removed"), ("live", "1", "added"), ("part", "live", "removed")] {
            let diff = snapback.json(&["diff", before, after, "--only", pattern]);
            assert_eq!(diff["summary"][verb], 1, "{before} {after} {pattern}: {diff}");
        }
        let plan =
            snapback.json(&["restore", "1", "--dry-run", "--only", pattern, "--only", "crd/vaults.gone.example"]);
        assert_eq!(plan["plan"]["counts"]["create"], 2, "{pattern}: {plan}");
        let plan = snapback.json(&["restore", "1", "--dry-run", "--only", pattern]);
        assert!(plan.to_string().contains("cluster/gone.example/vaults/cli-gone/gold.json"), "{pattern}: {plan}");
    }
    // The same filters as before, as a timer runs them.
    let again = snapback.ok(&["backup", "--only", "vlt"]);
    assert!(again.stderr.contains("warning: `vlt` matches nothing\n"), "{}", again.all());
    let typo = snapback.run(&["restore", "1", "--dry-run", "--only", "vualts"]);
    assert_eq!(typo.code, 2, "{}", typo.all());
    assert!(typo.stderr.contains("vaults.gone.example"), "{}", typo.all());
}

#[test]
fn what_lies_beside_the_cluster_is_compared_between_snapshots_and_never_with_the_live_one() {
    let (cluster, _turn) = ControlPlane::shared_in_turn();
    let snapback = Snapback::new().with_kubeconfig(&cluster.kubeconfig());
    snapback.ok(&["init"]);
    let machine = snapback.home().join("talos/machine.yaml");
    fs::create_dir(snapback.home().join("talos")).unwrap();
    fs::write(&machine, "machine: {}\n").unwrap();
    fs::write(snapback.home().join("snapback.yaml"), "files: [{label: talos, path: talos}]\n").unwrap();
    snapback.ok(&["backup"]);
    fs::write(&machine, "machine: {type: worker}\n").unwrap();
    snapback.ok(&["backup"]);
    assert_eq!(snapback.json(&["diff", "2", "live", "--only", "files"])["changes"], json!([]));
    assert_snapshot!(snapback.ok(&["diff", "1", "2", "--only", "files"]).stdout, @r"
    beside the cluster
      ~ files/talos/machine.yaml (12 B -> 24 B)

    0 added, 1 changed, 0 removed
    ");
    assert_snapshot!(snapback.run(&["show", "2:files/talos/machine.yaml"]).all(), @r"
    exit 4
    --- stdout
    --- stderr
    error: `files/talos/machine.yaml` may hold secrets and cannot be masked
    hint: --reveal shows it
    ");
    assert_eq!(snapback.ok(&["show", "1:files/talos/machine.yaml", "--reveal"]).stdout, "machine: {}\n");
}

#[test]
fn an_etcd_file_that_is_named_and_not_there_fails_the_backup() {
    let (cluster, _turn) = ControlPlane::shared_in_turn();
    let snapback = Snapback::new().with_kubeconfig(&cluster.kubeconfig());
    snapback.ok(&["init"]);
    let run = snapback.run(&["backup", "--quiet", "--etcd-snapshot", "missing.db"]);
    assert_snapshot!(run.all(), @r"
    exit 1
    --- stdout
    --- stderr
    error: cannot read the etcd snapshot `HOME/missing.db`
    caused by: No such file or directory (os error 2)
    ");
    assert_eq!(snapback.json(&["snapshots"])["snapshots"], json!([]));
}

#[test]
fn what_differs_and_cannot_be_put_back_is_never_called_as_it_was() {
    let cluster = ControlPlane::start(&Options::default().controllers());
    cluster.apply(
        "{apiVersion: v1, kind: Namespace, metadata: {name: cli-homeless}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: cli-homeless}}",
    );
    let snapback = Snapback::new().with_kubeconfig(&cluster.kubeconfig());
    snapback.ok(&["init"]);
    snapback.ok(&["backup"]);
    cluster.kubectl(&["delete", "namespace", "cli-homeless"]);
    // The namespace itself is not selected, so nothing can go back into it.
    let run = snapback.run(&["restore", "1", "--dry-run", "--only", "cluster/core/configmaps/cli-homeless/a.json"]);
    assert_eq!(run.code, 3, "{}", run.all());
    assert_eq!(
        run.stdout.lines().last().unwrap(),
        "nothing can be done: 1 object that differs is left alone (the line with `=`)"
    );
}
