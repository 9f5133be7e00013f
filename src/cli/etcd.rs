//! `snapback etcd prepare` and `snapback etcd restore`: the whole of Kubernetes back, out of a snapshot's etcd file.

use std::path::PathBuf;

use serde_json::json;
use snapback::cluster::ListReader;
use snapback::recovery::{
    AHEAD_NAME, Etcdutl, LiveRevision, Member, ORIGINAL_NAME, RUNBOOK_NAME, RecoveryError, prepare, restore,
};
use snapback::source::etcd::ETCD_SNAPSHOT_PATH;
use snapback::store::{Snapshot, SnapshotTree};

use super::advice::shell_word;
use super::arguments::{EtcdCommand, EtcdPrepareArguments, EtcdRestoreArguments};
use super::error::{Failure, Prefix};
use super::exit::Exit;
use super::progress::Shown;
use super::session::{Opened, Session};
use super::snapshot_name::SnapshotName;
use super::snapshots;
use super::table;

/// Does one of them.
pub(crate) async fn run(session: &Session<'_>, command: &EtcdCommand) -> Result<Exit, Failure> {
    match command {
        EtcdCommand::Prepare(arguments) => run_prepare(session, arguments).await,
        EtcdCommand::Restore(arguments) => run_restore(session, arguments).await,
    }
}

async fn run_prepare(session: &Session<'_>, arguments: &EtcdPrepareArguments) -> Result<Exit, Failure> {
    let (snapshot, tree) = with_etcd_file(session, &arguments.snapshot).await?;
    let default = || PathBuf::from(format!("recovery-kit-{}", snapshot.number));
    let folder = arguments.folder.clone().unwrap_or_else(default);
    let live = live_revision(session, &snapshot).await;
    let shown = Shown::new(session.output);
    let etcdutl = Etcdutl::new(arguments.etcdutl.clone());
    let made = prepare(&tree, &snapshot, &live, &etcdutl, &folder, &shown).await;
    drop(shown);
    let kit = made.map_err(|error| match error {
        RecoveryError::Taken { .. } => Failure::from(error).hint("name a new or empty folder behind the snapshot"),
        error => error.into(),
    })?;
    let (live, lost) = match live {
        LiveRevision::Newest(live) => (Some(live), live.checked_sub(kit.revision)),
        LiveRevision::AnotherCluster | LiveRevision::Silent => (None, None),
    };
    let output = session.output;
    if !kit.hashed {
        output.message(Prefix::Warning, "the etcd file has no hash of etcd's own: nothing shows that it was whole");
    }
    output.message(Prefix::Warning, "the kit holds every Secret in clear, in files that only you can read");
    if output.is_json() {
        output.json(
            "etcd prepare",
            json!({
                "snapshot": snapshots::document(&snapshot),
                "folder": folder.display().to_string(),
                "files": {"original": ORIGINAL_NAME, "ahead": AHEAD_NAME, "runbook": RUNBOOK_NAME},
                "installation": kit.installation,
                "revision": kit.revision,
                "revisionAhead": kit.revision_ahead,
                "hashed": kit.hashed,
                "liveRevision": live,
                "writesLost": lost,
            }),
        );
        return Ok(Exit::Done);
    }
    output.line(&format!("made a recovery kit for {} in {}", kit.installation, folder.display()));
    output.line(&match lost {
        Some(lost) => {
            format!("  it would lose {} since {}", table::count(lost, "write"), snapshots::when(snapshot.body.time))
        }
        None => format!("  it would lose every write since {}", snapshots::when(snapshot.body.time)),
    });
    output.progress_line(&format!("next: read {}", folder.join(RUNBOOK_NAME).display()));
    Ok(Exit::Done)
}

async fn run_restore(session: &Session<'_>, arguments: &EtcdRestoreArguments) -> Result<Exit, Failure> {
    let (snapshot, tree) = with_etcd_file(session, &arguments.snapshot).await?;
    let data = &arguments.data_dir;
    let member = Member {
        name: arguments.name.clone(),
        peer_urls: arguments.initial_advertise_peer_urls.clone(),
        cluster: arguments.initial_cluster.clone(),
        token: arguments.initial_cluster_token.clone(),
    };
    let shown = Shown::new(session.output);
    let made = restore(&tree, &Etcdutl::new(arguments.etcdutl.clone()), &member, data, &shown).await;
    drop(shown);
    let folder = shell_word(&data.display().to_string());
    let revision = made.map_err(|error| match error {
        RecoveryError::Taken { .. } => Failure::from(error).hint(format!(
            "stop every API server, then etcd, and put it aside: `mv {folder} {}`; then run this again",
            shell_word(&format!("{}.before", data.display().to_string().trim_end_matches('/')))
        )),
        error => error.into(),
    })?;
    let output = session.output;
    if output.is_json() {
        let snapshot = snapshots::document(&snapshot);
        let data = data.display().to_string();
        output.json("etcd restore", json!({"snapshot": snapshot, "dataDir": data, "revision": revision}));
        return Ok(Exit::Done);
    }
    let (number, taken) = (snapshot.number, snapshots::when(snapshot.body.time));
    output.line(&format!("made {} of snapshot #{number}, taken {taken}", data.display()));
    output.progress_line("next, with every API server stopped:");
    output.progress_line(&format!("  give it to the user that etcd runs as: chown -R etcd: {folder}"));
    output.progress_line("  make the other members' folders in the same way, start etcd, then the API servers");
    Ok(Exit::Done)
}

/// The snapshot that is meant, which must hold an etcd file.
async fn with_etcd_file(session: &Session<'_>, name: &str) -> Result<(Snapshot, SnapshotTree), Failure> {
    let name = SnapshotName::parse(name)?;
    let opened = session.open().await?;
    let snapshot = session.stored(&opened, &name).await?;
    let tree = opened.repository.tree(&snapshot).await?;
    if tree.entry(ETCD_SNAPSHOT_PATH).await?.is_some() {
        return Ok((snapshot, tree));
    }
    let failure = Failure::new(Exit::Refused, format!("snapshot #{} holds no etcd file", snapshot.number));
    Err(match newest_with_etcd_file(&opened, &snapshot).await? {
        Some(number) => failure.hint(format!("the newest of this cluster that does is #{number}")),
        None => failure.hint(
            "no snapshot of this cluster does: configure `etcd` (docs/configuration.md) and run `snapback backup`",
        ),
    })
}

async fn newest_with_etcd_file(opened: &Opened, like: &Snapshot) -> Result<Option<u64>, Failure> {
    for snapshot in opened.history.snapshots().iter().rev().filter(|other| other.body.cluster == like.body.cluster) {
        if opened.repository.tree(snapshot).await?.entry(ETCD_SNAPSHOT_PATH).await?.is_some() {
            return Ok(Some(snapshot.number));
        }
    }
    Ok(None)
}

/// How far the cluster is now. It need not answer: that may be why this is done.
async fn live_revision(session: &Session<'_>, snapshot: &Snapshot) -> LiveRevision {
    let Ok(cluster) = session.connect().await else { return LiveRevision::Silent };
    match cluster.identity().await {
        Ok(identity) if identity == snapshot.body.cluster => {}
        Ok(_) => return LiveRevision::AnotherCluster,
        Err(_) => return LiveRevision::Silent,
    }
    // The smallest list that every account of a backup may read; its revision is that of all of etcd.
    let mut list = ListReader::latest(&cluster, "/api/v1/namespaces".to_owned()).with_limit(1);
    let _ = list.next().await;
    list.revision().map_or(LiveRevision::Silent, LiveRevision::Newest)
}

impl From<RecoveryError> for Failure {
    fn from(error: RecoveryError) -> Self {
        match error {
            RecoveryError::Store(error) => error.into(),
            RecoveryError::Taken { .. } | RecoveryError::NoEtcdFile => Self::of(Exit::Refused, &error),
            RecoveryError::Damaged(_) => Self::of(Exit::Damaged, &error)
                .hint("run `snapback verify --level objects` to see everything that is damaged and what it costs"),
            RecoveryError::NoEtcdutl { .. } => Self::of(Exit::Failed, &error).hint(
                "etcdutl comes with etcd's releases: put the one of your etcd's version into PATH, or name it with --etcdutl FILE",
            ),
            RecoveryError::Etcdutl { ref said, .. } if said.contains("unknown flag") => Self::of(Exit::Failed, &error)
                .hint("this etcdutl cannot move revisions ahead: name a newer one (3.6 or later) with --etcdutl FILE"),
            error => Self::of(Exit::Failed, &error),
        }
    }
}
