//! A small world with a secret in it, and a way of running commands that fails when any of them shows the secret (I10).

use super::normal::normal;
use crate::harness::control_plane::ControlPlane;
use crate::harness::snapback::{Run, Snapback};

/// A value that must be nowhere but in the repository.
const CANARY: &str = "canary-6c1f0a9b";
/// The same as it lies in `data`.
pub(super) const CANARY_BASE64: &str = "Y2FuYXJ5LTZjMWYwYTli";
/// What it is changed to, of the same length.
pub(super) const OTHER: &str = "canary-77777777";

const WORLD: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: NAMESPACE}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: NAMESPACE}
data:
  mode: production
  script: |
    one
    two
    three
  looks-like-a-bool: "no"
---
apiVersion: v1
kind: ConfigMap
metadata: {name: doomed, namespace: NAMESPACE}
data: {a: b}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: databases.GROUP}
spec:
  group: GROUP
  names: {kind: Database, plural: databases, singular: database, shortNames: [db]}
  scope: Namespaced
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
"#;

/// Runs commands and looks for the canary in everything they print.
pub(super) struct Watched(pub(super) Snapback);

impl Watched {
    pub(super) fn run(&self, arguments: &[&str]) -> Run {
        let run = self.0.run(arguments);
        for secret in [CANARY, CANARY_BASE64, OTHER, &base64(OTHER)] {
            // Nothing here is a terminal: no colour, no bars.
            assert!(!run.stdout.contains('\u{1b}') && !run.stderr.contains('\u{1b}'), "{arguments:?}: {}", run.all());
            assert!(!run.stdout.contains(secret) && !run.stderr.contains(secret), "{arguments:?} shows {secret}");
        }
        run
    }

    pub(super) fn shown(&self, arguments: &[&str]) -> String {
        normal(&self.run(arguments).all())
    }

    pub(super) fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let run = self.run(&[arguments, &["--output", "json"]].concat());
        serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}\n{}", run.all()))
    }
}

pub(super) fn base64(text: &str) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    assert!(text.len().is_multiple_of(3), "no padding here");
    let groups = text.as_bytes().chunks(3).flat_map(|group| {
        let bits = u32::from(group[0]) << 16 | u32::from(group[1]) << 8 | u32::from(group[2]);
        [18, 12, 6, 0].map(|shift| char::from(LETTERS[(bits >> shift & 63) as usize]))
    });
    groups.collect()
}

/// Puts it into a namespace of its own; its custom type is of this group.
pub(super) fn fill(cluster: &ControlPlane, namespace: &str, group: &str) {
    cluster.apply(&WORLD.replace("NAMESPACE", namespace).replace("GROUP", group));
    cluster.kubectl(&["wait", "--for=condition=established", &format!("crd/databases.{group}")]);
    cluster.apply(&format!(
        "{{apiVersion: {group}/v1, kind: Database, metadata: {{name: orders, namespace: {namespace}}}, spec: {{size: 9007199254740993}}}}",
    ));
    // The way of applying that leaves the whole object in an annotation.
    let secret = format!(
        "{{apiVersion: v1, kind: Secret, metadata: {{name: password, namespace: {namespace}}}, stringData: {{value: {CANARY}}}}}"
    );
    cluster.kubectl_with_input(&["apply", "-f", "-"], &secret);
}
