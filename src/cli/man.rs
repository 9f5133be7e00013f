//! `snapback man [FOLDER]`: the manual, one page a command in a folder, commands of commands included, or the first page on
//! standard output.

use std::fs;

use clap::Command;

use super::arguments::ManArguments;
use super::common_options;
use super::error::Failure;
use super::exit::Exit;
use super::output::Output;

/// Writes or prints the pages.
pub(crate) fn run(arguments: &ManArguments, output: &Output) -> Result<Exit, Failure> {
    let mut root = common_options::command();
    root.build();
    let Some(folder) = &arguments.folder else {
        output.raw(&page(root, "snapback")?);
        return Ok(Exit::Done);
    };
    let failed = |what: String, error: &std::io::Error| Failure::new(Exit::Failed, what).caused_by(error);
    fs::create_dir_all(folder)
        .map_err(|error| failed(format!("cannot make the folder `{}`", folder.display()), &error))?;
    for (name, command) in pages(&root, "snapback") {
        let path = folder.join(format!("{name}.1"));
        let page = page(command, &name)?;
        fs::write(&path, page).map_err(|error| failed(format!("cannot write `{}`", path.display()), &error))?;
        output.line(&path.display().to_string());
    }
    Ok(Exit::Done)
}

/// A command's page and those of its own commands, each under the name that clap gives it.
fn pages(command: &Command, name: &str) -> Vec<(String, Command)> {
    let mut all = vec![(name.to_owned(), command.clone())];
    for own in command.get_subcommands().filter(|own| own.get_name() != "help") {
        all.extend(pages(own, &format!("{name}-{}", own.get_name())));
    }
    all
}

fn page(command: Command, name: &str) -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page).map_err(|error| {
        Failure::new(Exit::Failed, format!("cannot write the manual page `{name}`")).caused_by(&error)
    })?;
    Ok(page)
}
