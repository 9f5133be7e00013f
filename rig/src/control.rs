//! What is said on a supervisor's control port: one JSON request a connection, one JSON answer, each a line.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpStream};

use serde::{Deserialize, Serialize};

use crate::description::Description;
use crate::error::RigError;
use crate::layout::Layout;

/// A request with its proof that the asker may read the cluster's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The token of `rig.json`.
    pub token: String,
    /// What is asked.
    pub action: Action,
}

/// What a supervisor can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// What runs.
    Status,
    /// Start a server and wait until it answers.
    Start(String),
    /// End a server with SIGTERM.
    Stop(String),
    /// End a server with SIGKILL.
    Kill(String),
    /// Keep a server from running (SIGSTOP).
    Pause(String),
    /// Let a paused server run on.
    Resume(String),
    /// End everything.
    Down {
        /// Leave the folder.
        keep: bool,
    },
}

/// The answer: what runs afterwards, or why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// It was done.
    Done(Box<Description>),
    /// It was refused, or failed.
    Failed(String),
}

/// Asks the supervisor of a folder.
///
/// # Errors
/// [`RigError::NotARig`], [`RigError::NotRunning`] when nobody answers, [`RigError::Supervisor`] with its refusal.
pub fn ask(layout: &Layout, action: Action) -> Result<Description, RigError> {
    let description = Description::read(layout)?;
    let not_running = || RigError::NotRunning { folder: layout.folder().to_owned() };
    let mut connection =
        TcpStream::connect((Ipv4Addr::LOCALHOST, description.supervisor.port)).map_err(|_| not_running())?;
    let request = Request { token: description.supervisor.token, action };
    let json = |source| RigError::Json { what: "the supervisor's answer".to_owned(), source };
    let mut line = serde_json::to_string(&request).map_err(json)?;
    line.push('\n');
    let mut text = String::new();
    connection
        .write_all(line.as_bytes())
        .and_then(|()| BufReader::new(&connection).read_line(&mut text))
        .map_err(|_| not_running())?;
    if text.is_empty() {
        return Err(not_running());
    }
    match serde_json::from_str(&text).map_err(json)? {
        Answer::Done(description) => Ok(*description),
        Answer::Failed(message) => Err(RigError::Supervisor { message }),
    }
}
