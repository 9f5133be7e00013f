//! Runs one test of this very binary as a process of its own: to see how it dies, or as another user.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on is a failed test")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

/// What an ignored test prints and how it ends, in a process of its own.
pub fn alone(test: &str) -> Output {
    arguments(&mut Command::new(std::env::current_exe().unwrap()), test).output().unwrap()
}

/// Runs an ignored test as nobody (65534), who owns nothing; without root as the user that there is.
pub fn as_nobody(test: &str) {
    let place = tempfile::tempdir().unwrap();
    let mode = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(place.path(), 0o755);
    // Where the binary lies nobody may be allowed to look.
    let (binary, scratch) = (place.path().join("tests"), place.path().join("tmp"));
    let built = std::env::current_exe().unwrap();
    std::fs::hard_link(&built, &binary).or_else(|_| std::fs::copy(&built, &binary).map(drop)).unwrap();
    std::fs::create_dir(&scratch).unwrap();
    mode(&scratch, 0o777);
    let mut command = if rustix::process::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(binary);
        command
    } else {
        Command::new(binary)
    };
    let output = arguments(&mut command, test).env("TMPDIR", scratch).current_dir(place.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let passed = output.status.success() && said.contains("1 passed");
    assert!(passed, "{said}{}", String::from_utf8_lossy(&output.stderr));
}

fn arguments<'a>(command: &'a mut Command, test: &str) -> &'a mut Command {
    command.args([test, "--exact", "--ignored", "--nocapture"])
}
