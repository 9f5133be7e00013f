//! The process that owns a cluster's servers: brings them up, answers on the control port, ends everything when it is
//! asked to, when it is signalled, or when the pipe it was given closes.

use std::io::Read as _;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::cluster::{Cluster, UpOptions};
use crate::control::{Action, Answer, Request};
use crate::description::Description;
use crate::error::RigError;
use crate::layout::Layout;
use crate::toolchain::Toolchain;

/// What the supervisor is to do besides bringing the cluster up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// It ends when asked or signalled.
    UntilDown,
    /// It also ends when its standard input closes: whoever holds the other end may die in any way.
    UntilStdinCloses,
}

enum Next {
    Continue,
    End { keep: bool },
}

/// Brings a cluster up, says so through `ready`, and owns it until its end.
///
/// Must be called on the main thread of a current-thread runtime (see [`crate::process`]).
///
/// # Errors
/// When the cluster does not come up; then nothing of it is left. Or when it cannot be taken down.
pub async fn run(
    folder: Layout,
    options: &UpOptions,
    lifetime: Lifetime,
    ready: impl FnOnce(&Description),
) -> Result<(), RigError> {
    let toolchain = Toolchain::find()?;
    let mut closed = watch_stdin(lifetime);
    let mut terminate = signal(SignalKind::terminate()).map_err(RigError::file("catch", "SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RigError::file("catch", "SIGINT"))?;
    // The terminal that started it may close.
    let mut hang_up = signal(SignalKind::hangup()).map_err(RigError::file("catch", "SIGHUP"))?;

    let brought_up = tokio::select! {
        cluster = Cluster::up(folder.clone(), toolchain, options) => Some(cluster),
        _ = &mut closed => None,
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
    };
    let mut cluster = match brought_up {
        Some(Ok(cluster)) => cluster,
        ended => {
            // Dropping the half-started cluster has killed its servers. A folder that is somebody else's stays.
            let in_use = matches!(ended, Some(Err(RigError::FolderInUse { .. })));
            if !in_use {
                let _ = std::fs::remove_dir_all(folder.folder());
            }
            return ended.map_or(Ok(()), |result| result.map(drop));
        }
    };
    let listener = cluster.ports().control().and_then(|listener| {
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    });
    let listener = listener.map_err(RigError::file("listen on", "the control port"))?;
    ready(&cluster.describe()?);

    let mut farewell = None;
    let keep = loop {
        let next = tokio::select! {
            connection = listener.accept() => match connection {
                Ok((connection, _)) => answer(&mut cluster, connection, &mut farewell).await,
                Err(_) => Next::Continue,
            },
            _ = &mut closed => Next::End { keep: false },
            _ = terminate.recv() => Next::End { keep: false },
            _ = interrupt.recv() => Next::End { keep: false },
            _ = hang_up.recv() => Next::Continue,
        };
        if let Next::End { keep } = next {
            break keep;
        }
    };
    let description = cluster.describe();
    let ended = cluster.down(keep).await;
    if let Some(connection) = farewell {
        let answer = match (&ended, &description) {
            (Ok(()), Ok(description)) => Answer::Done(Box::new(description.clone())),
            (Err(error), _) | (_, Err(error)) => Answer::Failed(error.to_string()),
        };
        reply(connection, &answer).await;
    }
    ended
}

/// Resolves when standard input is at its end; never when it is not to be watched.
fn watch_stdin(lifetime: Lifetime) -> oneshot::Receiver<()> {
    let (sender, receiver) = oneshot::channel();
    // A thread, since a read cannot be taken back: it ends with the process.
    std::thread::spawn(move || {
        match lifetime {
            Lifetime::UntilStdinCloses => {
                let mut ignored = [0_u8; 64];
                let mut stdin = std::io::stdin();
                while stdin.read(&mut ignored).is_ok_and(|count| count > 0) {}
                let _ = sender.send(());
            }
            // The sender must live, else the receiver resolves.
            Lifetime::UntilDown => loop {
                std::thread::park();
                let _ = &sender;
            },
        }
    });
    receiver
}

async fn answer(cluster: &mut Cluster, mut connection: TcpStream, farewell: &mut Option<TcpStream>) -> Next {
    let mut line = String::new();
    if BufReader::new(&mut connection).read_line(&mut line).await.is_err() {
        return Next::Continue;
    }
    let request: Request = match serde_json::from_str(&line) {
        Ok(request) => request,
        Err(error) => {
            reply(connection, &Answer::Failed(format!("not a request: {error}"))).await;
            return Next::Continue;
        }
    };
    if request.token != cluster.token() {
        reply(connection, &Answer::Failed("the token is not this cluster's".to_owned())).await;
        return Next::Continue;
    }
    let done = match &request.action {
        Action::Status => Ok(()),
        Action::Start(server) => cluster.start(server).await,
        Action::Stop(server) => cluster.stop(server).await,
        Action::Kill(server) => cluster.kill(server).await,
        Action::Pause(server) => cluster.pause(server),
        Action::Resume(server) => cluster.resume(server),
        Action::Down { keep } => {
            *farewell = Some(connection);
            return Next::End { keep: *keep };
        }
    };
    let answer = match done.and_then(|()| cluster.describe()) {
        Ok(description) => Answer::Done(Box::new(description)),
        Err(error) => Answer::Failed(error.to_string()),
    };
    reply(connection, &answer).await;
    Next::Continue
}

async fn reply(mut connection: TcpStream, answer: &Answer) {
    if let Ok(mut line) = serde_json::to_string(answer) {
        line.push('\n');
        // The asker may be gone; that is its own affair.
        let _ = connection.write_all(line.as_bytes()).await;
    }
}
