//! What a rollback and an undo refuse, with the words.

use std::time::{Duration, Instant};

use insta::assert_snapshot;
use serde_json::json;

use crate::harness::control_plane::{ControlPlane, Options};
use crate::harness::snapback::Snapback;

const SPACE: &str = "{apiVersion: v1, kind: Namespace, metadata: {name: cozy-system}}";

fn map(name: &str, value: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}, namespace: cozy-system}}, data: {{a: '{value}'}}}}"
    )
}

/// Every key of a plan's file is on its page.
fn check_documented(value: &serde_json::Value) {
    const PAGE: &str = include_str!("../../docs/plan-format.md");
    match value {
        serde_json::Value::Array(values) => values.iter().for_each(check_documented),
        serde_json::Value::Object(fields) => {
            for (key, value) in fields {
                assert!(PAGE.contains(&format!("`{key}`")), "`{key}` is not in docs/plan-format.md");
                // These have UIDs and paths for keys.
                if !matches!(key.as_str(), "uids" | "tokens") {
                    check_documented(value);
                }
            }
        }
        _ => {}
    }
}

/// A cluster with a snapshot of before, and something that changed since.
fn changed() -> (ControlPlane, Snapback) {
    let cluster = ControlPlane::start(&Options::default());
    let snapback = Snapback::new().with_kubeconfig(&cluster.kubeconfig());
    cluster.apply(SPACE);
    cluster.apply(&map("version", "1"));
    snapback.ok(&["init"]);
    (cluster, snapback)
}

#[test]
fn what_is_no_way_back_is_refused_before_anything_is_changed() {
    let (cluster, snapback) = changed();
    assert_snapshot!(snapback.run(&["rollback"]).all(), @r"
    exit 4
    --- stdout
    --- stderr
    error: no snapshot of this cluster has the label pre-upgrade
    hint: `snapback snapshots` lists what there is, and `snapback rollback NUMBER` goes back to one of them
    hint: before an upgrade, `snapback backup --label pre-upgrade` takes one
    ");
    assert_snapshot!(snapback.run(&["undo"]).all(), @r"
    exit 4
    --- stdout
    --- stderr
    error: there is no rollback or restore of this cluster to undo
    hint: `snapback snapshots` lists what there is, and `snapback restore NUMBER` goes back to one of them
    ");
    snapback.ok(&["backup", "--only", "cm", "--label", "pre-upgrade", "--quiet"]);
    let run = snapback.run(&["rollback"]);
    assert_eq!(run.code, 4);
    assert!(run.stderr.contains("(pre-upgrade, "), "{}", run.stderr);
    assert!(run.stderr.contains("does not hold the whole cluster, and there is no other one"), "{}", run.stderr);
    assert_eq!(snapback.run(&["rollback", "--scope", "tenants"]).code, 2);
    snapback.ok(&["backup", "--label", "pre-upgrade"]);
    assert_snapshot!(snapback.run(&["rollback", "--force", "nonsense", "--quiet"]).all(), @r"
    exit 2
    --- stdout
    --- stderr
    error: the never-list has no rule `nonsense`
    hint: `snapback restore --never-list` lists the rules
    ");

    // Nobody to ask, and a plan that was read and is another one now.
    cluster.apply(&map("version", "2"));
    let run = snapback.run(&["rollback", "--scope", "namespace=cozy-system", "--quiet"]);
    assert_eq!(run.code, 4);
    assert_snapshot!(run.stderr, @r"
    error: the rollback changes the cluster and there is no terminal to ask on; nothing was changed
    hint: run `snapback rollback 2 --scope namespace=cozy-system --yes`
    ");
    snapback.ok(&["rollback", "--plan-out", "plan.json"]);
    // Said before a cluster is looked at.
    assert_snapshot!(snapback.run(&["rollback", "--plan-out", "plan.json", "--kubeconfig", "nowhere"]).all(), @r"
    exit 4
    --- stdout
    --- stderr
    error: `plan.json` is there already, and a plan is not written over another file
    hint: name a new file, or remove that one
    ");
    let plan = std::fs::read_to_string(snapback.home().join("plan.json")).unwrap();
    assert!(plan.contains("cozy-system/version.json") && !plan.contains("\"data\""), "{plan}");
    check_documented(&serde_json::from_str(&plan).unwrap());
    cluster.apply(&map("added", "2"));
    assert_snapshot!(snapback.run(&["rollback", "--plan", "plan.json", "--yes", "--quiet"]).all(), @r"
    exit 10
    --- stdout
    --- stderr
    error: the plan does not fit the cluster any more; nothing was changed
    caused by: new: delete configmaps cozy-system/added
    hint: make a new plan with --plan-out, and read it
    ");
    std::fs::write(snapback.home().join("edited.json"), plan.replace("\"force\": []", "\"force\": [\"lose-fields\"]"))
        .unwrap();
    let run = snapback.run(&["rollback", "--plan", "edited.json", "--yes", "--quiet"]);
    assert_eq!(run.code, 2, "{}", run.all());
    assert!(run.stderr.contains("caused by: it was changed since it was written"), "{}", run.stderr);
    std::fs::write(snapback.home().join("no-plan.json"), "{}").unwrap();
    assert_snapshot!(snapback.run(&["rollback", "--plan", "no-plan.json", "--quiet"]).all(), @r"
    exit 2
    --- stdout
    --- stderr
    error: `no-plan.json` cannot be used
    caused by: it is not a plan that `--plan-out` wrote
    caused by: missing field `format` at line 1 column 2
    hint: `snapback rollback --plan-out FILE` makes a plan
    ");
    // What has no end is not read.
    for endless in ["/dev/zero", "/dev/fd/0"] {
        let mut command = snapback.command(&["rollback", "--plan", endless, "--quiet"]);
        let run = snapback.take(command.stdin(std::process::Stdio::piped()).output().unwrap());
        assert_eq!(run.code, 2, "{}", run.all());
        assert!(run.stderr.contains("caused by: it is no regular file\n"), "{}", run.all());
    }
    cluster.kubectl(&["delete", "configmap", "added", "-n", "cozy-system"]);

    assert_eq!(snapback.run(&["rollback", "--scope", "namespace=nope"]).code, 2, "a typo is no success");

    // Held by a transaction that nobody here knows of: neither planned over, nor gone back to.
    let installer = |marks: &str| {
        format!(
            "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: cozystack, namespace: cozy-system, annotations: {{{marks}}}}},
              spec: {{replicas: 0, selector: {{matchLabels: {{a: b}}}}, template: {{metadata: {{labels: {{a: b}}}},
              spec: {{containers: [{{name: a, image: a}}]}}}}}}}}"
        )
    };
    cluster.apply(&installer("snapback.io/held-by: 20991231T000000Z-00000000"));
    snapback.ok(&["backup", "--quiet"]);
    let run = snapback.run(&["rollback", "--dry-run", "--quiet"]);
    assert_eq!(run.code, 6, "{}", run.all());
    assert!(run.stderr.contains("kubectl annotate deployments.apps cozystack -n cozy-system"), "{}", run.stderr);
    let run = snapback.run(&["rollback", "latest", "--dry-run", "--quiet"]);
    assert_eq!(run.code, 4, "{}", run.all());
    assert!(run.stderr.contains("was taken while transaction 20991231T000000Z-00000000 held"), "{}", run.stderr);
    cluster.kubectl(&["delete", "deployment", "cozystack", "-n", "cozy-system"]);

    // Somebody else works on the cluster.
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "snapback", "namespace": "kube-system"},
        "spec": {"holderIdentity": "20991231T000000Z-00000000", "leaseDurationSeconds": 3600,
            "renewTime": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()}});
    cluster.apply(&lease.to_string());
    let run = snapback.run(&["rollback", "--plan", "plan.json", "--yes", "--quiet"]);
    assert_eq!(run.code, 6, "{}", run.all());
    assert!(run.stderr.contains("transaction `20991231T000000Z-00000000` works on this cluster"), "{}", run.stderr);
    cluster.kubectl(&["delete", "lease", "snapback", "-n", "kube-system"]);

    // What was reviewed is what runs.
    let done = snapback.run(&["rollback", "--plan", "plan.json", "--yes", "--no-wait"]);
    assert_eq!(done.code, 0, "{}", done.all());
    assert!(done.stdout.contains("proven: no unexplained difference"), "{}", done.stdout);
    assert_eq!(cluster.kubectl(&["get", "cm", "version", "-n", "cozy-system", "-o", "jsonpath={.data.a}"]), "1");
    assert!(cluster.kubectl(&["get", "lease", "snapback", "-n", "kube-system", "--ignore-not-found"]).is_empty());

    // A snapshot that is damaged is no way back.
    cluster.apply(&map("version", "3"));
    for pack in walkdir::WalkDir::new(snapback.repository().join("packs")).into_iter().filter_map(Result::ok) {
        if pack.file_type().is_file() {
            let mut bytes = std::fs::read(pack.path()).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::remove_file(pack.path()).unwrap();
            std::fs::write(pack.path(), bytes).unwrap();
        }
    }
    let run = snapback.run(&["rollback", "--yes"]);
    assert_eq!(run.code, 5, "{}", run.all());
    assert!(run.stderr.contains("error: snapshot #2 is damaged; nothing was changed"), "{}", run.stderr);
}

#[test]
fn what_was_begun_is_finished_before_anything_else_and_never_turned_into_another() {
    let (cluster, snapback) = changed();
    snapback.ok(&["backup", "--label", "pre-upgrade"]);
    for number in 0..20 {
        cluster.apply(&map(&format!("added-{number}"), "2"));
    }
    cluster.apply(&map("version", "2"));
    let mut child = snapback.command(&["rollback", "--yes", "--no-wait"]).spawn().unwrap();
    let journals = snapback.repository().join("journal");
    let records = || {
        walkdir::WalkDir::new(&journals)
            .into_iter()
            .filter_map(Result::ok)
            .filter(|file| file.file_type().is_file())
            .count()
    };
    let started = Instant::now();
    while records() < 2 && child.try_wait().unwrap().is_none() {
        assert!(started.elapsed() < Duration::from_secs(60), "it never began");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(records() >= 1);

    for other in [
        &["undo", "--yes"][..],
        &["rollback", "1", "--scope", "everything", "--yes"],
        &["rollback", "--dry-run"],
        &["rollback", "--plan-out", "other.json"],
        &["restore", "1", "--yes"],
        &["backup"],
    ] {
        let run = snapback.run(other);
        assert_eq!(run.code, 4, "{other:?} {}", run.all());
        assert!(run.stderr.contains("is not finished"), "{}", run.stderr);
        assert!(run.stderr.contains("hint: `snapback rollback` finishes it, without asking again\n"), "{}", run.stderr);
        let give_up =
            "hint: `snapback rollback --give-up` starts what was stopped and leaves the rest as it is by then; ";
        assert!(run.stderr.contains(give_up), "{}", run.stderr);
    }
    let run = snapback.run(&["rollback", "1", "--no-wait"]);
    assert_eq!(run.code, 0, "{}", run.all());
    assert!(run.stderr.contains("note: going on with the rollback to snapshot #1 ("), "{}", run.stderr);
    assert_eq!(cluster.kubectl(&["get", "cm", "version", "-n", "cozy-system", "-o", "jsonpath={.data.a}"]), "1");
    let undone = snapback.run(&["undo", "--yes", "--no-wait"]);
    assert_eq!(undone.code, 0, "{}", undone.all());
    assert_eq!(cluster.kubectl(&["get", "cm", "version", "-n", "cozy-system", "-o", "jsonpath={.data.a}"]), "2");

    // The journal of that undo is gone, here and there: another one must not go one further back.
    let newest = std::fs::read_dir(&journals).unwrap().map(|entry| entry.unwrap().file_name()).max().unwrap();
    let newest = newest.to_str().unwrap();
    for file in walkdir::WalkDir::new(snapback.home()).contents_first(true).into_iter().filter_map(Result::ok) {
        if file.path().to_str().unwrap().contains(newest) {
            let path = file.path();
            if path.is_dir() { std::fs::remove_dir(path).unwrap() } else { std::fs::remove_file(path).unwrap() }
        }
    }
    let refused = snapback.run(&["undo", "--yes"]);
    assert_eq!(refused.code, 4, "{}", refused.all());
    assert!(refused.stderr.contains("no journal tells of the change that snapshot #"), "{}", refused.stderr);
}
