//! The argument tree. Help texts are imperative, without a full stop.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum, ValueHint};
use snapback::restore::RollbackScope;

use super::exit;
use super::output::Format;

/// Where the repository is, for all commands of a shell.
pub(crate) const REPOSITORY_VARIABLE: &str = "SNAPBACK_REPOSITORY";

/// Take exact snapshots of a CozyStack management cluster, keep them where they can be checked, put one back
#[derive(Debug, Parser)]
#[command(name = "snapback", version, about, arg_required_else_help = true, max_term_width = 100, after_help = exit::TABLE)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) everywhere: Everywhere,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that most commands take.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Common options")]
pub(crate) struct Everywhere {
    /// Use the repository in this folder, or at s3://BUCKET/PREFIX [default: the configuration's, else ./snapshots]
    #[arg(long, global = true, value_name = "PATH", env = REPOSITORY_VARIABLE, value_hint = ValueHint::DirPath)]
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
    /// Take only what matches: a glob on snapshot paths, or TYPE[.GROUP][/NAMESPACE[/NAME]], where TYPE is a plural, a
    /// kind or a short name, such as hr or cm; may be repeated
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
    /// Make a repository in a new or empty folder
    Init,
    /// Take a snapshot of the cluster and every configured source
    Backup(BackupArguments),
    /// Put snapshots into another repository, a bucket, say
    Copy(CopyArguments),
    /// List the snapshots of the repository
    Snapshots,
    /// Show what a snapshot is, or one object of it
    Show(ShowArguments),
    /// List what lies in a snapshot
    Ls(LsArguments),
    /// Show what changed between two snapshots, or since one
    Diff(DiffArguments),
    /// Show what became of an object from snapshot to snapshot
    History(HistoryArguments),
    /// Check that the repository is whole
    Verify(VerifyArguments),
    /// Put the cluster back as it was in a snapshot
    Restore(RestoreArguments),
    /// Put the platform back as it was before an upgrade, even while it fights back
    Rollback(RollbackArguments),
    /// Go back to what was there before the last rollback, restore or undo
    Undo(UndoArguments),
    /// Write a snapshot's objects as YAML that kubectl applies
    Export(ExportArguments),
    /// Bring back the whole of Kubernetes out of a snapshot's etcd file, when nothing less helps
    #[command(subcommand)]
    Etcd(EtcdCommand),
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
            Self::Init => "init",
            Self::Backup(_) => "backup",
            Self::Copy(_) => "copy",
            Self::Snapshots => "snapshots",
            Self::Show(_) => "show",
            Self::Ls(_) => "ls",
            Self::Diff(_) => "diff",
            Self::History(_) => "history",
            Self::Verify(_) => "verify",
            Self::Restore(_) => "restore",
            Self::Rollback(_) => "rollback",
            Self::Undo(_) => "undo",
            Self::Export(_) => "export",
            Self::Etcd(EtcdCommand::Prepare(_)) => "etcd prepare",
            Self::Etcd(EtcdCommand::Restore(_)) => "etcd restore",
            Self::Version => "version",
            Self::Completions(_) => "completions",
            Self::Man(_) => "man",
        }
    }
}

macro_rules! names {
    () => {
        "\
A snapshot is named by its number (42 or #42), the beginning of its id, its label, `latest` (the newest of this cluster; \
what a restore took by itself, `before-restore`, does not count) or `latest~2` (the second before it). `live` is the \
cluster as it is now."
    };
}

/// The list in the help of every command that takes a snapshot's name.
const NAMES: &str = names!();

macro_rules! interrupted {
    ($command:literal) => {
        concat!(
            "One that was interrupted, in whatever way, goes on when `",
            $command,
            "` is typed again; it does not ask once more, since it was agreed to. Until then `backup` and whatever else \
             would change the cluster are refused. `",
            $command,
            " --give-up` ends it instead: whatever was stopped runs again, the rest stays as it is by then, and `snapback undo` \
             goes back."
        )
    };
}

/// What else the help of `restore` says.
const RESTORE_NOTES: &str = concat!(
    "A snapshot of what is there now is taken first, and every step is in a journal. ",
    interrupted!("snapback restore"),
    "\n\n",
    names!()
);

#[derive(Debug, Args)]
#[command(after_long_help = NAMES)]
pub(crate) struct CopyArguments {
    /// What to copy [default: every snapshot that the other repository lacks]
    #[arg(value_name = "SNAPSHOT")]
    pub(crate) snapshots: Vec<String>,
    /// The other repository, a folder or s3://BUCKET/PREFIX, made with `snapback init` before
    #[arg(long, value_name = "PATH", value_hint = ValueHint::DirPath)]
    pub(crate) to: PathBuf,
    /// Say what would be copied, and copy nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BackupArguments {
    /// Name the snapshot, so that it can be found again
    #[arg(long, value_name = "NAME")]
    pub(crate) label: Option<String>,
    /// Put the snapshot into this repository too, a folder or s3://BUCKET/PREFIX
    #[arg(long, value_name = "PATH", value_hint = ValueHint::DirPath)]
    pub(crate) also: Vec<PathBuf>,
    /// Take Events and Leases too
    #[arg(long)]
    pub(crate) events: bool,
    /// Take everything, or exactly what the upgrade plan's backup step lists
    #[arg(long, value_enum, default_value_t)]
    pub(crate) scope: ScopeName,
    /// Take this etcd snapshot file, whatever the configuration says of etcd
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) etcd_snapshot: Option<PathBuf>,
}

/// A preset of what is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ScopeName {
    /// All there is
    #[default]
    Everything,
    /// The list in the upgrade plan's backup step
    Plan,
}

#[derive(Debug, Args)]
#[command(after_help = NAMES)]
pub(crate) struct ShowArguments {
    /// The snapshot, or an object of it: a path as `ls` prints it, or TYPE[.GROUP]/NAMESPACE/NAME
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    pub(crate) snapshot: String,
    /// Show what is secret
    #[arg(long)]
    pub(crate) reveal: bool,
}

#[derive(Debug, Args)]
#[command(after_help = NAMES)]
pub(crate) struct LsArguments {
    /// The snapshot, or a folder of it: a path, or TYPE[.GROUP][/NAMESPACE]
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    pub(crate) snapshot: String,
    /// List everything below, not only the folder itself
    #[arg(long, short = 'R')]
    pub(crate) recursive: bool,
}

#[derive(Debug, Args)]
#[command(after_help = NAMES)]
pub(crate) struct DiffArguments {
    /// The snapshot before
    #[arg(value_name = "A")]
    pub(crate) first: String,
    /// The snapshot after [default: live]
    #[arg(value_name = "B")]
    pub(crate) second: Option<String>,
    /// Show noise too: uid, creationTimestamp, resourceVersion, generation, managedFields, status; and what a restore never touches
    #[arg(long)]
    pub(crate) all_fields: bool,
    /// Show what is secret
    #[arg(long)]
    pub(crate) reveal: bool,
    /// Exit with 1 when there are differences (noise, and what a restore never touches, count with --all-fields)
    #[arg(long)]
    pub(crate) exit_code: bool,
}

#[derive(Debug, Args)]
pub(crate) struct HistoryArguments {
    /// A path as `ls` prints it, or TYPE[.GROUP]/NAMESPACE/NAME
    #[arg(value_name = "PATH")]
    pub(crate) path: String,
    /// Show noise too: uid, creationTimestamp, resourceVersion, generation, managedFields, status
    #[arg(long)]
    pub(crate) all_fields: bool,
    /// Show what is secret
    #[arg(long)]
    pub(crate) reveal: bool,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// How deep to look
    #[arg(long, value_enum, default_value_t)]
    pub(crate) level: LevelName,
}

/// How deep `verify` looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LevelName {
    /// The log, and that every file is there with its size
    Names,
    /// That, and the SHA-256 of every file
    Bytes,
    /// That, and every object, tree and reference, and the etcd file's own hash
    #[default]
    Objects,
}

#[derive(Debug, Args)]
#[command(after_help = RESTORE_NOTES)]
pub(crate) struct RestoreArguments {
    /// The snapshot [default: that of a restore that was interrupted]
    pub(crate) snapshot: Option<String>,
    /// Print what a restore never touches, with the reasons
    #[arg(long, conflicts_with_all = [
        "snapshot", "force", "from_another_cluster", "dry_run", "yes", "no_wait", "lose_fields", "delete_added_types",
        "allow_helm_upgrade", "give_up",
    ])]
    pub(crate) never_list: bool,
    /// Touch what a rule of the never-list covers all the same; may be repeated
    #[arg(long, value_name = "RULE")]
    pub(crate) force: Vec<String>,
    /// Restore a snapshot that was taken of another cluster
    #[arg(long)]
    pub(crate) from_another_cluster: bool,
    #[command(flatten)]
    pub(crate) consent: ConsentArguments,
}

/// What else the help of `rollback` says.
const ROLLBACK_NOTES: &str = concat!(
    "\
The snapshot is verified first. Then whatever would undo the rollback is stopped from the top down (CozyStack's installer \
or operator, Flux, Cluster API), the cluster is brought to the snapshot, and what was stopped runs again as it was. Every \
step is in a journal. ",
    interrupted!("snapback rollback")
);

#[derive(Debug, Args)]
#[command(after_help = ROLLBACK_NOTES)]
pub(crate) struct RollbackArguments {
    /// The snapshot [default: the newest complete one of this cluster with the label pre-upgrade]
    pub(crate) snapshot: Option<String>,
    /// What goes back: platform, namespace=NAME or everything; the rest stays as it is now
    #[arg(long, default_value = "platform", value_name = "SCOPE")]
    pub(crate) scope: RollbackScope,
    /// Touch what a rule of the never-list covers all the same; may be repeated
    #[arg(long, value_name = "RULE")]
    pub(crate) force: Vec<String>,
    /// Write the plan into this new file, to be reviewed (docs/plan-format.md); change nothing
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "plan")]
    pub(crate) plan_out: Option<PathBuf>,
    /// Do what the plan in this file says, and refuse when that has become something else
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["snapshot", "scope", "force", "lose_fields", "delete_added_types"])]
    pub(crate) plan: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) consent: ConsentArguments,
}

/// What else the help of `undo` says.
const UNDO_NOTES: &str = concat!(
    "\
It goes back to the snapshot that the last rollback, restore or undo took before it changed anything, in the same scope, so \
that a second undo is a redo. While a rollback or a restore is unfinished it refuses: `snapback rollback` (or `restore`) \
finishes that one first, or gives it up with --give-up. ",
    interrupted!("snapback undo")
);

#[derive(Debug, Args)]
#[command(after_help = UNDO_NOTES)]
pub(crate) struct UndoArguments {
    #[command(flatten)]
    pub(crate) consent: ConsentArguments,
}

/// How a transaction is agreed to, and proven.
#[derive(Debug, Args)]
pub(crate) struct ConsentArguments {
    /// Print the plan; write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask (needed without a terminal)
    #[arg(long)]
    pub(crate) yes: bool,
    /// Do not watch for 90 seconds what garbage collection does to objects whose owners were made anew
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Let objects outside the scope lose the fields that their type's older version does not know
    #[arg(long)]
    pub(crate) lose_fields: bool,
    /// Delete types that were added since, though objects outside the scope go with them
    #[arg(long)]
    pub(crate) delete_added_types: bool,
    /// Go on even though helm-controller would then install, upgrade or roll back releases by itself
    #[arg(long)]
    pub(crate) allow_helm_upgrade: bool,
    /// Do not finish what was interrupted: what was held still runs again, the rest stays as it is now
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) give_up: bool,
}

#[derive(Debug, Args)]
#[command(after_help = NAMES)]
pub(crate) struct ExportArguments {
    /// The snapshot
    pub(crate) snapshot: String,
    /// A new or empty folder, a file that ends in .tar, or - for a tar on standard output
    #[arg(value_name = "DESTINATION", value_hint = ValueHint::AnyPath)]
    pub(crate) destination: PathBuf,
    /// Write every object as it was, with uid, resourceVersion, managedFields and status
    #[arg(long)]
    pub(crate) raw: bool,
    /// Write Secrets too, in files that only you can read
    #[arg(long)]
    pub(crate) reveal: bool,
}

/// What to do with an etcd file.
#[derive(Debug, Subcommand)]
pub(crate) enum EtcdCommand {
    /// Write a recovery kit: the verified etcd file, one moved ahead in revisions, and a runbook
    Prepare(EtcdPrepareArguments),
    /// Make a data folder for etcd, moved ahead in revisions; for an etcd that neither Talos nor kubeadm runs
    Restore(EtcdRestoreArguments),
}

#[derive(Debug, Args)]
#[command(after_help = NAMES)]
pub(crate) struct EtcdPrepareArguments {
    /// The snapshot
    pub(crate) snapshot: String,
    /// A new or empty folder [default: recovery-kit-NUMBER]
    #[arg(value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub(crate) folder: Option<PathBuf>,
    /// Run this etcdutl, 3.6 or later
    #[arg(long, value_name = "FILE", default_value = "etcdutl", value_hint = ValueHint::ExecutablePath)]
    pub(crate) etcdutl: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = NAMES)]
pub(crate) struct EtcdRestoreArguments {
    /// The snapshot
    pub(crate) snapshot: String,
    /// The data folder to make, new or empty
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub(crate) data_dir: PathBuf,
    /// The member's name, as etcd is started with
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(crate) name: String,
    /// Where the other members reach it, as etcd is started with
    #[arg(long, value_name = "URLS", default_value = "http://localhost:2380")]
    pub(crate) initial_advertise_peer_urls: String,
    /// All members, as NAME=URL,...; the same for each of them [default: this one alone]
    #[arg(long, value_name = "MEMBERS")]
    pub(crate) initial_cluster: Option<String>,
    /// What the members know each other by
    #[arg(long, value_name = "TOKEN", default_value = "etcd-cluster")]
    pub(crate) initial_cluster_token: String,
    /// Run this etcdutl, 3.6 or later
    #[arg(long, value_name = "FILE", default_value = "etcdutl", value_hint = ValueHint::ExecutablePath)]
    pub(crate) etcdutl: PathBuf,
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
