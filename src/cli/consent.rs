//! The questions before a cluster is changed.

use std::io::IsTerminal as _;

use snapback::restore::{Plan, StoragePlan};
use snapback::rollback::{ALLOW_HELM_UPGRADE, DELETE_ADDED_TYPES, LOSE_FIELDS};

use super::arguments::ConsentArguments;
use super::error::Failure;
use super::exit::Exit;
use super::session::Session;
use super::table;

impl ConsentArguments {
    /// What was agreed to apart, by the names that a journal has for it.
    fn apart(&self) -> impl Iterator<Item = &'static str> {
        let named = [
            (LOSE_FIELDS, self.lose_fields),
            (DELETE_ADDED_TYPES, self.delete_added_types),
            (ALLOW_HELM_UPGRADE, self.allow_helm_upgrade),
        ];
        named.into_iter().filter_map(|(name, given)| given.then_some(name))
    }

    /// Adds it to what the transaction is forced to do.
    pub(crate) fn add_to(&self, force: &mut Vec<String>) {
        for name in self.apart() {
            if !force.iter().any(|known| known == name) {
                force.push(name.to_owned());
            }
        }
    }

    /// Nothing is unfinished: there is nothing to give up.
    pub(crate) fn refuse_to_give_up(&self) -> Result<(), Failure> {
        if self.give_up {
            return Err(Failure::new(Exit::Usage, "nothing is unfinished on this cluster that could be given up")
                .hint("`snapback undo` goes back to what was there before the last restore, rollback or undo"));
        }
        Ok(())
    }

    /// Adds the options to a command that a hint tells to type.
    pub(crate) fn options(&self, command: &mut String) {
        self.apart().for_each(|name| command.push_str(&format!(" --{name}")));
    }
}

/// Asks once on a terminal; without one it takes `--yes`, and `command` is what to type with it.
pub(crate) async fn ask(session: &Session<'_>, what: &str, question: &str, command: &str) -> Result<(), Failure> {
    if !is_asked() {
        let text = format!("{what} changes the cluster and there is no terminal to ask on; nothing was changed");
        return Err(Failure::new(Exit::Refused, text).hint(format!("run `{command} --yes`")));
    }
    agreed(session, question).await
}

/// What is lost by objects that are no part of what is restored is asked apart, and takes `--lose-fields` where nobody
/// can be asked.
pub(crate) async fn ask_for_losses(
    session: &Session<'_>,
    plan: &Plan,
    yes: bool,
    command: &str,
) -> Result<(), Failure> {
    let losing: Vec<&StoragePlan> =
        plan.conversions().map(|(_, storage)| storage).filter(|storage| storage.needs_its_own_consent()).collect();
    if losing.is_empty() {
        return Ok(());
    }
    let objects: usize = losing.iter().map(|storage| storage.losses_outside.len()).sum();
    let unreadable = losing.iter().filter(|storage| storage.unreadable.is_some()).count();
    let mut what = Vec::new();
    if objects > 0 {
        let objects = table::count(objects as u64, "object");
        what.push(format!(
            "{objects} outside of what is restored would lose fields or break rules of an older version"
        ));
    }
    if unreadable > 0 {
        let types = table::count(unreadable as u64, "type");
        what.push(format!("nobody can tell what the objects of {types} would lose, since they cannot be read"));
    }
    let what = what.join("; ");
    if yes || !is_asked() {
        let run = format!("{command} --lose-fields{}", if is_asked() { "" } else { " --yes" });
        return Err(Failure::new(Exit::Refused, format!("{what}; nothing was changed"))
            .hint(format!("the lines with `!` name them; `{run}` accepts that")));
    }
    agreed(session, &format!("{what}. go on?")).await
}

fn is_asked() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

async fn agreed(session: &Session<'_>, question: &str) -> Result<(), Failure> {
    session.output.finish()?;
    session.output.question(&format!("{question} [y/N] "));
    // On a thread of its own, so that Ctrl-C is heard while the question stands.
    let answer = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).map(|_| answer)
    });
    match answer.await {
        Ok(Ok(answer)) if matches!(answer.trim(), "y" | "Y" | "yes") => Ok(()),
        _ => Err(Failure::new(Exit::Refused, "that was not a yes; nothing was changed")),
    }
}
