//! What may happen around a rollback: the API server dies, another snapback is started, here or on another machine.
//! Whatever it was, the same command ends it, and ends the same (I7, I8, I9).

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStderr, Command};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::control_plane::{ControlPlane, Options};
use crate::harness::sample::{seeds, soak};
use crate::harness::snapback::{Run, Snapback};
use crate::restore::accidents::Chance;

const API_SERVER: &str = "kube-apiserver";
const INSTALLER: &str = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: cozystack, namespace: cozy-system}, \
    spec: {replicas: 1, selector: {matchLabels: {app: cozystack}}, template: {metadata: {labels: {app: cozystack}}, \
    spec: {containers: [{name: installer, image: 'example.org/installer:v1'}]}}}}";
pub(super) const ROLLBACK: [&str; 3] = ["rollback", "--yes", "--no-wait"];
/// Enough that most are still to be written when something happens.
const MAPS: usize = 120;

pub(super) fn maps(value: &str) -> String {
    let map = |number| {
        format!(
            "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: map-{number}, namespace: cozy-system}}, data: {{a: '{value}'}}}}"
        )
    };
    (0..MAPS).map(map).collect::<Vec<_>>().join("\n---\n")
}

/// A platform with an installer, a snapshot of it, and something to put back.
pub(super) fn upgraded() -> (ControlPlane, Snapback) {
    let cluster = ControlPlane::start(&Options::default().controllers());
    cluster.apply("{apiVersion: v1, kind: Namespace, metadata: {name: cozy-system}}");
    cluster.apply(&maps("1"));
    cluster.apply(INSTALLER);
    cluster.kubectl(&["rollout", "status", "deployment/cozystack", "-n", "cozy-system", "--timeout=120s"]);
    let snapback = Snapback::new().with_kubeconfig(&cluster.kubeconfig());
    snapback.ok(&["init"]);
    snapback.ok(&["backup", "--label", "pre-upgrade"]);
    cluster.apply(&maps("2"));
    (cluster, snapback)
}

/// A rollback that is in the middle of its writes.
pub(super) fn begun(mut rollback: Command) -> (Child, BufReader<ChildStderr>) {
    let mut child = rollback.spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while line != "restoring\n" {
        line.clear();
        assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "it ended before it wrote");
    }
    (child, stderr)
}

/// Every object is back, the installer runs, nothing bears a mark, and the lease was given back.
pub(super) fn check(cluster: &ControlPlane, snapback: &Snapback) {
    check_platform(cluster, snapback);
    let leases = cluster.kubectl(&["get", "leases", "-n", "kube-system", "-o", "name"]);
    assert!(!leases.contains("/snapback\n"), "the lease was not given back: {leases}");
}

fn check_platform(cluster: &ControlPlane, snapback: &Snapback) {
    let plan = snapback.json(&["restore", "pre-upgrade", "--dry-run"]);
    assert_eq!(plan["plan"]["actions"], json!([]));
    let installer = cluster.kubectl(&["get", "deployment", "cozystack", "-n", "cozy-system", "-o", "json"]);
    let installer: serde_json::Value = serde_json::from_str(&installer).unwrap();
    assert_eq!(installer["spec"]["replicas"], 1);
    assert!(!installer["metadata"]["annotations"].to_string().contains("snapback"), "{installer:#}");
}

pub(super) fn finished(mut child: Child, mut stderr: BufReader<ChildStderr>) -> (i32, String) {
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut stderr, &mut rest).unwrap();
    (child.wait().unwrap().code().unwrap(), rest)
}

#[test]
fn an_api_server_that_dies_is_waited_for_or_the_same_command_goes_on() {
    let (cluster, snapback) = upgraded();
    // Killed, and back at once.
    let (child, stderr) = begun(snapback.command(&ROLLBACK));
    cluster.kill_server(API_SERVER);
    cluster.start_server(API_SERVER);
    let (code, said) = finished(child, stderr);
    assert_eq!(code, 0, "{said}");
    check(&cluster, &snapback);

    if !soak() {
        return;
    }
    // Away for longer than anybody waits (four minutes), and than the lease lasts.
    cluster.apply(&maps("3"));
    let (child, stderr) = begun(snapback.command(&ROLLBACK));
    cluster.stop_server(API_SERVER);
    let (code, said) = finished(child, stderr);
    assert!(matches!(code, 1 | 6), "{code} {said}");
    assert!(said.contains("hint: it is not over: `snapback rollback` goes on with it"), "{said}");
    let away = snapback.run(&["rollback", "--no-wait"]);
    assert_eq!(away.code, 1, "{}", away.all());
    cluster.start_server(API_SERVER);
    let run = snapback.run(&["rollback", "--no-wait"]);
    assert_eq!(run.code, 0, "{}", run.all());
    check(&cluster, &snapback);
}

#[test]
fn killed_at_any_moment_the_same_command_ends_it() {
    let (cluster, snapback) = upgraded();
    // How long one takes that lives.
    let started = Instant::now();
    snapback.ok(&ROLLBACK);
    let whole = u64::try_from(started.elapsed().as_millis()).unwrap();
    check(&cluster, &snapback);
    for seed in seeds((3, 200)) {
        let mut chance = Chance::new(seed);
        cluster.apply(&maps(&format!("killed-{seed}")));
        // Now and then whoever goes on dies as well.
        let mut kills = 0;
        while kills == 0 || chance.below(3) == 0 {
            let mut child = snapback.command(&ROLLBACK).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(chance.below(whole)));
            child.kill().unwrap();
            child.wait().unwrap();
            kills += 1;
        }
        let mut run = snapback.run(&ROLLBACK);
        // Killed with the lease in its hand and nothing decided: nobody can know that it is dead until it runs out.
        let waiting = Instant::now();
        while run.code == 6 && waiting.elapsed() < Duration::from_secs(90) {
            std::thread::sleep(Duration::from_secs(2));
            run = snapback.run(&ROLLBACK);
        }
        assert_eq!(run.code, 0, "seed {seed}, {kills} kills: {}", run.all());
        if run.all().contains("nothing to do") {
            // Killed behind the last record, with the lease still in its hand: it runs out by itself, and whoever changes
            // nothing does not take it.
            check_platform(&cluster, &snapback);
        } else {
            check(&cluster, &snapback);
        }
        eprintln!("seed {seed}: {kills} kills");
    }
    assert_eq!(snapback.json(&["verify"])["sound"], true);
}

#[test]
fn a_second_snapback_leaves_the_first_alone_and_one_of_another_machine_goes_on_when_it_is_dead() {
    let (cluster, snapback) = upgraded();
    // Something that does not want to go keeps the first one at work.
    let patch = |finalizers: &str| {
        let patch = format!(r#"{{"metadata":{{"finalizers":{finalizers}}}}}"#);
        cluster.kubectl(&["patch", "cm", "map-0", "-n", "cozy-system", "--type=merge", "-p", &patch]);
    };
    patch(r#"["snapback.test/stay"]"#);
    cluster.kubectl(&["delete", "cm", "map-0", "-n", "cozy-system", "--wait=false"]);
    let (mut first, _stderr) = begun(snapback.command(&ROLLBACK));

    let held = |run: &Run| {
        assert_eq!(run.code, 6, "{}", run.all());
        assert!(run.stderr.contains("holds the lease `kube-system/snapback`"), "{}", run.stderr);
    };
    // The same machine: the journal's lock tells.
    let same = snapback.run(&["rollback", "--no-wait"]);
    assert_eq!(same.code, 6, "{}", same.all());
    // Another machine with the same repository, and one with a repository of its own.
    let repository = snapback.repository().display().to_string();
    let elsewhere = Snapback::new().with_kubeconfig(&cluster.kubeconfig());
    held(&elsewhere.run(&["rollback", "--no-wait", "--repo", &repository]));
    let stranger = Snapback::new().with_kubeconfig(&cluster.kubeconfig());
    stranger.ok(&["init"]);
    // Its snapshot has what is held still as it is now, which no other journal here tells.
    let said = stranger.ok(&["backup"]).stderr;
    assert!(
        said.contains("has the lease of this cluster: what it holds still is held still in this snapshot, too"),
        "{said}"
    );
    cluster.kubectl(&["create", "configmap", "of-stranger", "-n", "default"]);
    held(&stranger.run(&["restore", "1", "--yes", "--only", "cm/default"]));
    cluster.kubectl(&["delete", "configmap", "of-stranger", "-n", "default"]);
    assert!(first.try_wait().unwrap().is_none(), "the first one was disturbed");

    // It dies, with its machine: the other one waits for its lease to run out, and ends what it began.
    first.kill().unwrap();
    first.wait().unwrap();
    patch("null");
    std::thread::sleep(Duration::from_secs(1));
    let run = elsewhere.run(&["rollback", "--no-wait", "--repo", &repository]);
    assert_eq!(run.code, 0, "{}", run.all());
    check(&cluster, &snapback);
    assert!(!stranger.ok(&["backup"]).stderr.contains("has the lease"), "it was given back");
    // And the machine that came back has nothing left to do.
    let plan = snapback.json(&["rollback", "--dry-run"]);
    assert_eq!(plan["plan"]["actions"], json!([]), "{plan:#}");
}
