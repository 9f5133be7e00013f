//! Parse, run, exit code. Everything that prints is in `cli`, which the library cannot reach (I11).

mod cli;

/// The system's keeps for each thread what that one freed, and there are many: the more cores, the more memory.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    cli::run::run()
}
