//! One server process: started so that it cannot outlive the supervisor, signalled, waited for.
//!
//! Invariant: `setpriv --pdeathsig KILL` makes the kernel kill the server when the thread that started it ends, whatever
//! way it ends. So the supervisor starts every server from its main thread (a current-thread runtime).

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};
use tokio::process::{Child, Command};

use crate::error::RigError;

/// How a server is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerSpec {
    /// Its name in commands, `rig.json` and the name of its log: the program's name.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables added to the environment.
    pub env: Vec<(String, String)>,
    /// The port it listens on, where it does.
    pub port: Option<u16>,
    /// Its log file, appended to.
    pub log: PathBuf,
}

/// What a server process is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProcessState {
    /// It was not started, or was stopped on request.
    Stopped,
    /// It runs.
    Running {
        /// Its process id.
        pid: u32,
    },
    /// It exists and is kept from running (SIGSTOP).
    Paused {
        /// Its process id.
        pid: u32,
    },
    /// It ended by itself.
    Ended {
        /// How, in words.
        status: String,
    },
}

/// A server process that can be started again.
#[derive(Debug)]
pub struct Process {
    spec: ServerSpec,
    child: Option<Child>,
    paused: bool,
    ended: Option<ExitStatus>,
}

impl Process {
    /// A server that is not running yet.
    pub fn new(spec: ServerSpec) -> Self {
        Self { spec, child: None, paused: false, ended: None }
    }

    /// How it is started.
    pub fn spec(&self) -> &ServerSpec {
        &self.spec
    }

    /// Starts it, unless it runs.
    ///
    /// # Errors
    /// [`RigError::Spawn`] when the program cannot be run, [`RigError::File`] when its log cannot be opened.
    pub fn start(&mut self) -> Result<(), RigError> {
        if matches!(self.state(), ProcessState::Running { .. } | ProcessState::Paused { .. }) {
            return Ok(());
        }
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.spec.log)
            .map_err(RigError::file("open", &self.spec.log))?;
        let errors = log.try_clone().map_err(RigError::file("open", &self.spec.log))?;
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(&self.spec.program)
            .args(&self.spec.args)
            .envs(self.spec.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            // A group of its own: Ctrl-C in a terminal is for the supervisor, which ends the servers in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| RigError::Spawn { program: format!("setpriv (for {})", self.spec.name), source })?;
        self.child = Some(child);
        self.paused = false;
        self.ended = None;
        Ok(())
    }

    /// What it is doing now.
    pub fn state(&mut self) -> ProcessState {
        if let Some(child) = &mut self.child {
            match child.try_wait() {
                Ok(None) => {
                    let pid = child.id().unwrap_or_default();
                    return if self.paused { ProcessState::Paused { pid } } else { ProcessState::Running { pid } };
                }
                Ok(Some(status)) => self.ended = Some(status),
                Err(_) => self.ended = None,
            }
            self.child = None;
        }
        match self.ended {
            Some(status) => ProcessState::Ended { status: status.to_string() },
            None => ProcessState::Stopped,
        }
    }

    /// Ends it with SIGTERM, and with SIGKILL when it does not end within the grace time.
    ///
    /// # Errors
    /// [`RigError::Signal`] when the system refuses.
    pub async fn stop(&mut self, grace: Duration) -> Result<(), RigError> {
        if self.paused {
            self.resume()?;
        }
        self.signal(Signal::TERM)?;
        if let Some(child) = &mut self.child
            && tokio::time::timeout(grace, child.wait()).await.is_err()
        {
            return self.kill().await;
        }
        self.child = None;
        self.ended = None;
        Ok(())
    }

    /// Ends it with SIGKILL and waits until it is gone.
    ///
    /// # Errors
    /// [`RigError::Signal`] when the system refuses.
    pub async fn kill(&mut self) -> Result<(), RigError> {
        if let Some(mut child) = self.child.take() {
            child.kill().await.map_err(|source| RigError::Signal { server: self.spec.name.clone(), source })?;
        }
        self.paused = false;
        self.ended = None;
        Ok(())
    }

    /// Keeps it from running, as a machine that hangs would.
    ///
    /// # Errors
    /// [`RigError::Signal`] when the system refuses.
    pub fn pause(&mut self) -> Result<(), RigError> {
        self.signal(Signal::STOP)?;
        self.paused = self.child.is_some();
        Ok(())
    }

    /// Lets it run on.
    ///
    /// # Errors
    /// [`RigError::Signal`] when the system refuses.
    pub fn resume(&mut self) -> Result<(), RigError> {
        self.signal(Signal::CONT)?;
        self.paused = false;
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<(), RigError> {
        let pid =
            self.child.as_ref().and_then(Child::id).and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        let Some(pid) = pid else { return Ok(()) };
        rustix::process::kill_process(pid, signal)
            .map_err(|source| RigError::Signal { server: self.spec.name.clone(), source: source.into() })
    }
}

/// The last lines of a log.
pub fn log_tail(path: &Path) -> String {
    /// Enough for the reason of a failed start, which Go programs print last.
    const TAIL_BYTES: u64 = 4096;
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut tail = Vec::new();
        file.read_to_end(&mut tail)?;
        Ok(tail)
    };
    read().map(|tail| String::from_utf8_lossy(&tail).into_owned()).unwrap_or_default()
}
