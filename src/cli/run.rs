//! From arguments to an exit code: logs, the runtime, the command, Ctrl-C.

use clap::{ArgMatches, FromArgMatches as _};

use super::arguments::{Arguments, Command};
use super::error::Failure;
use super::exit::Exit;
use super::interrupt::Interrupt;
use super::output::Output;
use super::session::Session;
use super::{
    backup, common_options, completions, copy, diff, etcd, export, history, init, ls, man, restore, rollback, show,
    snapshots, undo, verify, version,
};

/// Runs the program.
pub(crate) fn run() -> std::process::ExitCode {
    let (arguments, matches) = match parse() {
        Ok(parsed) => parsed,
        Err(error) => {
            // Help and version go to standard output with code 0. A reader that went away is no error.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Done }.into();
        }
    };
    log_to_standard_error(arguments.everywhere.verbose);
    let output = Output::new(arguments.everywhere.output, arguments.everywhere.quiet);
    let command = arguments.command.name();
    let outcome = common_options::check(&matches)
        .and_then(|()| start(&arguments, &output))
        .and_then(|exit| output.finish().map(|()| exit));
    match outcome {
        Ok(exit) => exit.into(),
        Err(failure) => {
            output.failure(command, &failure);
            failure.exit.into()
        }
    }
}

fn parse() -> Result<(Arguments, ArgMatches), clap::Error> {
    let mut command = common_options::command();
    let matches = command.try_get_matches_from_mut(std::env::args_os())?;
    let arguments = Arguments::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
    Ok((arguments, matches))
}

/// Threads that canonicalise, compress and touch files. The allocator keeps an arena for each, so tokio's 512 would let
/// memory grow with the number of pages that were ever in flight.
const MAX_BLOCKING_THREADS: usize = 8;

fn start(arguments: &Arguments, output: &Output) -> Result<Exit, Failure> {
    match &arguments.command {
        Command::Version => Ok(version::run(output)),
        Command::Completions(wanted) => Ok(completions::run(wanted, output)),
        Command::Man(wanted) => man::run(wanted, output),
        _ => {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .max_blocking_threads(MAX_BLOCKING_THREADS)
                .build();
            let runtime = runtime.map_err(|error| Failure::new(Exit::Failed, "cannot start").caused_by(&error))?;
            let outcome = runtime.block_on(work(arguments, output));
            // What still runs on a thread of its own after an interruption is not waited for.
            runtime.shutdown_background();
            outcome
        }
    }
}

/// Runs a command that reads or writes, until it ends or is interrupted.
async fn work(arguments: &Arguments, output: &Output) -> Result<Exit, Failure> {
    let interrupt = Interrupt::default();
    let session = Session::new(&arguments.everywhere, output, &interrupt)?;
    let command = async {
        match &arguments.command {
            Command::Init => init::run(&session).await,
            Command::Backup(wanted) => backup::run(&session, wanted).await,
            Command::Copy(wanted) => copy::run(&session, wanted).await,
            Command::Snapshots => snapshots::run(&session).await,
            Command::Show(wanted) => show::run(&session, wanted).await,
            Command::Ls(wanted) => ls::run(&session, wanted).await,
            Command::Diff(wanted) => diff::run(&session, wanted).await,
            Command::Etcd(wanted) => etcd::run(&session, wanted).await,
            Command::Export(wanted) => export::run(&session, wanted).await,
            Command::History(wanted) => history::run(&session, wanted).await,
            Command::Verify(wanted) => verify::run(&session, wanted).await,
            Command::Restore(wanted) => restore::run(&session, wanted).await,
            Command::Rollback(wanted) => rollback::run(&session, wanted).await,
            Command::Undo(wanted) => undo::run(&session, wanted).await,
            Command::Version | Command::Completions(_) | Command::Man(_) => Ok(Exit::Done),
        }
    };
    tokio::select! {
        outcome = command => outcome,
        failure = interrupt.wait() => Err(failure),
    }
}

/// Only this program's own targets log below `warn`: an HTTP library's debug log would hold bearer tokens, and
/// `kube_client` logs whole response bodies, Secrets included, when they do not parse (I10).
fn log_to_standard_error(verbose: u8) {
    let own = match verbose {
        0 => return,
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = tracing_subscriber::EnvFilter::new(format!("warn,snapback={own},kube_client=off"));
    // Fails only when a subscriber is set already, and nobody else sets one.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(true)
        .with_ansi(false)
        .try_init();
}
