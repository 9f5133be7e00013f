//! `rig`: the command behind `scripts/control-plane`.

mod stand_in;

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use rig::control::{Action, Answer, ask};
use rig::description::{Description, ServerStatus};
use rig::layout::Layout;
use rig::probe::client_from;
use rig::process::ProcessState;
use rig::seed::SeedOptions;
use rig::supervisor::{Lifetime, run};
use rig::templates::{self, TEMPLATES};
use rig::toolchain::Toolchain;
use rig::{RigError, UpOptions};
use stand_in::StandIn;

/// Runs a throwaway Kubernetes control plane in a folder: real etcd, API server, controllers and kwok nodes.
///
/// Everything listens on free ports of 127.0.0.1; several clusters run side by side. For tests, benchmarks and trying
/// things out: never for data that matters.
#[derive(Parser)]
#[command(name = "control-plane", bin_name = "scripts/control-plane", after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Subject,
}

const EXAMPLES: &str = "Examples:
  scripts/control-plane up /tmp/cluster
  KUBECONFIG=/tmp/cluster/kubeconfig kubectl get nodes
  scripts/control-plane status /tmp/cluster
  scripts/control-plane stop /tmp/cluster kube-controller-manager
  scripts/control-plane down /tmp/cluster

Files in the folder: kubeconfig (system:masters), rig.json (endpoints, certificates, pids), audit.log, logs/, pki/.";

#[derive(Subcommand)]
enum Subject {
    /// Start a cluster in a folder that is empty or does not exist; returns when it is ready
    Up(Up),
    /// End every server and remove the folder
    Down {
        #[command(flatten)]
        target: Target,
        /// End the servers in order and leave the folder with etcd's data
        #[arg(long)]
        keep: bool,
    },
    /// Say for each server whether it runs, with pid and port
    Status(Target),
    /// Start a server that is not running and wait until it answers
    Start(ServerTarget),
    /// End a server in order (SIGTERM)
    Stop(ServerTarget),
    /// End a server at once (SIGKILL)
    Kill(ServerTarget),
    /// Keep a server from running, as a machine that hangs would (SIGSTOP)
    Pause(ServerTarget),
    /// Let a paused server run on (SIGCONT)
    Resume(ServerTarget),
    /// Be a stand-in
    #[command(hide = true, subcommand)]
    StandIn(StandIn),
    /// Fill a running cluster with a small CozyStack: real CRDs, namespaces, HelmReleases, custom resources, workloads
    Seed {
        #[command(flatten)]
        target: Target,
        /// About how many objects: 500 for tests, 12000 and 100000 for benchmarks
        #[arg(long, default_value_t = 500)]
        size: usize,
        /// The number that everything is drawn from: the same number, the same objects
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

#[derive(Args)]
struct Target {
    /// The cluster's folder
    folder: PathBuf,
    /// How to print what runs
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Args)]
struct ServerTarget {
    #[command(flatten)]
    target: Target,
    /// The server: etcd, kube-apiserver, kube-apiserver-2, kube-controller-manager, kube-scheduler or kwok
    server: String,
}

#[derive(Args)]
struct Up {
    #[command(flatten)]
    target: Target,
    /// etcd and the API server only; the others can be started one by one later
    #[arg(long)]
    bare: bool,
    /// Also Flux's helm-controller, with charts served to it
    #[arg(long, conflicts_with = "bare")]
    flux: bool,
    /// Also a second API server, `kube-apiserver-2`, on the same etcd; kubeconfig-2 in the folder goes to it
    #[arg(long)]
    second_api_server: bool,
    /// Also a CozyStack that fights back: Flux and the installer, each running while its Deployment has a pod
    #[arg(long, conflicts_with_all = ["bare", "flux"], requires = "template")]
    fighting: bool,
    /// Copy a cluster that was seeded before; built when it is asked for first
    #[arg(long, value_name = "NAME", value_parser = clap::builder::PossibleValuesParser::new(TEMPLATES.iter().map(|template| template.name)))]
    template: Option<String>,
    /// How many nodes kwok plays
    #[arg(long, default_value_t = 3)]
    nodes: u32,
    /// Let etcd write through to the disk (by default it does not: the cluster is thrown away)
    #[arg(long)]
    durable: bool,
    /// Encrypt Secrets and ConfigMaps at rest, with a key made for this cluster
    #[arg(long)]
    encryption: bool,
    /// A flag for the API server, such as --api-server-flag=--etcd-compaction-interval=10s (repeatable)
    #[arg(long = "api-server-flag", value_name = "FLAG", allow_hyphen_values = true)]
    api_server_flags: Vec<String>,
    /// Stay in the foreground, print one line of JSON when ready, and take everything down when standard input closes
    #[arg(long)]
    until_stdin_closes: bool,
    /// Be the process that `up` leaves behind.
    #[arg(long, hide = true)]
    supervise: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

impl Up {
    fn options(&self) -> UpOptions {
        UpOptions {
            bare: self.bare,
            flux: self.flux,
            second_api_server: self.second_api_server,
            fighting: self.fighting,
            template: self.template.clone(),
            nodes: self.nodes,
            durable: self.durable,
            encryption: self.encryption,
            api_server_flags: self.api_server_flags.clone(),
        }
    }
}

fn main() -> ExitCode {
    match Cli::parse().command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let text = format!("error: {}\n", error.with_causes());
            let _ = std::io::stderr().write_all(text.as_bytes());
            ExitCode::FAILURE
        }
    }
}

impl Subject {
    fn run(self) -> Result<(), RigError> {
        match self {
            Self::Up(up) if up.supervise || up.until_stdin_closes => supervise(&up),
            Self::Up(up) => detach(&up),
            Self::Down { target, keep } => down(&target, keep),
            Self::Status(target) => status(&target),
            Self::Start(on) => change(&on, Action::Start),
            Self::Stop(on) => change(&on, Action::Stop),
            Self::Kill(on) => change(&on, Action::Kill),
            Self::Pause(on) => change(&on, Action::Pause),
            Self::Resume(on) => change(&on, Action::Resume),
            Self::StandIn(stand_in) => stand_in.run(),
            Self::Seed { target, size, seed } => fill(&target, size, seed),
        }
    }
}

/// Seeds a running cluster; prints what was seeded.
fn fill(target: &Target, size: usize, seed: u64) -> Result<(), RigError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(RigError::file("start", "the async runtime"))?;
    let options = SeedOptions { size, seed, toolchain: Toolchain::find()?.folder().to_owned() };
    let layout = Layout::new(absolute(&target.folder));
    let report = runtime.block_on(async {
        let client = client_from(layout.kubeconfig()).await?;
        let progress = |line: &str| {
            if target.output == Output::Text {
                say(&format!("  {line}"));
            }
        };
        Ok::<_, RigError>(rig::seed::seed(client, &options, &progress).await?)
    })?;
    if target.output == Output::Json {
        say(&serde_json::to_string_pretty(&report).unwrap_or_default());
        return Ok(());
    }
    say(&format!(
        "{} objects in {} s: {} CRDs ({} of them copies), {} custom resources, {} HelmReleases",
        report.objects, report.seconds, report.crds, report.copied_crds, report.custom_resources, report.helm_releases
    ));
    say(&format!(
        "refused by the API server: {} single objects, every sample of {:?}",
        report.refused_objects, report.refused_types
    ));
    Ok(())
}

/// Owns the servers in this process.
fn supervise(up: &Up) -> Result<(), RigError> {
    let lifetime = if up.until_stdin_closes { Lifetime::UntilStdinCloses } else { Lifetime::UntilDown };
    // On this very thread: the servers die with the thread that starts them.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(RigError::file("start", "the async runtime"))?;
    let ready = |description: &Description| {
        let line = match up.supervise {
            true => serde_json::to_string(&Answer::Done(Box::new(description.clone()))),
            false => serde_json::to_string(description),
        };
        say(&line.unwrap_or_default())
    };
    let result = runtime.block_on(run(Layout::new(absolute(&up.target.folder)), &up.options(), lifetime, ready));
    if let (true, Err(error)) = (up.supervise, &result) {
        say(&serde_json::to_string(&Answer::Failed(error.with_causes())).unwrap_or_default());
        return Ok(());
    }
    result
}

/// Starts the supervisor as a process of its own and waits until it says that everything is ready.
fn detach(up: &Up) -> Result<(), RigError> {
    if let Some(name) = &up.template
        && !templates::is_built(name, &Toolchain::find()?)?
    {
        let _ = writeln!(std::io::stderr(), "seeding template `{name}`: this is done once and takes about a minute");
    }
    let spawn_error = |source| RigError::Spawn { program: "the supervisor".to_owned(), source };
    let this = std::env::current_exe().map_err(spawn_error)?;
    let mut supervisor = Command::new(this)
        .args(std::env::args_os().skip(1))
        .arg("--supervise")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // Not in the terminal's foreground group: Ctrl-C there is not for it.
        .process_group(0)
        .spawn()
        .map_err(spawn_error)?;
    let mut line = String::new();
    if let Some(stdout) = supervisor.stdout.take() {
        BufReader::new(stdout).read_line(&mut line).map_err(spawn_error)?;
    }
    let answer = serde_json::from_str(&line)
        .map_err(|source| RigError::Json { what: "the supervisor's first line".to_owned(), source })?;
    match answer {
        Answer::Done(description) => {
            print(&description, up.target.output);
            Ok(())
        }
        Answer::Failed(message) => Err(RigError::Supervisor { message }),
    }
}

fn down(target: &Target, keep: bool) -> Result<(), RigError> {
    let layout = Layout::new(absolute(&target.folder));
    match ask(&layout, Action::Down { keep }) {
        Ok(_) => Ok(()),
        // The servers died with their supervisor; what is left is the folder, which is known to be ours.
        Err(RigError::NotRunning { folder }) if !keep => {
            std::fs::remove_dir_all(&folder).map_err(RigError::file("remove", &folder))
        }
        Err(RigError::NotRunning { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

fn status(target: &Target) -> Result<(), RigError> {
    let description = ask(&Layout::new(absolute(&target.folder)), Action::Status)?;
    print(&description, target.output);
    Ok(())
}

/// Asks for something about one server and says how that server is afterwards.
fn change(on: &ServerTarget, action: fn(String) -> Action) -> Result<(), RigError> {
    let description = ask(&Layout::new(absolute(&on.target.folder)), action(on.server.clone()))?;
    match on.target.output {
        Output::Json => print(&description, Output::Json),
        Output::Text => {
            for server in description.servers.iter().filter(|server| server.name == on.server) {
                say(&server_line(server));
            }
        }
    }
    Ok(())
}

fn print(description: &Description, output: Output) {
    if output == Output::Json {
        say(&serde_json::to_string_pretty(description).unwrap_or_default());
        return;
    }
    if let Some(milliseconds) = description.ready_after_milliseconds {
        let took = Duration::from_millis(milliseconds).as_secs_f64();
        let template = description.template.as_ref().map(|name| format!(", a copy of `{name}`")).unwrap_or_default();
        say(&format!("{}: ready after {took:.1} s{template}", description.folder.display()));
    }
    for server in &description.servers {
        say(&server_line(server));
    }
    say(&format!("  export KUBECONFIG={}", description.kubeconfig.display()));
}

fn server_line(server: &ServerStatus) -> String {
    let state = match &server.state {
        ProcessState::Stopped => "stopped".to_owned(),
        ProcessState::Running { pid } => format!("running, pid {pid}"),
        ProcessState::Paused { pid } => format!("paused, pid {pid}"),
        ProcessState::Ended { status } => format!("ended by itself ({status}); see {}", server.log.display()),
    };
    let port = server.port.map(|port| format!(", 127.0.0.1:{port}")).unwrap_or_default();
    let ready = match server.ready {
        Some(true) => ", ready",
        Some(false) => ", not ready",
        None => "",
    };
    format!("  {:<24} {state}{port}{ready}", server.name)
}

fn absolute(folder: &std::path::Path) -> PathBuf {
    std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned())
}

/// Gives false when whoever reads has stopped reading.
fn say(line: &str) -> bool {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).is_ok()
}
