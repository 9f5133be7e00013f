//! Runs a program with mounts of its own: a small disk, another /run. Nobody else sees them, and they go with it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on is a failed test"
)]

use std::process::Command;

/// `sh -ec SCRIPT` as root of a mount name space of its own; what is given further becomes the script's `$1`, `$2`, …
///
/// `None`, with a word on stderr, where the system allows no such thing: then there is nothing to test on.
pub fn with_own_mounts(script: &str) -> Option<Command> {
    // A user name space makes everybody root; root itself can do without one, where they are forbidden.
    for flags in ["-rm", "-m"] {
        let probe = Command::new("unshare").args([flags, "mount", "-t", "tmpfs", "none", "/mnt"]).output();
        if probe.is_ok_and(|output| output.status.success()) {
            let mut command = Command::new("unshare");
            command.args([flags, "sh", "-ec", script, "sh"]);
            return Some(command);
        }
    }
    eprintln!("SKIPPED: neither `unshare -rm` nor `unshare -m` can mount here");
    None
}
