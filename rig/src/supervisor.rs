//! The process that owns a cluster's servers: brings them up, answers on the control port, ends everything when it is
//! asked to, when it is signalled, or when the pipe it was given closes.

use std::io::Read as _;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::cluster::Cluster;
use crate::control::{Action, Answer, Request};
use crate::description::Description;
use crate::error::RigError;
use crate::layout::Layout;
use crate::options::UpOptions;
use crate::toolchain::Toolchain;

/// What the supervisor is to do besides bringing the cluster up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// It ends when asked or signalled.
    UntilDown,
    /// It also ends when its standard input closes: whoever holds the other end may die in any way.
    UntilStdinCloses,
}

/// Brings a cluster up, says so through `ready`, and owns it until its end. `ready` gives false when nobody is there any
/// more to hear it; then the end is at once.
///
/// Must be called on the main thread of a current-thread runtime (see [`crate::process`]).
///
/// # Errors
/// When the cluster does not come up; then nothing of it is left. Or when it cannot be taken down.
pub async fn run(
    folder: Layout,
    options: &UpOptions,
    lifetime: Lifetime,
    ready: impl FnOnce(&Description) -> bool,
) -> Result<(), RigError> {
    let toolchain = Toolchain::find()?;
    let mut closed = watch_stdin(lifetime);
    let mut terminate = signal(SignalKind::terminate()).map_err(RigError::file("catch", "SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RigError::file("catch", "SIGINT"))?;
    // Caught and ignored: the terminal that started the cluster may close.
    let _hang_up = signal(SignalKind::hangup()).map_err(RigError::file("catch", "SIGHUP"))?;

    // A start that is given up is dropped, and its servers and folder with it.
    let mut cluster = tokio::select! {
        cluster = Cluster::up(folder, toolchain, options) => cluster?,
        _ = &mut closed => return Ok(()),
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    let listener = cluster.ports().control().and_then(|listener| {
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    });
    let listener = listener.map_err(RigError::file("listen on", "the control port"))?;
    if !ready(&cluster.status().await?) {
        return cluster.down(false).await;
    }

    let asked = tokio::select! {
        asked = answer_until_down(&mut cluster, &listener) => Some(asked),
        _ = &mut closed => None,
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
    };
    let (description, keep) = (cluster.status().await, asked.as_ref().is_some_and(|asked| asked.keep));
    let ended = cluster.down(keep).await;
    if let Some(asked) = asked {
        let answer = match (&ended, description) {
            (Ok(()), Ok(description)) => Answer::Done(Box::new(description)),
            (Err(error), _) => Answer::Failed(error.with_causes()),
            (Ok(()), Err(error)) => Answer::Failed(error.with_causes()),
        };
        reply(asked.connection, &answer).await;
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

/// Who asked for the end, and how.
struct DownAsked {
    connection: TcpStream,
    keep: bool,
}

async fn answer_until_down(cluster: &mut Cluster, listener: &TcpListener) -> DownAsked {
    loop {
        let Ok((mut connection, _)) = listener.accept().await else { continue };
        let action = match requested(&mut connection, cluster.token()).await {
            Ok(Action::Down { keep }) => return DownAsked { connection, keep },
            Ok(action) => action,
            Err(refusal) => {
                reply(connection, &Answer::Failed(refusal)).await;
                continue;
            }
        };
        let answer = match perform(cluster, &action).await {
            Ok(description) => Answer::Done(Box::new(description)),
            Err(error) => Answer::Failed(error.with_causes()),
        };
        reply(connection, &answer).await;
    }
}

async fn requested(connection: &mut TcpStream, token: &str) -> Result<Action, String> {
    /// A request is one short line of a program on this machine.
    const REQUEST_TIME: Duration = Duration::from_secs(5);
    let mut line = String::new();
    let mut reader = BufReader::new(connection);
    match tokio::time::timeout(REQUEST_TIME, reader.read_line(&mut line)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err("no request came".to_owned()),
    }
    let request: Request = serde_json::from_str(&line).map_err(|error| format!("not a request: {error}"))?;
    if request.token == token { Ok(request.action) } else { Err("the token is not this cluster's".to_owned()) }
}

async fn perform(cluster: &mut Cluster, action: &Action) -> Result<Description, RigError> {
    match action {
        Action::Start(server) => cluster.start(server).await?,
        Action::Stop(server) => cluster.stop(server).await?,
        Action::Kill(server) => cluster.kill(server).await?,
        Action::Pause(server) => cluster.pause(server)?,
        Action::Resume(server) => cluster.resume(server)?,
        Action::Status | Action::Down { .. } => {}
    }
    cluster.status().await
}

async fn reply(mut connection: TcpStream, answer: &Answer) {
    if let Ok(mut line) = serde_json::to_string(answer) {
        line.push('\n');
        // The asker may be gone; that is its own affair.
        let _ = connection.write_all(line.as_bytes()).await;
    }
}
