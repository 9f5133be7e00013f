//! `snapback completions SHELL`: the completion script on standard output.

use super::arguments::CompletionsArguments;
use super::common_options;
use super::exit::Exit;
use super::output::Output;

/// Prints the script.
pub(crate) fn run(arguments: &CompletionsArguments, output: &Output) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut common_options::command(), "snapback", &mut script);
    output.raw(&script);
    Exit::Done
}
