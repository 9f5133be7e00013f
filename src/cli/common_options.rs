//! Which of the common options mean something to which command. One that means nothing is refused, not ignored: who
//! writes `verify --only X` takes the answer for one about X.

use clap::parser::ValueSource;
use clap::{ArgMatches, Command, CommandFactory as _};

use super::advice::quoted;
use super::arguments::Arguments;
use super::error::Failure;
use super::exit::Exit;

/// Commands that work on a repository.
const WITH_REPOSITORY: &[&str] = &[
    "init",
    "backup",
    "copy",
    "snapshots",
    "show",
    "ls",
    "diff",
    "history",
    "verify",
    "restore",
    "rollback",
    "undo",
    "export",
    "etcd",
];
/// Commands that may ask a cluster, if only which one `latest` means.
const WITH_CLUSTER: &[&str] =
    &["backup", "copy", "show", "ls", "diff", "history", "restore", "rollback", "undo", "export", "etcd"];
/// Commands on many objects.
const WITH_SELECTION: &[&str] = &["backup", "ls", "diff", "restore", "export"];
/// Commands whose output is not a script or a page.
const WITH_FORMAT: &[&str] = &[
    "init",
    "backup",
    "copy",
    "snapshots",
    "show",
    "ls",
    "diff",
    "history",
    "verify",
    "restore",
    "rollback",
    "undo",
    "export",
    "etcd",
    "version",
];

/// Each common option that does not mean something everywhere, with the commands that take it.
const TAKEN_BY: [(&str, &[&str]); 7] = [
    ("repo", WITH_REPOSITORY),
    ("config", WITH_REPOSITORY),
    ("context", WITH_CLUSTER),
    ("kubeconfig", WITH_CLUSTER),
    ("only", WITH_SELECTION),
    ("exclude", WITH_SELECTION),
    ("output", WITH_FORMAT),
];

/// The whole command line, each command's help without what means nothing to it.
pub(crate) fn command() -> Command {
    let mut root = Arguments::command();
    let names: Vec<String> = root.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    for (option, takers) in TAKEN_BY {
        let Some(argument) = root.get_arguments().find(|argument| argument.get_id() == option) else { continue };
        let hidden = argument.clone().hide(true);
        for name in names.iter().filter(|name| !takers.contains(&name.as_str())) {
            // A command that has it already is not given it again.
            root = root.mut_subcommand(name, |command| command.arg(hidden.clone()));
        }
    }
    root
}

/// Refuses a common option that means nothing to the command. One that the environment sets is meant for others.
pub(crate) fn check(matches: &ArgMatches) -> Result<(), Failure> {
    let Some((name, mut given)) = matches.subcommand() else { return Ok(()) };
    // What is given behind a command of a command is known there alone.
    while let Some((_, deeper)) = given.subcommand() {
        given = deeper;
    }
    for (option, takers) in TAKEN_BY {
        if !takers.contains(&name) && given.value_source(option) == Some(ValueSource::CommandLine) {
            let takers: Vec<String> = takers.iter().map(|name| (*name).to_owned()).collect();
            return Err(Failure::new(Exit::Usage, format!("`--{option}` means nothing to `snapback {name}`"))
                .hint(format!("leave it out; it is for {}", quoted(&takers))));
        }
    }
    Ok(())
}
