//! What an account may not list is in no snapshot: nothing that could take it along is deleted, and nobody is told that
//! all is proven.

use crate::harness::control_plane::{ControlPlane, Options};
use crate::harness::snapback::Snapback;

/// Does everything but with what is in the group `policy`.
const BLIND: &str = "cli-blind";

fn blind(cluster: &ControlPlane) -> String {
    let versions = cluster.kubectl(&["api-versions"]);
    let groups = versions.lines().filter_map(|version| version.split_once('/')).map(|(group, _)| group);
    let groups: Vec<_> = groups.filter(|group| *group != "policy").map(|group| format!("'{group}'")).collect();
    cluster.apply(&format!(
        "{{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {{name: {BLIND}}}, rules: [
  {{apiGroups: ['', {}], resources: ['*'], verbs: ['*']}}, {{nonResourceURLs: ['*'], verbs: [get]}}]}}
---
{{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {{name: {BLIND}}}, roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {BLIND}}}, subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: {BLIND}}}]}}",
        groups.join(", ")
    ));
    cluster.kubeconfig_for(BLIND, None).to_str().unwrap().to_owned()
}

#[test]
fn what_could_not_be_listed_is_neither_taken_along_nor_said_to_be_proven() {
    let cluster = ControlPlane::start(&Options::default());
    let kubeconfig = blind(&cluster);
    let budget = |name: &str, namespace: &str| {
        format!(
            "{{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {{name: {name}, namespace: {namespace}}}, spec: {{minAvailable: 1}}}}"
        )
    };
    cluster.apply(&budget("old", "default"));
    cluster.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: default}, data: {mode: one}}");
    let snapback = Snapback::new().with_kubeconfig(&cluster.kubeconfig());
    let as_blind = |arguments: &[&str]| snapback.run(&[arguments, &["--kubeconfig", &kubeconfig]].concat());
    let budgets = |namespace: &str| cluster.kubectl(&["get", "pdb", "-n", namespace, "-o", "name"]);
    snapback.ok(&["init"]);
    snapback.ok(&["backup"]);

    // A namespace that was added, with something in it that only others can see.
    cluster.apply("{apiVersion: v1, kind: Namespace, metadata: {name: added}}");
    cluster.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: b, namespace: added}}");
    cluster.apply(&budget("precious", "added"));
    let run = as_blind(&["restore", "1", "--yes"]);
    assert_eq!(run.code, 1, "{}", run.all());
    let told =
        "what it holds of poddisruptionbudgets.policy could not be listed, is in no snapshot, and would go with it";
    assert!(run.all().contains(told), "{}", run.all());
    assert!(run.all().contains("is partial: `snapback undo` cannot put back"), "{}", run.all());
    let takes = "warning: what is deleted takes along what it owns of these types, which no snapshot has:\n";
    assert!(run.stderr.contains(takes), "{}", run.all());
    // They are there: that they cannot be seen does not make them missing.
    assert!(!run.all().contains("unexplained: poddisruptionbudgets"), "{}", run.all());
    assert!(budgets("added").contains("precious"));
    assert_eq!(cluster.kubectl(&["get", "cm", "b", "-n", "added", "--ignore-not-found"]), "");

    // Back to what such an account saw: all that can be done is done, and the exit code says that it is not all.
    assert_eq!(as_blind(&["backup", "--label", "seen"]).code, 3);
    cluster.kubectl(&["delete", "pdb", "old", "-n", "default"]);
    cluster.kubectl(&["patch", "cm", "a", "-n", "default", "--type=merge", "-p", r#"{"data":{"mode":"two"}}"#]);
    let run = snapback.run(&["restore", "seen", "--yes"]);
    assert_eq!(run.code, 3, "{}", run.all());
    assert!(
        run.stderr
            .contains("nothing is proven, of what the snapshot or the cluster could not be read of when this began:\n"),
        "{}",
        run.all()
    );
    assert!(run.stderr.contains("poddisruptionbudgets.policy"), "{}", run.all());
    assert_eq!(cluster.kubectl(&["get", "cm", "a", "-n", "default", "-o", "jsonpath={.data.mode}"]), "one");
    assert_eq!(budgets("default"), "");
}
