//! Clocks that jump: while a rollback runs, and between its death and whoever goes on. It ends the same (I7), and an undo
//! means the same.

use std::process::Command;

use super::outages::{ROLLBACK, begun, check, finished, maps, upgraded};
use crate::harness::clock::WrongClock;

const DAY: i64 = 86_400;

#[test]
fn a_rollback_whose_clock_jumps_ends_as_if_it_had_not() {
    let (cluster, snapback) = upgraded();
    let clock = WrongClock::new();
    let output = |command: Command| snapback.take(clock.of(command).output().unwrap());
    let value = || cluster.kubectl(&["get", "cm", "map-7", "-n", "cozy-system", "-o", "jsonpath={.data.a}"]);

    // While it writes, there and back.
    for (number, jump) in [DAY, -DAY].into_iter().enumerate() {
        cluster.apply(&maps(&format!("jump-{number}")));
        clock.set(0);
        let (child, stderr) = begun(clock.of(snapback.command(&ROLLBACK)));
        clock.set(jump);
        let (code, said) = finished(child, stderr);
        assert_eq!(code, 0, "{jump}: {said}");
        check(&cluster, &snapback);
    }

    // Between a kill and who goes on: the records of one journal are a day apart, in either order.
    for (number, (before, after)) in [(DAY, -DAY), (-DAY, DAY)].into_iter().enumerate() {
        cluster.apply(&maps(&format!("kill-{number}")));
        clock.set(before);
        let (mut child, _stderr) = begun(clock.of(snapback.command(&ROLLBACK)));
        child.kill().unwrap();
        child.wait().unwrap();
        clock.set(after);
        let run = output(snapback.command(&ROLLBACK));
        assert_eq!(run.code, 0, "{before} {after}: {}", run.all());
        check(&cluster, &snapback);
    }
    // The last one of them began a day before all others.
    clock.set(0);
    snapback.ok(&["undo", "--yes", "--no-wait"]);
    assert_eq!(value(), "kill-1");
}
