//! A restore over a change of storage version, as it is typed: what is lost elsewhere is asked for apart.

use insta::assert_snapshot;
use serde_json::Value;

use super::normal::normal;
use super::terminal::on_a_terminal;
use crate::harness::control_plane::{ControlPlane, Options};
use crate::harness::snapback::Snapback;

const OLD: &str = "{name: v1alpha1, served: true, storage: STORED, schema: {openAPIV3Schema: {type: object,
      properties: {spec: {type: object, properties: {size: {type: integer, minimum: 1}}}}}}}";
const NEW: &str = "{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object,
      x-kubernetes-preserve-unknown-fields: true}}}";

fn crd(plural: &str, versions: &[&str]) -> String {
    format!(
        "{{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {{name: {plural}.stored.example}},
  spec: {{group: stored.example, scope: Namespaced, names: {{kind: Kind{plural}, plural: {plural}}}, versions: [{}]}}}}",
        versions.join(", ")
    )
}

fn object(plural: &str, version: &str, namespace: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: stored.example/{version}, kind: Kind{plural}, metadata: {{name: a, namespace: {namespace}}},
  spec: {spec}}}"
    )
}

#[test]
fn a_type_goes_back_to_its_older_version_and_what_others_lose_by_it_is_accepted_apart() {
    let cluster = ControlPlane::start(&Options::default());
    for namespace in ["mine", "theirs"] {
        cluster.kubectl(&["create", "namespace", namespace]);
    }
    let served = |version: &str, plural: &str| {
        let name = format!("crd/{plural}.stored.example");
        cluster.kubectl(&["wait", "--for=condition=Established", &name, "--timeout=60s"]);
        while !cluster
            .kubectl(&["get", "--raw", "/apis/stored.example"])
            .contains(&format!("stored.example/{version}\""))
            || !cluster.kubectl(&["get", "--raw", &format!("/apis/stored.example/{version}")]).contains(plural)
        {
        }
    };
    let old = |stored: &str| OLD.replace("STORED", stored);
    cluster.apply(&crd("things", &[&old("true")]));
    served("v1alpha1", "things");
    for namespace in ["mine", "theirs"] {
        cluster.apply(&object("things", "v1alpha1", namespace, "{size: 1}"));
    }
    let snapback = Snapback::new().with_kubeconfig(&cluster.kubeconfig());
    snapback.ok(&["init"]);
    snapback.ok(&["backup"]);

    cluster.apply(&crd("things", &[&old("false"), NEW]));
    served("v1", "things");
    let replace = |object: &str| cluster.kubectl_with_input(&["replace", "-f", "-"], object);
    replace(&object("things", "v1", "theirs", "{size: 0, tls: {secret: x}}"));
    replace(&object("things", "v1", "mine", "{size: 2}"));
    cluster.apply(&crd("added", &[NEW]));
    served("v1", "added");
    cluster.apply(&object("added", "v1", "theirs", "{size: 1}"));

    let only = ["--only", "crd/*.stored.example", "--only", "things/mine", "--only", "added/mine"];
    let restore = |more: &[&str]| snapback.run(&[&["restore", "1"], more, &only].concat());
    let tls = |version: &str| {
        let path = format!("/apis/stored.example/{version}/namespaces/theirs/things/a");
        let object: Value = serde_json::from_str(&cluster.kubectl(&["get", "--raw", &path])).unwrap();
        object["spec"].get("tls").is_some()
    };

    let shown = restore(&["--dry-run"]);
    let lines: Vec<&str> = shown.stdout.lines().filter(|line| line.starts_with("  ")).collect();
    assert_snapshot!(normal(&lines.join("\n")), @r"
      ! things.stored.example theirs/a is outside of what is restored and loses what v1alpha1 does not know: spec.tls, and breaks rules of v1alpha1: spec.size (minimum)
      ~ customresourcedefinitions.apiextensions.k8s.io things.stored.example: all 2 objects of its type are stored anew at v1alpha1 instead of v1
      ~ things.stored.example mine/a: spec.size, and N of noise *
      = customresourcedefinitions.apiextensions.k8s.io added.stored.example: left alone, it was added and has objects that would go with it (1); --delete-added-types deletes them
    ");
    // A yes to the plan is none to what others lose.
    let refused = restore(&["--yes"]);
    assert_eq!(refused.code, 4, "{}", refused.all());
    let told: Vec<&str> = refused.stderr.lines().filter(|line| line.contains(": ")).skip(1).collect();
    assert_snapshot!(told.join("\n"), @r"
    error: 1 object outside of what is restored would lose fields or break rules of an older version; nothing was changed
    hint: the lines with `!` name them; `snapback restore 1 --only 'crd/*.stored.example' --only things/mine --only added/mine --lose-fields --yes` accepts that
    ");
    let typed = format!("restore 1 {}", only.join(" "));
    let (code, text) = on_a_terminal(&snapback, &typed, &[], "y\nn\n");
    assert!(code == 4 && text.matches("[y/N]").count() == 2, "{text}");
    assert!(text.contains("1 object outside of what is restored would lose fields"), "{text}");
    assert!(tls("v1"), "nothing was changed");
    assert_eq!(snapback.json(&["snapshots"])["snapshots"].as_array().unwrap().len(), 1);

    let restored = restore(&["--yes", "--lose-fields"]);
    assert_eq!(restored.code, 0, "{}", restored.all());
    assert!(restored.stdout.contains("proven: no unexplained difference"), "{}", restored.stdout);
    assert!(!tls("v1alpha1"));
    assert!(restore(&["--dry-run"]).stdout.contains("nothing to do: everything in this scope is as it was"));
    let crds = cluster.kubectl(&["get", "crd", "-o", "name"]);
    assert!(crds.contains("added.stored.example"), "it has an object of somebody else: {crds}");

    // What was there before knows every field, and comes back whole.
    let undone = snapback.run(&[
        "restore",
        "before-restore",
        "--yes",
        "--only",
        "crd/things.stored.example",
        "--only",
        "things",
    ]);
    assert_eq!(undone.code, 0, "{}", undone.all());
    assert!(tls("v1"));

    let all = restore(&["--yes", "--lose-fields", "--delete-added-types"]);
    assert_eq!(all.code, 0, "{}", all.all());
    let crds = cluster.kubectl(&["get", "crd", "-o", "name"]);
    assert!(!crds.contains("added.stored.example"), "{crds}");
}
