//! `bench-load`: the two helpers of `scripts/bench`, a floor to measure against and small changes to back up.

use std::io::Write as _;

use clap::{Parser, Subcommand};
use rig::download::download;
use rig::touch::touch;

/// Reads or edits the cluster of the current kubeconfig (KUBECONFIG).
#[derive(Parser)]
#[command(name = "bench-load")]
struct Cli {
    #[command(subcommand)]
    command: Load,
}

#[derive(Subcommand)]
enum Load {
    /// List everything at one revision and throw it away
    Download {
        /// Lists under way at once
        #[arg(long, default_value_t = 4)]
        connections: usize,
    },
    /// Change one annotation on so many objects
    Touch {
        /// How many objects
        #[arg(long, default_value_t = 120)]
        count: usize,
        /// The annotation's value
        #[arg(long)]
        round: u32,
    },
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cli = Cli::parse();
    let config = kube::Config::infer().await?;
    let line = match cli.command {
        Load::Download { connections } => serde_json::to_string(&download(config, connections).await?)?,
        Load::Touch { count, round } => format!("{{\"touched\":{}}}", touch(config, count, round).await?),
    };
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}
