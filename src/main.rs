//! Parse, run, exit code. Everything that prints is in `cli`, which the library cannot reach (I11).

mod cli;

fn main() -> std::process::ExitCode {
    cli::run::run()
}
