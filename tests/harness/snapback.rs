//! Runs the real `snapback` command in a clean environment: nothing of the machine's kubeconfig, home folder or
//! repository setting reaches it.

#![allow(clippy::expect_used, clippy::panic, dead_code, reason = "test code, outside of test functions")]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A way of running snapback: its own home, its own working folder.
pub(crate) struct Snapback {
    home: tempfile::TempDir,
    variables: Vec<(String, PathBuf)>,
    hidden: Vec<(String, String)>,
}

/// What one run said and how it ended.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
    /// Exit code; -1 when a signal ended it.
    pub(crate) code: i32,
}

impl Snapback {
    /// An empty home and working folder.
    pub(crate) fn new() -> Self {
        let home = tempfile::Builder::new().prefix("snapback-home.").tempdir().expect("a temporary folder");
        let hidden = vec![(home.path().display().to_string(), "HOME".to_owned())];
        Self { home, variables: Vec::new(), hidden }
    }

    /// Sets `KUBECONFIG`.
    pub(crate) fn with_kubeconfig(mut self, kubeconfig: &Path) -> Self {
        self.variables.push(("KUBECONFIG".to_owned(), kubeconfig.to_owned()));
        self
    }

    /// Sets a variable.
    pub(crate) fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// Replaces a text that changes from run to run by a name, in everything printed.
    pub(crate) fn hiding(mut self, text: impl Into<String>, name: &str) -> Self {
        self.hidden.push((text.into(), name.to_owned()));
        self
    }

    /// The home folder, which is the working folder too.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Where the default repository is.
    pub(crate) fn repository(&self) -> PathBuf {
        self.home.path().join("snapshots")
    }

    /// The command, ready to be started.
    pub(crate) fn command<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_snapback"));
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.home.path())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for (name, value) in &self.variables {
            command.env(name, value);
        }
        command
    }

    /// Runs it to its end.
    pub(crate) fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Run {
        self.take(self.command(arguments).output().expect("snapback starts"))
    }

    /// Runs it and expects success.
    pub(crate) fn ok<A: AsRef<OsStr> + std::fmt::Debug>(&self, arguments: &[A]) -> Run {
        let run = self.run(arguments);
        assert_eq!(run.code, 0, "snapback {arguments:?}\n{}\n{}", run.stdout, run.stderr);
        run
    }

    /// Runs it to its end, and says the most memory that it held at once, in KiB, as the kernel counts it (VmHWM).
    pub(crate) fn measured<A: AsRef<OsStr>>(&self, arguments: &[A]) -> (Run, u64) {
        let mut child = self.command(arguments).spawn().expect("snapback starts");
        let status = format!("/proc/{}/status", child.id());
        let mut peak = 0;
        while child.try_wait().expect("it is our child").is_none() {
            let text = std::fs::read_to_string(&status).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            // Gone once the process is a zombie; the last figure that was seen stands.
            if let Some(kib) = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()) {
                peak = kib;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        (self.take(child.wait_with_output().expect("it has ended")), peak)
    }

    /// Runs it with `--output json` and reads the document, whatever the exit code.
    pub(crate) fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let arguments = [arguments, &["--output", "json"]].concat();
        let run = self.run(&arguments);
        serde_json::from_str(&run.stdout).unwrap_or_else(|error| {
            panic!("snapback {arguments:?} printed no JSON ({error}):\n{}\n{}", run.stdout, run.stderr)
        })
    }

    /// Reads what a finished process printed.
    pub(crate) fn take(&self, output: std::process::Output) -> Run {
        let clean = |bytes: Vec<u8>| {
            let mut text = String::from_utf8(bytes).expect("snapback prints UTF-8");
            for (hidden, name) in &self.hidden {
                text = text.replace(hidden, name);
            }
            text
        };
        Run { stdout: clean(output.stdout), stderr: clean(output.stderr), code: output.status.code().unwrap_or(-1) }
    }
}

impl Run {
    /// Exit code, standard output and standard error as one text, for comparison with the expected one.
    pub(crate) fn all(&self) -> String {
        format!("exit {}\n--- stdout\n{}--- stderr\n{}", self.code, self.stdout, self.stderr)
    }
}
