//! Ctrl-C or SIGTERM in the middle of a backup: nothing is committed, nothing is left running, exit code 130.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use insta::assert_snapshot;

use crate::harness::control_plane::ControlPlane;
use crate::harness::snapback::Snapback;

#[test]
fn ctrl_c_or_sigterm_in_the_middle_of_a_backup_commits_nothing() {
    let (cluster, _turn) = ControlPlane::shared_in_turn();
    let snapback = Snapback::new().with_kubeconfig(&cluster.kubeconfig());
    snapback.ok(&["init"]);
    // The cluster is captured when etcd's turn comes; this etcd takes its time.
    let marker = snapback.home().join("etcd-has-begun");
    let config = format!(
        "etcd: {{command: [sh, -c, 'echo $$ > {marker}; exec sleep 600'], required: true}}\n",
        marker = marker.display()
    );
    fs::write(snapback.home().join("snapback.yaml"), config).unwrap();
    for name in ["-INT", "-TERM"] {
        let child = snapback.command(&["backup"]).spawn().unwrap();
        while fs::read_to_string(&marker).map_or(true, |text| !text.ends_with('\n')) {
            sleep(Duration::from_millis(20));
        }
        signal(name, &child.id().to_string());
        let run = snapback.take(child.wait_with_output().unwrap());
        let stderr: Vec<&str> =
            run.stderr.lines().filter(|line| line.starts_with("error") || line.starts_with("hint")).collect();
        assert_eq!(run.code, 130, "{}", run.all());
        assert_eq!(stderr.join("\n"), "error: interrupted; nothing was committed");
        assert_eq!(run.stdout, "");
        assert_eq!(snapback.json(&["snapshots", "--config", "/dev/null"])["snapshots"], serde_json::json!([]));
        // The command that was to bring the file is gone with it.
        let pid = fs::read_to_string(&marker).unwrap();
        while Path::new("/proc").join(pid.trim()).join("exe").exists() {
            sleep(Duration::from_millis(20));
        }
        fs::remove_file(&marker).unwrap();
    }
    fs::remove_file(snapback.home().join("snapback.yaml")).unwrap();
    assert_eq!(snapback.json(&["backup"])["snapshot"]["number"], 1);
    assert_eq!(snapback.json(&["verify"])["sound"], true);
}

#[test]
fn ctrl_c_in_the_middle_of_a_restore_says_how_to_go_on_and_how_to_go_back() {
    let (cluster, _turn) = ControlPlane::shared_in_turn();
    let patch = |finalizers: &str| {
        let patch = format!(r#"{{"metadata":{{"finalizers":{finalizers}}}}}"#);
        cluster.kubectl(&["patch", "cm", "a", "-n", "cli-interrupt", "--type=merge", "-p", &patch]);
    };
    cluster.apply(
        "{apiVersion: v1, kind: Namespace, metadata: {name: cli-interrupt}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: cli-interrupt}, data: {mode: production}}",
    );
    let snapback = Snapback::new().with_kubeconfig(&cluster.kubeconfig());
    snapback.ok(&["init"]);
    snapback.ok(&["backup"]);
    // An object that does not want to go: a restore waits for its end before it makes it anew.
    patch(r#"["snapback.test/stay"]"#);
    cluster.kubectl(&["delete", "cm", "a", "-n", "cli-interrupt", "--wait=false"]);
    let mut child = snapback.command(&["restore", "1", "--yes", "--only", "cm/cli-interrupt"]).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while line != "round 1\n" {
        line.clear();
        assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "it ended before it began");
    }
    signal("-INT", &child.id().to_string());
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest}");
    assert_snapshot!(rest, @r"
    error: interrupted in the middle of the restore; some objects are back and others are not
    hint: `snapback restore` goes on with it, `snapback restore --give-up` leaves it there for `snapback undo`
    ");
    // Something else is not begun before it is over: not another restore, and not the same one of something else.
    for other in [&["undo"][..], &["restore", "2"], &["restore", "1", "--only", "cm/other"], &["backup"]] {
        let run = snapback.run(other);
        assert_eq!(run.code, 4, "{other:?} {}", run.all());
        assert!(run.stderr.contains("hint: `snapback restore` finishes it, without asking again\n"), "{}", run.stderr);
        let give_up =
            "hint: `snapback restore --give-up` leaves the cluster as it is by then; `snapback undo` then goes";
        assert!(run.stderr.contains(give_up), "{}", run.stderr);
    }
    patch("null");
    let mode = || cluster.kubectl(&["get", "cm", "a", "-n", "cli-interrupt", "-o", "jsonpath={.data.mode}"]);
    // The same command, typed again, goes on.
    let run = snapback.run(&["restore", "1", "--only", "cm/cli-interrupt"]);
    assert_eq!(run.code, 0, "{}", run.all());
    assert!(run.stderr.contains("note: going on with the restore to snapshot #1 ("), "{}", run.stderr);
    assert_eq!(mode(), "production");
    let nothing = snapback.run(&["restore"]);
    assert_eq!(nothing.code, 2, "{}", nothing.all());
    assert!(
        nothing.stderr.contains("no restore of this cluster was interrupted; name a snapshot"),
        "{}",
        nothing.stderr
    );
}

#[test]
fn a_restore_that_was_interrupted_can_be_given_up_and_undone() {
    let (cluster, _turn) = ControlPlane::shared_in_turn();
    cluster.apply(
        "{apiVersion: v1, kind: Namespace, metadata: {name: cli-given-up}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: cli-given-up}, data: {mode: production}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: b, namespace: cli-given-up}, data: {mode: production}}",
    );
    let patch = |name: &str, patch: &str| {
        cluster.kubectl(&["patch", "cm", name, "-n", "cli-given-up", "--type=merge", "-p", patch]);
    };
    let mode = |name: &str| cluster.kubectl(&["get", "cm", name, "-n", "cli-given-up", "-o", "jsonpath={.data.mode}"]);
    let snapback = Snapback::new().with_kubeconfig(&cluster.kubeconfig());
    snapback.ok(&["init"]);
    snapback.ok(&["backup"]);
    patch("b", r#"{"data":{"mode":"test"}}"#);
    patch("a", r#"{"metadata":{"finalizers":["snapback.test/stay"]}}"#);
    cluster.kubectl(&["delete", "cm", "a", "-n", "cli-given-up", "--wait=false"]);
    assert_eq!(snapback.run(&["restore", "--give-up"]).code, 2);
    let mut child = snapback.command(&["restore", "1", "--yes", "--only", "cm/cli-given-up"]).spawn().unwrap();
    let started = std::time::Instant::now();
    while mode("b") != "production" {
        assert!(started.elapsed().as_secs() < 120 && child.try_wait().unwrap().is_none(), "it did not restore `b`");
    }
    child.kill().unwrap();
    child.wait().unwrap();

    let unasked = snapback.run(&["restore", "--give-up"]);
    assert_eq!(unasked.code, 4, "{}", unasked.all());
    assert!(unasked.stderr.contains("hint: run `snapback restore --give-up --yes`"), "{}", unasked.stderr);
    let run = snapback.run(&["restore", "--give-up", "--yes"]);
    assert_eq!(run.code, 1, "{}", run.all());
    assert!(run.stdout.contains("given up: a person asked for it; what was done up to then stays\n"), "{}", run.all());
    assert!(run.stdout.contains("`snapback undo` takes it back, to snapshot #2 ("), "{}", run.all());
    assert_eq!(mode("b"), "production");
    patch("a", r#"{"metadata":{"finalizers":null}}"#);
    cluster.kubectl(&["wait", "--for=delete", "cm/a", "-n", "cli-given-up", "--timeout=60s"]);
    // What it did is undone, and no more: `a` was going away before.
    let undone = snapback.run(&["undo", "--yes"]);
    assert_eq!(undone.code, 0, "{}", undone.all());
    assert_eq!(mode("b"), "test");
    let left = cluster.kubectl(&["get", "cm", "-n", "cli-given-up", "-o", "name"]);
    assert!(!left.contains("configmap/a"), "{left}");
}

fn signal(signal: &str, process: &str) {
    assert!(Command::new("kill").args([signal, process]).status().unwrap().success());
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let (cluster, _turn) = ControlPlane::shared_in_turn();
    let snapback = Snapback::new().with_kubeconfig(&cluster.kubeconfig());
    snapback.ok(&["init"]);
    snapback.ok(&["backup"]);
    let mut child = snapback.command(&["ls", "-R", "latest"]).spawn().unwrap();
    drop(child.stdout.take());
    let run = snapback.take(child.wait_with_output().unwrap());
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
}
