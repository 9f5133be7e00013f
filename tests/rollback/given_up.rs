//! `--give-up`, wherever the transaction stands: what it says, and that `undo` takes back what there is to take back.

use snapback::journal::Reason;

use super::outages::{ROLLBACK, begun, upgraded};
use super::rewritten::{Value, given_up};
use crate::harness::control_plane::ControlPlane;

const GIVE_UP: [&str; 4] = ["restore", "--give-up", "--yes", "--no-wait"];

#[test]
fn what_is_given_up_says_what_was_done_and_what_takes_it_back() {
    let (cluster, _turn) = ControlPlane::shared_in_turn();
    let (value, snapback) = Value::saved(cluster, "given-up");
    // Killed in its first round, after its writes.
    value.restored(&snapback, "2").only(&["begun", "saved", "quiet", "round"]).write();
    let run = snapback.run(&GIVE_UP);
    assert_eq!(run.code, 1, "{}", run.all());
    assert!(run.stdout.contains("1 round, 0 writes by this process\n"), "{}", run.stdout);
    assert!(run.stdout.contains("given up: a person asked for it; what was done up to then stays\n"), "{}", run.stdout);
    assert!(run.stdout.contains("`snapback undo` takes it back, to snapshot #2 ("), "{}", run.stdout);
    snapback.ok(&["undo", "--yes", "--no-wait"]);
    assert_eq!(value.get(), "2");

    // Killed before its first round: nothing is there to be taken back.
    value.restored(&snapback, "3").only(&["begun", "saved", "quiet"]).write();
    let run = snapback.run(&GIVE_UP);
    assert_eq!(run.code, 1, "{}", run.all());
    assert!(run.stdout.contains("given up: a person asked for it; nothing was changed\n"), "{}", run.stdout);
    assert!(!run.stdout.contains("undo"), "{}", run.stdout);

    // Killed when all was done: there is nothing to give up, and that is said.
    value.restored(&snapback, "4").without(&["proven", "ended"]).write();
    let run = snapback.run(&GIVE_UP);
    assert_eq!(run.code, 0, "{}", run.all());
    assert!(run.stderr.contains("note: there is nothing left to give up: all was done"), "{}", run.stderr);

    // Killed before its snapshot was written down, and again while it was given up: as JSON, too.
    value.restored(&snapback, "5").only(&["begun"]).and(given_up(Reason::Asked {}).into_iter().take(1)).write();
    let told = snapback.json(&["restore"]);
    assert_eq!(told["outcome"], serde_json::json!({"failed": {"reason": {"asked": {}}}}), "{told:#}");
    value.restored(&snapback, "6").only(&["begun"]).write();
    let told = snapback.json(&GIVE_UP);
    assert_eq!(told["outcome"], serde_json::json!({"failed": {"reason": {"asked": {}}}}), "{told:#}");
    assert_eq!(snapback.run(&GIVE_UP).code, 2, "nothing is unfinished");
}

#[test]
fn a_rollback_that_is_given_up_starts_what_it_stopped_and_is_undone() {
    let (cluster, snapback) = upgraded();
    let (mut child, _stderr) = begun(snapback.command(&ROLLBACK));
    child.kill().unwrap();
    child.wait().unwrap();
    let run = snapback.run(&["rollback", "--give-up", "--yes"]);
    assert_eq!(run.code, 1, "{}", run.all());
    let told = "given up: a person asked for it; what was stopped runs again; what was done up to then stays\n";
    assert!(run.stdout.contains(told), "{}", run.stdout);
    let replicas = ["get", "deployment", "cozystack", "-n", "cozy-system", "-o", "jsonpath={.spec.replicas}"];
    assert_eq!(cluster.kubectl(&replicas), "1");
    snapback.run(&["undo", "--yes", "--no-wait"]);
    let values = ["get", "cm", "-n", "cozy-system", "-o", "jsonpath={.items[*].data.a}"];
    assert!(cluster.kubectl(&values).split(' ').all(|value| value == "2"), "{}", cluster.kubectl(&values));
}
