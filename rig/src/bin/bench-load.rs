//! `bench-load`: the helpers of `scripts/bench`, floors to measure against and changes to back up or to take back.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use rig::audited::{Write, writes};
use rig::disturb::{DisturbOptions, Disturbed, disturb};
use rig::download::download;
use rig::replay::replay;
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
    /// Edit, add and delete objects of all sorts of types, and say which
    Disturb {
        /// How many are edited
        #[arg(long, default_value_t = 600)]
        changed: usize,
        /// How many are added
        #[arg(long, default_value_t = 50)]
        extra: usize,
        /// How many are deleted
        #[arg(long, default_value_t = 50)]
        missing: usize,
        /// The number that everything is drawn from
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Say what snapback wrote, beside what `disturb` said
    Written {
        #[command(flatten)]
        log: Log,
        /// What `disturb` printed
        #[arg(long)]
        disturbed: PathBuf,
    },
    /// Send once more what snapback wrote
    Replay {
        #[command(flatten)]
        log: Log,
    },
}

#[derive(clap::Args)]
struct Log {
    /// The API server's audit log, of level Request
    #[arg(long)]
    log: PathBuf,
    /// Where in it to begin, in bytes
    #[arg(long, default_value_t = 0)]
    from: u64,
}

impl Log {
    fn writes(&self) -> Result<Vec<Write>, Box<dyn std::error::Error>> {
        let mut file = std::fs::File::open(&self.log)?;
        file.seek(SeekFrom::Start(self.from))?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        Ok(writes(&text, "snapback")?)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let line = match Cli::parse().command {
        Load::Download { connections } => serde_json::to_string(&download(config().await?, connections).await?)?,
        Load::Touch { count, round } => {
            format!("{{\"touched\":{}}}", touch(config().await?, count, round).await?)
        }
        Load::Disturb { changed, extra, missing, seed } => {
            let options = DisturbOptions { seed, changed, extra, missing };
            serde_json::to_string(&disturb(client().await?, options).await?)?
        }
        Load::Written { log, disturbed } => written(&log.writes()?, &disturbed)?,
        Load::Replay { log } => serde_json::to_string(&replay(client().await?, log.writes()?).await?)?,
    };
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}

async fn config() -> Result<kube::Config, Box<dyn std::error::Error>> {
    Ok(kube::Config::infer().await?)
}

async fn client() -> Result<kube::Client, Box<dyn std::error::Error>> {
    Ok(kube::Client::try_from(config().await?)?)
}

/// Requests and objects that were written, how many objects of the disturbed ones were not, and of which types the
/// others are.
fn written(writes: &[Write], disturbed: &Path) -> Result<String, Box<dyn std::error::Error>> {
    let disturbed: Disturbed = serde_json::from_slice(&std::fs::read(disturbed)?)?;
    let (all, objects) = (disturbed.all(), writes.iter().map(|write| write.path.clone()).collect::<BTreeSet<_>>());
    let mut others: BTreeMap<String, usize> = BTreeMap::new();
    for path in objects.difference(&all) {
        *others.entry(path.split('/').skip(1).take(2).collect::<Vec<_>>().join("/")).or_default() += 1;
    }
    Ok(serde_json::json!({
        "requests": writes.len(),
        "disturbed": all.len(),
        "types": disturbed.types(),
        "written": objects.intersection(&all).count(),
        "others": others,
    })
    .to_string())
}
