//! kill -9 of the real command at many moments of a backup (I1, I2): what was committed is whole, and the next backup
//! needs no repair. In process, every store operation is tried (`tests/store/kills.rs`); here it is the whole program,
//! its threads and its files. Five moments, fifty with SNAPBACK_SOAK=1.

use std::process::Command;
use std::thread::sleep;
use std::time::Instant;

use crate::harness::control_plane::{ControlPlane, Options};
use crate::harness::sample::soak;
use crate::harness::snapback::Snapback;

/// The last moments lie behind the end of a usual backup.
const PAST_THE_END: u32 = 110;

#[test]
fn a_backup_killed_at_any_moment_harms_nothing() {
    let moments: u32 = if soak() { 50 } else { 5 };
    let cluster = ControlPlane::start(&Options::default().template("cozystack-500"));
    let snapback = Snapback::new().with_kubeconfig(&cluster.kubeconfig());
    snapback.ok(&["init"]);
    let started = Instant::now();
    snapback.ok(&["backup"]);
    let usual = started.elapsed();
    let committed = || snapback.json(&["snapshots"])["snapshots"].as_array().unwrap().len();

    let mut cut_off = 0;
    let mut before = committed();
    for moment in 0..moments {
        // New content each time, so that packs are written.
        let text = format!("{moment:01024}");
        let change =
            format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: kills}}, data: {{moment: '{text}'}}}}");
        cluster.apply(&change);
        let mut child = snapback.command(&["backup"]).spawn().unwrap();
        sleep(usual * (PAST_THE_END * moment / moments) / 100);
        child.kill().unwrap();
        let said_done = child.wait().unwrap().success();

        assert_eq!(snapback.json(&["verify"])["sound"], true, "after moment {moment}");
        let now = committed();
        assert!(now == before || now == before + 1, "moment {moment}: {before} snapshots became {now}");
        assert!(!said_done || now == before + 1, "moment {moment}: success was said and nothing is there");
        cut_off += u32::from(now == before);
        before = now;
    }
    assert!(cut_off > 0, "no kill came before a commit: nothing was shown");

    snapback.ok(&["backup"]);
    assert_eq!(committed(), before + 1);
    for snapshot in snapback.json(&["snapshots"])["snapshots"].as_array().unwrap() {
        let number = snapshot["number"].to_string();
        let out = snapback.home().join(format!("out-{number}"));
        let script = snapback.home().join("snapshots/restore.sh");
        let run = Command::new("sh").arg(script).arg(&number).arg(&out).output().unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    }
}
