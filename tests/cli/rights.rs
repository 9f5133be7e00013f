//! A restore by an account that may not write: said beforehand, with what is missing, and nothing is changed.

use insta::assert_snapshot;
use serde_json::json;

use crate::harness::control_plane::ControlPlane;
use crate::harness::snapback::Snapback;

/// Reads everything, writes nothing.
const READER: &str = "cli-rights";

#[test]
fn a_restore_without_the_rights_for_it_is_refused_before_anything_is_changed() {
    let (cluster, _turn) = ControlPlane::shared_in_turn();
    cluster.apply(
        "{apiVersion: v1, kind: Namespace, metadata: {name: cli-rights}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: cli-rights}, data: {mode: production}}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: cli-rights}, rules: [
  {apiGroups: ['*'], resources: ['*'], verbs: [get, list]}, {nonResourceURLs: ['*'], verbs: [get]}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: cli-rights}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cli-rights}, subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: cli-rights}]}",
    );
    let snapback = Snapback::new().with_kubeconfig(&cluster.kubeconfig_for(READER, None));
    snapback.ok(&["init"]);
    snapback.ok(&["backup"]);
    cluster.kubectl(&["create", "configmap", "extra", "-n", "cli-rights"]);
    cluster.kubectl(&["patch", "cm", "a", "-n", "cli-rights", "--type=merge", "-p", r#"{"data":{"mode":"test"}}"#]);
    let mode = || cluster.kubectl(&["get", "cm", "a", "-n", "cli-rights", "-o", "jsonpath={.data.mode}"]);
    let restore = ["restore", "1", "--only", "cm/cli-rights/a", "--only", "cm/cli-rights/extra"];

    let dry = snapback.ok(&[&restore[..], &["--dry-run"]].concat());
    assert_snapshot!(warnings(&dry.stderr), @r"
    warning: the account of context `throwaway` may not do all that this takes:
      may not update, delete configmaps in cli-rights
      may not create, update, delete leases.coordination.k8s.io in kube-system
    ");
    let missing = snapback.json(&[&restore[..], &["--dry-run"]].concat())["missingRights"].clone();
    let right = |verb: &str| json!({"verb": verb, "group": "", "resource": "configmaps", "subresource": "", "namespace": "cli-rights"});
    let lease = |verb: &str| json!({"verb": verb, "group": "coordination.k8s.io", "resource": "leases", "subresource": "", "namespace": "kube-system"});
    assert_eq!(missing, json!([right("update"), right("delete"), lease("create"), lease("update"), lease("delete")]));

    let refused = snapback.run(&[&restore[..], &["--yes"]].concat());
    assert_eq!(refused.code, 4, "{}", refused.all());
    assert_snapshot!(warnings(&refused.stderr), @r#"
    error: the account of context `throwaway` may not do all that this takes; nothing was changed
    caused by: may not update, delete configmaps in cli-rights
    caused by: may not create, update, delete leases.coordination.k8s.io in kube-system
    hint: `kubectl auth can-i update configmaps -n cli-rights` asks the same
    hint: a ClusterRole with these rules, bound to the account, is enough for this plan:
    hint: - {apiGroups: [""], resources: [configmaps], verbs: [delete, update]}
    hint: - {apiGroups: ["coordination.k8s.io"], resources: [leases], verbs: [create, delete, update]}
    "#);
    assert_eq!(mode(), "test");
    assert_eq!(snapback.json(&["snapshots"])["snapshots"].as_array().unwrap().len(), 1);
    // Asking is no write, and it asks in a namespace only what is denied everywhere: not `get`.
    let asked: Vec<_> = cluster.audit_log().into_iter().filter(|event| event.user == READER).collect();
    assert_eq!(asked.iter().filter(|event| event.is_write()).collect::<Vec<_>>(), Vec::<&_>::new());
    let reviews = asked.iter().filter(|event| event.uri.contains("/selfsubjectaccessreviews")).count();
    assert_eq!(
        reviews,
        3 * (3 + 2 + 4 + 3),
        "three runs; verbs everywhere, then those denied in the namespace, of two types"
    );

    // What the hint asks for, in these namespaces alone, is enough.
    cluster.apply(
        "{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: writer, namespace: cli-rights}, rules: [
  {apiGroups: [''], resources: [configmaps], verbs: [delete, update]}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: writer, namespace: cli-rights}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: writer}, subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: cli-rights}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: cli-rights, namespace: kube-system}, rules: [
  {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [create, delete, update]}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: cli-rights, namespace: kube-system}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: cli-rights}, subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: cli-rights}]}",
    );
    let restored = snapback.ok(&[&restore[..], &["--yes"]].concat());
    assert_eq!((warnings(&restored.stderr).as_str(), mode().as_str()), ("", "production"));
}

/// Without the lines about how far the work is.
fn warnings(stderr: &str) -> String {
    let lines = stderr.lines().skip_while(|line| !line.starts_with("warning:") && !line.starts_with("error:"));
    lines.collect::<Vec<_>>().join("\n")
}
