//! A machine whose clock is wrong, and jumps while a command runs: the system's is left alone.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code, outside of test functions")]

use std::path::Path;
use std::process::Command;

/// What a process is told about the time.
pub(crate) struct WrongClock {
    folder: tempfile::TempDir,
}

impl WrongClock {
    /// Right, until it is set. The compiler is the one that links this very test.
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("snapback-clock.").tempdir().unwrap();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/harness/clock.c");
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-o"]).arg(folder.path().join("clock.so")).arg(source).arg("-ldl");
        assert!(cc.status().unwrap().success(), "cc builds no shared object");
        let clock = Self { folder };
        clock.set(0);
        clock
    }

    /// From now on it is wrong by so many seconds, also for what runs already.
    pub(crate) fn set(&self, seconds: i64) {
        let file = self.folder.path().join("wrong-by");
        // In one step: it is read at any moment.
        let next = self.folder.path().join("next");
        std::fs::write(&next, seconds.to_string()).unwrap();
        std::fs::rename(next, file).unwrap();
    }

    /// Makes a command go by it.
    pub(crate) fn of(&self, mut command: Command) -> Command {
        let at = |name: &str| Path::new(self.folder.path()).join(name);
        command.env("LD_PRELOAD", at("clock.so")).env("WRONG_BY", at("wrong-by"));
        command
    }
}
