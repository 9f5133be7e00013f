//! Fail closed: what may not be read is named with the verb, the type and the server's words.

use snapback::snapshot::{CaptureOptions, Scope, Selection, TypeState};

use super::taking::{connect, connect_with, crd, create_crd, only, take, take_after};
use crate::harness::control_plane::{ControlPlane, Options};

/// A reader of everything that is named here, and of nothing else.
fn allow(control_plane: &ControlPlane, user: &str, rules: &str) {
    control_plane.apply(&format!(
        "{{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {{name: {user}}}, rules: {rules}}}\n---\n\
         {{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {{name: {user}}},\n\
           roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {user}}},\n\
           subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: {user}}}]}}\n"
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_listed_makes_the_capture_partial_and_is_named() {
    let control_plane = ControlPlane::start(&Options::default());
    let cluster = connect(&control_plane).await;
    create_crd(&cluster, &crd("things", &["v1beta1", "v1"])).await;
    let whole = take(&cluster).await;

    // Everything but Secrets, with what a complete backup needs and no more: list, and get of one namespace.
    let mut resources: Vec<String> = Vec::new();
    for record in &whole.types().await.types {
        if record.objects().is_some() && record.resource != "secrets" {
            resources
                .push(format!("{{apiGroups: ['{}'], resources: [{}], verbs: [list]}}", record.group, record.resource));
        }
    }
    resources.push("{apiGroups: [''], resources: [namespaces], resourceNames: [kube-system], verbs: [get]}".to_owned());
    allow(&control_plane, "no-secrets", &format!("[{}]", resources.join(", ")));
    let reader = connect_with(control_plane.kubeconfig_for("no-secrets", None)).await;
    let taken = take_after(&reader, &CaptureOptions::default(), None).await.unwrap();
    let missing: Vec<_> = taken.capture.unlistable.iter().map(|missing| missing.resource.as_str()).collect();
    assert_eq!(missing, ["secrets"]);
    let secrets = &taken.capture.unlistable[0];
    assert_eq!((secrets.status, secrets.verb.as_str()), (403, "list"));
    assert!(secrets.reason.contains(r#"cannot list resource "secrets""#), "{}", secrets.reason);
    let record = taken.types().await.find("", "secrets").unwrap().clone();
    assert!(matches!(record.state, TypeState::Unlistable { status: 403, .. }), "{record:?}");

    // Where Secrets are not selected nothing is missing.
    let without = Selection::new(&[], &["secrets".to_owned()], Scope::Everything).unwrap();
    let options = CaptureOptions { selection: without, ..CaptureOptions::default() };
    assert_eq!(take_after(&reader, &options, None).await.unwrap().capture.unlistable, []);

    // Hardly anything: every other type is named, the CRDs too, and nothing is lost of what may be read.
    allow(
        &control_plane,
        "little",
        "[{apiGroups: [''], resources: [namespaces], verbs: [list, get]}, {apiGroups: [''], resources: [configmaps], verbs: [list]}]",
    );
    let little = connect_with(control_plane.kubeconfig_for("little", None)).await;
    let taken = take_after(&little, &CaptureOptions::default(), None).await.unwrap();
    assert_eq!(
        taken.types().await.find("", "configmaps").unwrap().objects(),
        whole.types().await.find("", "configmaps").unwrap().objects()
    );
    for resource in ["customresourcedefinitions", "apiservices", "secrets", "things"] {
        assert_eq!(taken.missing(resource).map(|(status, _)| status), Some(403), "{resource}");
    }
    let listed = whole.types().await.types.iter().filter(|record| record.objects().is_some()).count();
    assert_eq!(taken.capture.unlistable.len(), listed - 2);

    // One namespace's ConfigMaps are asked for in that namespace alone.
    let taken = take_after(&little, &only(&["cm/kube-system", "ns/default"]), None).await.unwrap();
    assert_eq!(taken.capture.unlistable, []);
    let lists = control_plane.audit_log();
    assert!(
        lists
            .iter()
            .any(|event| event.user == "little" && event.uri.starts_with("/api/v1/namespaces/kube-system/configmaps?"))
    );

    // A capture only reads.
    for event in control_plane.audit_log() {
        assert!(!event.is_write() || !["no-secrets", "little"].contains(&event.user.as_str()), "{event:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_right_the_error_names_verb_and_type() {
    let control_plane = ControlPlane::shared();
    let nobody = connect_with(control_plane.kubeconfig_for("without-rights", None)).await;
    let error = take_after(&nobody, &CaptureOptions::default(), None).await.err().unwrap().to_string();
    assert!(error.contains(r#"User "without-rights" cannot get resource "namespaces""#), "{error}");
}
