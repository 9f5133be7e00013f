//! The one question before a cluster is changed.

use std::io::IsTerminal as _;

use super::error::Failure;
use super::exit::Exit;
use super::session::Session;

/// Asks once on a terminal; without one it takes `--yes`, and `command` is what to type with it.
pub(crate) async fn ask(session: &Session<'_>, what: &str, question: &str, command: &str) -> Result<(), Failure> {
    let refused = |text: String| Failure::new(Exit::Refused, text);
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        let text = format!("{what} changes the cluster and there is no terminal to ask on; nothing was changed");
        return Err(refused(text).hint(format!("run `{command} --yes`")));
    }
    session.output.finish()?;
    session.output.question(&format!("{question} [y/N] "));
    // On a thread of its own, so that Ctrl-C is heard while the question stands.
    let answer = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).map(|_| answer)
    });
    match answer.await {
        Ok(Ok(answer)) if matches!(answer.trim(), "y" | "Y" | "yes") => Ok(()),
        _ => Err(refused("the answer was no; nothing was changed".to_owned())),
    }
}
