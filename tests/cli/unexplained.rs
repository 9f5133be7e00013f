//! A restore that does not hold: something on the cluster writes every object another way, and the proof says so.

use insta::assert_snapshot;

use super::normal::normal;
use crate::harness::control_plane::ControlPlane;
use crate::harness::snapback::Snapback;

/// Stands in for an operator that wants its own value back: whoever writes, the API server writes this.
const STUBBORN: &str = "
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: cli-stubborn}
spec:
  failurePolicy: Fail
  reinvocationPolicy: Never
  matchConstraints:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: cli-stubborn}}
    resourceRules: [{apiGroups: [''], apiVersions: [v1], operations: [UPDATE], resources: [configmaps]}]
  mutations:
    - patchType: JSONPatch
      jsonPatch: {expression: '[JSONPatch{op: \"replace\", path: \"/data/mode\", value: \"stubborn\"}]'}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: cli-stubborn}
spec: {policyName: cli-stubborn}
";

#[test]
fn a_difference_that_stays_after_a_restore_is_named_and_fails_it() {
    let (cluster, _turn) = ControlPlane::shared_in_turn();
    cluster.apply(
        "{apiVersion: v1, kind: Namespace, metadata: {name: cli-stubborn}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: cli-stubborn}, data: {mode: production}}",
    );
    let snapback = Snapback::new().with_kubeconfig(&cluster.kubeconfig());
    snapback.ok(&["init"]);
    snapback.ok(&["backup"]);
    cluster.apply(STUBBORN);
    let mut turn = 0;
    while cluster.kubectl(&["get", "cm", "a", "-n", "cli-stubborn", "-o", "jsonpath={.data.mode}"]) != "stubborn" {
        turn += 1;
        let patch = format!(r#"{{"data":{{"turn":"{turn}"}}}}"#);
        cluster.kubectl(&["patch", "cm", "a", "-n", "cli-stubborn", "--type=merge", "-p", &patch]);
    }
    let run = snapback.run(&["restore", "1", "--yes", "--only", "cm/cli-stubborn/a"]);
    assert_eq!(run.code, 1, "{}", run.all());
    let told: Vec<&str> = run.stdout.lines().filter(|line| line.contains("unexplained")).collect();
    assert_snapshot!(normal(&told.join("\n")), @r"
      unexplained: configmaps cli-stubborn/a differs in data.mode, and N of noise
    not as it was: 1 unexplained difference
    ");
    assert_snapshot!(normal(run.stderr.lines().last().unwrap()), @"hint: `snapback diff 1 live` shows the differences");
    assert!(run.stdout.contains("`snapback undo` goes back to snapshot #2 ("), "{}", run.stdout);
    cluster.kubectl(&["delete", "mutatingadmissionpolicybinding", "cli-stubborn"]);
}
