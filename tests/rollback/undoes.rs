//! Which transaction an undo means: the newest that changed anything, by what was saved and not by clocks; and what it
//! says where it cannot tell, or where that is not what was meant.

use std::fs;

use jiff::SignedDuration;
use snapback::journal::Reason;

use super::rewritten::{Value, given_up};
use crate::harness::control_plane::ControlPlane;
use crate::harness::snapback::Snapback;

/// An undo that is refused with this text and what else there is to type.
fn refused(snapback: &Snapback, code: i32, error: &str, hint: &str) {
    let run = snapback.run(&["undo", "--yes", "--no-wait"]);
    assert_eq!(run.code, code, "{}", run.all());
    assert!(run.stderr.contains(&format!("error: {error}")), "{}", run.stderr);
    assert!(run.stderr.contains(&format!("hint: {hint}")), "{}", run.stderr);
}

#[test]
fn an_undo_means_what_was_saved_last_whatever_the_clocks_say() {
    let (cluster, _turn) = ControlPlane::shared_in_turn();
    let (value, snapback) = Value::saved(cluster, "undo-clocks");
    value.restored(&snapback, "2");
    // By a machine whose clock is a day ahead, and by one whose clock is a day behind.
    value.restored(&snapback, "3").shifted(SignedDuration::from_hours(24)).write();
    value.restored(&snapback, "4").shifted(SignedDuration::from_hours(-24)).write();
    snapback.ok(&["undo", "--yes", "--no-wait"]);
    assert_eq!(value.get(), "4");
    // An undo is undone as well.
    snapback.ok(&["undo", "--yes", "--no-wait"]);
    assert_eq!(value.get(), "1");
}

#[test]
fn what_ended_before_it_said_what_it_saved_is_in_nobodys_way() {
    let (cluster, _turn) = ControlPlane::shared_in_turn();
    let (value, snapback) = Value::saved(cluster, "undo-unsaved");
    value.restored(&snapback, "2");
    // Killed once its snapshot was committed; whoever went on could not take another one.
    value.restored(&snapback, "3").only(&["begun"]).and(given_up(Reason::NotSaved {})).write();
    snapback.ok(&["undo", "--yes", "--no-wait"]);
    assert_eq!(value.get(), "2");

    // Killed at the same place and given up by hand: whoever types `undo` then does not mean the one before.
    let called_off = value.restored(&snapback, "5").only(&["begun"]).write();
    let run = snapback.run(&["restore", "--give-up", "--yes", "--no-wait"]);
    assert_eq!(run.code, 1, "{}", run.all());
    let error = format!("transaction {} was given up before it changed anything", called_off.transaction);
    let instead = "`snapback restore 4 --only cm/undo-unsaved` undoes transaction ";
    refused(&snapback, 4, &error, instead);
    assert_eq!(value.get(), "1");
    snapback.ok(&["restore", "4", "--only", "cm/undo-unsaved", "--yes", "--dry-run"]);
    // Given up a little later, when its snapshot was written down and nothing was changed yet.
    called_off.remove();
    let called_off = value.restored(&snapback, "6").only(&["begun", "saved"]).write();
    let run = snapback.run(&["restore", "--give-up", "--yes", "--no-wait"]);
    assert_eq!(run.code, 1, "{}", run.all());
    let error = format!("transaction {} was given up before it changed anything", called_off.transaction);
    refused(&snapback, 4, &error, instead);
    // What is newer than that is undone.
    value.restored(&snapback, "7");
    snapback.ok(&["undo", "--yes", "--no-wait"]);
    assert_eq!(value.get(), "7");
}

#[test]
fn where_no_journal_tells_what_was_done_last_it_is_said_what_else_there_is() {
    let (cluster, _turn) = ControlPlane::shared_in_turn();
    let (value, snapback) = Value::saved(cluster, "undo-lost");
    let first = value.restored(&snapback, "2");
    let instead =
        format!("`snapback restore 2 --only cm/undo-lost` undoes transaction {}, the newest", first.transaction);
    let last = value.restored(&snapback, "3");
    // A line of this machine's copy, and a file that the repository lost: neither is in anybody's way.
    let lines = fs::read_to_string(last.local()).unwrap();
    fs::write(last.local(), lines.replacen("\"saved\"", "\"sawed\"", 1)).unwrap();
    fs::remove_file(last.mirror(3)).unwrap();
    assert_eq!(snapback.run(&["backup"]).code, 0);
    // The repository has it again, for other machines.
    assert!(last.mirror(3).exists());
    assert_eq!(snapback.json(&["verify"])["sound"], true);
    assert_eq!(snapback.run(&["restore", "1", "--dry-run"]).code, 0);
    let plan = snapback.json(&["undo", "--dry-run"]);
    assert_eq!(plan["snapshot"]["number"], 3, "{plan:#}");

    // The same record in both: the snapshot is known, what was done after it is not.
    let record = fs::read_to_string(last.mirror(1)).unwrap();
    fs::write(last.mirror(1), record.replacen("\"saved\"", "\"sawed\"", 1)).unwrap();
    let error = "no journal tells of the change that snapshot #3 was taken before";
    refused(&snapback, 5, error, &instead);
    let run = snapback.run(&["undo", "--yes", "--no-wait"]);
    let folder = last.mirror(0).parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
    let both = "caused by: neither copy of a journal can be relied on: `HOME/.local/state/snapback/journals/";
    assert!(run.stderr.contains(both) && run.stderr.contains(&format!("journal/{folder}/")), "{}", run.stderr);
    assert!(run.stderr.contains("`mv "), "{}", run.stderr);

    // Both copies gone.
    last.remove();
    refused(&snapback, 4, error, &instead);
    refused(&snapback, 4, error, "`snapback rollback 3 --dry-run` shows what going back to it would do");
    snapback.ok(&["restore", "3", "--only", "cm/undo-lost", "--yes", "--no-wait"]);
    assert_eq!(value.get(), "3");
    snapback.ok(&["undo", "--yes", "--no-wait"]);
    assert_eq!(value.get(), "1");
}
