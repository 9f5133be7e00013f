//! A type that nobody could read when the snapshot of before was taken, and that the rollback itself makes readable: what
//! no snapshot holds is neither changed nor deleted, until a snapshot holds it.

use std::time::{Duration, Instant};

use crate::harness::control_plane::{ControlPlane, Options};
use crate::harness::snapback::Snapback;

const DEAD: &str = ", conversion: {strategy: Webhook, webhook: {conversionReviewVersions: [v1], \
    clientConfig: {service: {namespace: default, name: nobody}}}}";

/// The type as it is now, with the version that it is stored at.
fn define(cluster: &ControlPlane, stored: &str, conversion: &str) {
    let version = |name: &str| {
        format!(
            "{{name: {name}, served: true, storage: {}, schema: {{openAPIV3Schema: {{type: object, \
             x-kubernetes-preserve-unknown-fields: true}}}}}}",
            name == stored
        )
    };
    let versions = if stored == "v1" { version("v1") } else { format!("{}, {}", version("v1"), version("v2")) };
    cluster.apply(&format!(
        "{{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {{name: pips.ex.io}}, \
         spec: {{group: ex.io, scope: Namespaced, names: {{plural: pips, singular: pip, kind: Pip}}, \
         versions: [{versions}]{conversion}}}}}"
    ));
}

fn pip(cluster: &ControlPlane, version: &str, name: &str, size: u32) {
    let pip = format!(
        "{{apiVersion: ex.io/{version}, kind: Pip, metadata: {{name: {name}, namespace: default}}, spec: {{size: {size}}}}}"
    );
    until(|| cluster.kubectl_succeeds(&["apply", "--server-side", "-f", "-"], &pip));
}

fn until(mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(90), "it never came to be");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn is_readable(cluster: &ControlPlane) -> bool {
    cluster.kubectl_succeeds(&["get", "--raw", "/apis/ex.io/v2/namespaces/default/pips"], "")
}

/// Names and sizes.
fn pips(cluster: &ControlPlane) -> String {
    let format = "jsonpath={range .items[*]}{.metadata.name}={.spec.size} {end}";
    cluster.kubectl(&["get", "pips.v2.ex.io", "-n", "default", "-o", format])
}

#[test]
fn what_becomes_readable_by_the_rollback_is_saved_before_it_is_changed() {
    let cluster = ControlPlane::start(&Options::default());
    let snapback = Snapback::new().with_kubeconfig(&cluster.kubeconfig());
    snapback.ok(&["init"]);
    define(&cluster, "v1", "");
    for name in ["g1", "g2", "g3"] {
        pip(&cluster, "v1", name, 1);
    }
    define(&cluster, "v2", "");
    until(|| is_readable(&cluster));
    snapback.ok(&["backup", "--label", "pre-upgrade"]);
    pip(&cluster, "v2", "g4", 4);
    pip(&cluster, "v2", "g3", 3);
    cluster.kubectl(&["delete", "pips.v2.ex.io", "g2", "-n", "default"]);
    let upgraded = "g1=1 g3=3 g4=4 ";
    assert_eq!(pips(&cluster), upgraded);
    // Objects are stored at both versions, and nobody converts any more.
    define(&cluster, "v2", DEAD);
    until(|| !is_readable(&cluster));

    let rollback = ["rollback", "pre-upgrade", "--scope", "everything", "--yes", "--no-wait"];
    let run = snapback.run(&rollback);
    assert_eq!(run.code, 1, "{}", run.all());
    // The type can be read, what was missing is there, and what no snapshot has is as it was.
    assert_eq!(pips(&cluster), "g1=1 g2=1 g3=3 g4=4 ", "{}", run.all());
    let told = "note: 2 objects that differ are left alone: it could not be read when the snapshot of before was taken";
    assert!(run.stderr.contains(told), "{}", run.all());
    assert!(!run.stdout.contains("proven: no unexplained difference"), "{}", run.all());

    // Once more, with a snapshot that has them.
    let run = snapback.run(&rollback);
    assert_eq!(run.code, 0, "{}", run.all());
    assert_eq!(pips(&cluster), "g1=1 g2=1 g3=1 ");
    snapback.ok(&["undo", "--yes", "--no-wait"]);
    assert_eq!(pips(&cluster), "g1=1 g2=1 g3=3 g4=4 ");
}
