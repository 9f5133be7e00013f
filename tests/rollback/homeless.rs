//! A machine without a home folder: it may look, and it is told of what another one began, but changes nothing.

use std::process::Command;

use super::rewritten::Value;
use crate::harness::control_plane::ControlPlane;
use crate::harness::snapback::Snapback;

/// The same command in an environment without HOME.
fn homeless(snapback: &Snapback, arguments: &[&str]) -> crate::harness::snapback::Run {
    let mut command: Command = snapback.command(arguments);
    snapback.take(command.env_remove("HOME").output().unwrap())
}

#[test]
fn without_a_home_folder_there_is_looking_and_nothing_else() {
    let (cluster, _turn) = ControlPlane::shared_in_turn();
    let (value, snapback) = Value::saved(cluster, "homeless");
    let restored = value.restored(&snapback, "2");
    value.set("3");
    let only = ["--only", "cm/homeless"];
    for looking in
        [&["restore", "1", "--dry-run", only[0], only[1]][..], &["rollback", "1", "--dry-run"], &["undo", "--dry-run"]]
    {
        let run = homeless(&snapback, looking);
        assert_eq!(run.code, 0, "{looking:?} {}", run.all());
    }
    for changing in [&["restore", "1", "--yes", only[0], only[1]][..], &["rollback", "1", "--yes"], &["undo", "--yes"]]
    {
        let run = homeless(&snapback, changing);
        assert_eq!(run.code, 2, "{changing:?} {}", run.all());
        assert!(run.stderr.contains("error: there is no home folder to keep the journal in"), "{}", run.stderr);
    }
    assert_eq!(value.get(), "3");
    assert_eq!(homeless(&snapback, &["backup"]).code, 0);

    // The repository tells what is not finished, to a machine that keeps nothing of its own, too.
    let unfinished = restored.only(&["begun", "saved"]).write();
    for other in [&["backup"][..], &["undo", "--dry-run"], &["rollback", "--dry-run"]] {
        let run = homeless(&snapback, other);
        assert_eq!(run.code, 4, "{other:?} {}", run.all());
        assert!(
            run.stderr.contains(&format!("(transaction {}) is not finished", unfinished.transaction)),
            "{}",
            run.all()
        );
    }
}
