//! A damaged copy of a journal that is not finished: nothing goes on, and what the hints say to type ends that.

use std::fs;
use std::process::Command;

use super::rewritten::Value;
use crate::harness::control_plane::ControlPlane;
use crate::harness::snapback::Snapback;

/// Types what a hint of a refused command says: what stands in backticks and begins with `mv`.
fn obey(snapback: &Snapback, arguments: &[&str]) {
    // Who only asks whether all is over does not read every record.
    let run = snapback.run(&["backup"]);
    assert!(matches!(run.code, 4 | 5), "{}", run.all());
    let run = snapback.run(arguments);
    assert_eq!(run.code, 5, "{}", run.all());
    let mv = run.stderr.split('`').find(|word| word.starts_with("mv ")).unwrap_or_else(|| panic!("{}", run.all()));
    let mv = mv.replace("HOME", snapback.home().to_str().unwrap());
    assert!(Command::new("sh").args(["-c", &mv]).current_dir(snapback.home()).status().unwrap().success(), "{mv}");
}

#[test]
fn what_the_hints_say_about_a_damaged_copy_is_true() {
    let (cluster, _turn) = ControlPlane::shared_in_turn();
    let (value, snapback) = Value::saved(cluster, "damaged-copy");
    let restore = ["restore", "--no-wait"];
    let unfinished = || value.restored(&snapback, "2").only(&["begun", "saved", "quiet", "round"]).write();
    let damage = |file: &std::path::Path| {
        let text = fs::read_to_string(file).unwrap();
        fs::write(file, text.replacen("\"saved\"", "\"sawed\"", 1)).unwrap();
    };
    // This machine's: the repository's is followed.
    let one = unfinished();
    damage(&one.local());
    obey(&snapback, &restore);
    snapback.ok(&restore);
    // The repository's: it is completed from this machine's.
    let one = unfinished();
    damage(&one.mirror(1));
    obey(&snapback, &restore);
    snapback.ok(&restore);
    assert_eq!(
        fs::read_to_string(one.mirror(1)).unwrap(),
        fs::read_to_string(one.local()).unwrap().lines().nth(1).unwrap().to_owned() + "\n"
    );
    // Both: nothing is held still here, so that it can be forgotten.
    let one = unfinished();
    damage(&one.local());
    damage(&one.mirror(1));
    obey(&snapback, &restore);
    assert_eq!(snapback.run(&restore).code, 2, "nothing is unfinished any more");
    snapback.ok(&["backup"]);
    assert_eq!(snapback.json(&["verify"])["sound"], true);
}
