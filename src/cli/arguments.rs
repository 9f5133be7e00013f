//! The argument tree. Help texts are imperative, without a full stop.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueHint};

use super::exit;
use super::output::Format;

/// Take exact snapshots of a CozyStack management cluster, keep them where they can be checked, put one back
#[derive(Debug, Parser)]
#[command(name = "snapback", version, about, arg_required_else_help = true, max_term_width = 100, after_help = exit::TABLE)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) everywhere: Everywhere,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that every command takes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Everywhere {
    /// Use the repository in this folder [default: the configuration's, else ./snapshots]
    #[arg(long, global = true, value_name = "PATH", env = "SNAPBACK_REPOSITORY", value_hint = ValueHint::DirPath)]
    pub(crate) repo: Option<PathBuf>,
    /// Read settings from this file [default: snapback.yaml, where there is one]
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// Use this context of the kubeconfig
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Use this kubeconfig [default: $KUBECONFIG, else ~/.kube/config]
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Take only what matches: a glob on snapshot paths, or TYPE[.GROUP][/NAMESPACE[/NAME]]; may be repeated
    #[arg(long, global = true, value_name = "PATTERN")]
    pub(crate) only: Vec<String>,
    /// Leave out what matches, as in --only; may be repeated
    #[arg(long, global = true, value_name = "PATTERN")]
    pub(crate) exclude: Vec<String>,
    /// Write results for people, or as one JSON document
    #[arg(long, short, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Format,
    /// Print results and errors only
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Log what happens to standard error; twice for details
    #[arg(long, short, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print the program's version and the formats it speaks
    Version,
    /// Print a completion script for a shell
    Completions(CompletionsArguments),
    /// Print the manual page, or write all pages into a folder
    Man(ManArguments),
}

impl Command {
    /// The name as it is typed.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::Completions(_) => "completions",
            Self::Man(_) => "man",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArguments {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(crate) struct ManArguments {
    /// Where to write one page a command
    #[arg(value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub(crate) folder: Option<PathBuf>,
}
