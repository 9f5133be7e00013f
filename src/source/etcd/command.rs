//! A snapshot made by a command, such as `talosctl -n 10.0.0.1 etcd snapshot {}`.
//!
//! In: a command line; `{}` stands for a path, and without it the snapshot is read from stdout. Out: bytes. The path lies
//! in a private folder (0700) inside the repository's own temporary folder, which goes away whatever happens (I10). The
//! command runs in a process group of its own, which is killed when the limit is passed or the backup is given up.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStdout, Command};

use super::error::EtcdError;

/// Stands for the path that the command writes to.
pub(super) const PATH_MARK: &str = "{}";
/// How much of stderr is kept: its end says what went wrong.
const STDERR_BYTES: usize = 2048;

/// A command that is running.
#[derive(Debug)]
pub(super) struct Running {
    program: String,
    child: Child,
    group: Group,
    stderr: tokio::task::JoinHandle<String>,
    deadline: tokio::time::Instant,
    limit: Duration,
}

/// Kills the whole group when it goes out of scope, unless the command has ended.
#[derive(Debug)]
struct Group(Option<Pid>);

impl Group {
    fn kill(&mut self) {
        if let Some(leader) = self.0.take() {
            // A group that is gone already is what is wanted.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether the command is given a path to write to.
pub(super) fn takes_path(argv: &[String]) -> bool {
    argv.iter().any(|argument| argument.contains(PATH_MARK))
}

impl Running {
    /// Starts the command; its stdout is read when it is given no path.
    pub(super) fn start(argv: &[String], path: Option<&Path>, limit: Duration) -> Result<Self, EtcdError> {
        let (program, arguments) = argv.split_first().ok_or(EtcdError::NoCommand)?;
        let mut command = Command::new(program);
        for argument in arguments {
            match path {
                Some(path) => command.arg(argument.replace(PATH_MARK, &path.to_string_lossy())),
                None => command.arg(argument),
            };
        }
        let stdout = if path.is_some() { Stdio::null() } else { Stdio::piped() };
        command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
        let mut child =
            command.spawn().map_err(|source| EtcdError::CommandStart { program: program.clone(), source })?;
        let group = Group(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw));
        let stderr = child.stderr.take();
        let stderr = tokio::spawn(async move {
            match stderr {
                Some(stderr) => last_of(stderr).await,
                None => String::new(),
            }
        });
        let deadline = tokio::time::Instant::now() + limit;
        Ok(Self { program: program.clone(), child, group, stderr, deadline, limit })
    }

    /// The command's stdout, once.
    pub(super) fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// When it must have ended.
    pub(super) fn deadline(&self) -> tokio::time::Instant {
        self.deadline
    }

    /// Waits for its end. `Ok` is what it wrote to stderr, when it ended well.
    pub(super) async fn finish(mut self) -> Result<Finished, EtcdError> {
        let waited = tokio::time::timeout_at(self.deadline, self.child.wait()).await;
        let status = match waited {
            Ok(Ok(status)) => status,
            Ok(Err(source)) => return Err(EtcdError::CommandStart { program: self.program.clone(), source }),
            Err(_) => return Err(self.overdue().await),
        };
        // What it left running in its group has no business with us any more; it would hold stderr open, too.
        self.group.kill();
        let stderr = self.stderr.await.unwrap_or_default();
        let finished = Finished { program: self.program, stderr };
        if status.success() { Ok(finished) } else { Err(finished.failed(status)) }
    }

    /// Kills it for being too late.
    pub(super) async fn overdue(mut self) -> EtcdError {
        self.group.kill();
        let _ = self.child.wait().await;
        let stderr = self.stderr.await.unwrap_or_default();
        EtcdError::CommandTimeout { program: self.program, limit: self.limit, stderr }
    }
}

/// A command that ended well.
#[derive(Debug)]
pub(super) struct Finished {
    program: String,
    stderr: String,
}

impl Finished {
    fn failed(self, status: ExitStatus) -> EtcdError {
        EtcdError::CommandFailed { program: self.program, status: status.to_string(), stderr: self.stderr }
    }

    /// It ended well and made nothing.
    pub(super) fn wrote_nothing(self) -> EtcdError {
        EtcdError::CommandWroteNothing { program: self.program, stderr: self.stderr }
    }
}

/// Reads to the end and keeps the last bytes, on one line.
async fn last_of(mut stderr: impl tokio::io::AsyncRead + Unpin) -> String {
    let mut kept: Vec<u8> = Vec::new();
    let mut piece = [0_u8; 1024];
    while let Ok(count @ 1..) = stderr.read(&mut piece).await {
        kept.extend_from_slice(piece.get(..count).unwrap_or_default());
        let excess = kept.len().saturating_sub(STDERR_BYTES);
        kept.drain(..excess);
    }
    let text = String::from_utf8_lossy(&kept);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join(" / ").chars().filter(|character| !character.is_control()).collect()
}
