//! What most commands begin with: the repository with its log, the cluster, the selection, the snapshot that is meant.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use snapback::cluster::{Cluster, ConnectOptions};
use snapback::config::Config;
use snapback::snapshot::{Scope, Selection};
use snapback::store::backend::{Backend, RepositoryPlace};
use snapback::store::{History, Repository, Snapshot, SnapshotTree, StoreError};
use tokio::sync::OnceCell;

use super::advice::{quoted, shell_word};
use super::arguments::{Everywhere, REPOSITORY_VARIABLE};
use super::error::{Failure, Prefix};
use super::exit::Exit;
use super::heads;
use super::interrupt::Interrupt;
use super::output::Output;
use super::scope;
use super::snapshot_name::{self, SnapshotName};
use super::state;

/// The repository's place when neither option, environment nor configuration names one.
const DEFAULT_REPOSITORY: &str = "snapshots";
/// The configuration that is read when none is named, if it is there.
const DEFAULT_CONFIG: &str = "snapback.yaml";

/// The surroundings of one command.
pub(crate) struct Session<'a> {
    pub(crate) everywhere: &'a Everywhere,
    pub(crate) config: Config,
    /// Where the repository is.
    pub(crate) place: RepositoryPlace,
    /// The storage behind it, once it was asked for.
    backend: OnceCell<Arc<dyn Backend>>,
    pub(crate) output: &'a Output,
    pub(crate) interrupt: &'a Interrupt,
}

/// An open repository with its log.
pub(crate) struct Opened {
    pub(crate) repository: Repository,
    pub(crate) history: History,
}

impl<'a> Session<'a> {
    /// Reads the configuration.
    pub(crate) fn new(
        everywhere: &'a Everywhere,
        output: &'a Output,
        interrupt: &'a Interrupt,
    ) -> Result<Self, Failure> {
        let config = match &everywhere.config {
            Some(path) => Config::load(path)?,
            None if Path::new(DEFAULT_CONFIG).exists() => Config::load(Path::new(DEFAULT_CONFIG))?,
            None => Config::default(),
        };
        let named = everywhere.repo.clone().or_else(|| config.repository.clone());
        let place = RepositoryPlace::parse(named.unwrap_or_else(|| PathBuf::from(DEFAULT_REPOSITORY)))
            .map_err(|error| Failure::of(Exit::Usage, &error).hint("a bucket is named as `s3://BUCKET/PREFIX`"))?;
        Ok(Self { everywhere, config, place, backend: OnceCell::new(), output, interrupt })
    }

    /// The options that name the place and the cluster, for a command that a hint tells to type from the same folder.
    pub(crate) fn place_options(&self) -> String {
        let everywhere = self.everywhere;
        let repo = everywhere.repo.as_ref().filter(|_| std::env::var_os(REPOSITORY_VARIABLE).is_none());
        let places =
            [("repo", repo), ("config", everywhere.config.as_ref()), ("kubeconfig", everywhere.kubeconfig.as_ref())];
        let mut line = String::new();
        for (option, place) in places {
            place.iter().for_each(|place| {
                line.push_str(&format!(" --{option} {}", shell_word(&place.to_string_lossy())));
            });
        }
        everywhere.context.iter().for_each(|context| line.push_str(&format!(" --context {}", shell_word(context))));
        line
    }

    /// The storage behind it.
    pub(crate) async fn backend(&self) -> Result<Arc<dyn Backend>, Failure> {
        self.backend.get_or_try_init(|| self.storage(&self.place)).await.cloned()
    }

    /// The storage behind any place. Buckets are all reached in the same way.
    pub(crate) async fn storage(&self, place: &RepositoryPlace) -> Result<Arc<dyn Backend>, Failure> {
        let mut options = self.config.s3_options()?;
        if let RepositoryPlace::Bucket(_) = place {
            options.spool = spool_folder()?;
        }
        Ok(place.open(&options).await?)
    }

    /// Opens the repository to read it; never makes one. Entries that this machine saw and that are gone are said: in an
    /// emergency, what is left must still be of use.
    pub(crate) async fn open(&self) -> Result<Opened, Failure> {
        let (opened, lost) = self.open_and_compare().await?;
        if let Some(lost) = lost {
            self.output.message(Prefix::Warning, &lost.to_string());
        }
        Ok(opened)
    }

    /// Opens the repository to add to it. Adding to a log that was cut would hide the loss.
    pub(crate) async fn open_to_add(&self) -> Result<Opened, Failure> {
        let (opened, lost) = self.open_and_compare().await?;
        let Some(lost) = lost else { return Ok(opened) };
        let memory = heads::file(opened.repository.id()).map(|file| file.display().to_string()).unwrap_or_default();
        Err(Failure::of(Exit::Damaged, &lost)
            .hint("run `snapback verify`, and look for a copy of the repository that has the entry")
            .hint(format!("if you know why it is gone: `rm {}` makes this machine forget it", shell_word(&memory))))
    }

    async fn open_and_compare(&self) -> Result<(Opened, Option<StoreError>), Failure> {
        let repository = Repository::open(self.backend().await?).await?;
        let history = repository.history().await?;
        for problem in history.problems() {
            self.output.message(Prefix::Warning, &problem.to_string());
        }
        let lost = heads::recall(repository.id()).and_then(|seen| history.check_remembered(&seen).err());
        if lost.is_none() {
            self.remember(&repository, &history);
        }
        Ok((Opened { repository, history }, lost))
    }

    /// Remembers the log's end for later. A machine that cannot is only less safe, not unable to work.
    pub(crate) fn remember(&self, repository: &Repository, history: &History) {
        let Some(head) = history.head() else { return };
        if let Err(error) = heads::remember(repository.id(), &head) {
            tracing::warn!(%error, "cannot remember the repository's newest log entry");
        }
    }

    /// Which cluster is meant.
    pub(crate) fn connect_options(&self) -> ConnectOptions {
        ConnectOptions {
            kubeconfig: self.everywhere.kubeconfig.clone().or_else(|| self.config.cluster.kubeconfig.clone()),
            context: self.everywhere.context.clone().or_else(|| self.config.cluster.context.clone()),
        }
    }

    /// Connects to the cluster.
    pub(crate) async fn connect(&self) -> Result<Cluster, Failure> {
        Ok(Cluster::connect(&self.connect_options()).await?)
    }

    /// What `--only` and `--exclude` mean for a command that reads.
    pub(crate) fn selection(&self) -> Result<Selection, Failure> {
        Ok(Selection::new(&self.everywhere.only, &self.everywhere.exclude, Scope::Everything)?)
    }

    /// The same, with kinds and short names looked up among the types of snapshots: one that any of them knows is a
    /// type, since the one that is gone from the cluster is what is looked for after an accident.
    pub(crate) async fn selection_in(&self, trees: &[&SnapshotTree]) -> Result<Selection, Failure> {
        scope::resolve(self.selection()?, trees).await
    }

    /// The stored snapshot that a name means; `live` is refused.
    pub(crate) async fn stored(&self, opened: &Opened, name: &SnapshotName) -> Result<Snapshot, Failure> {
        let snapshots = opened.history.snapshots();
        match name {
            SnapshotName::Live => Err(Failure::new(Exit::Usage, "`live` is the cluster itself, not a stored snapshot")
                .hint("name one that `snapback snapshots` lists")),
            SnapshotName::Stored(text) => Ok(snapshot_name::find(snapshots, text)?.clone()),
            SnapshotName::Latest(back) => {
                Ok(snapshot_name::latest(&self.of_this_cluster(snapshots).await?, *back)?.clone())
            }
        }
    }

    /// The snapshots of the current context's cluster, oldest first; there is at least one.
    pub(crate) async fn of_this_cluster<'s>(&self, snapshots: &'s [Snapshot]) -> Result<Vec<&'s Snapshot>, Failure> {
        if snapshots.is_empty() {
            return Err(Failure::new(Exit::Failed, "the repository has no snapshots yet").hint("run `snapback backup`"));
        }
        let cluster = self.current_cluster(snapshots).await?;
        let of_cluster: Vec<&Snapshot> = snapshots.iter().filter(|snapshot| snapshot.body.cluster == cluster).collect();
        if of_cluster.is_empty() {
            return Err(Failure::new(Exit::Failed, "the repository has no snapshot of this cluster")
                .hint("run `snapback snapshots` to see which clusters it has, or `snapback backup` to add this one"));
        }
        Ok(of_cluster)
    }

    /// Identity of the cluster that is meant; without a cluster that answers, the only one of the repository.
    async fn current_cluster(&self, snapshots: &[Snapshot]) -> Result<String, Failure> {
        let identity = async { Cluster::connect(&self.connect_options()).await?.identity().await };
        let error = match identity.await {
            Ok(identity) => return Ok(identity),
            Err(error) => error,
        };
        let mut known: Vec<(&str, &str)> =
            snapshots.iter().map(|snapshot| (snapshot.body.cluster.as_str(), snapshot.body.context.as_str())).collect();
        known.reverse();
        known.sort_by_key(|(cluster, _)| *cluster);
        known.dedup_by_key(|(cluster, _)| *cluster);
        if let [(cluster, context)] = known.as_slice() {
            self.output.message(
                Prefix::Note,
                &format!("no cluster answers; `latest` is that of `{context}`, the only cluster in the repository"),
            );
            return Ok((*cluster).to_owned());
        }
        let contexts: Vec<String> = known.iter().map(|(_, context)| (*context).to_owned()).collect();
        Err(Failure::new(Exit::Refused, "`latest` means of this cluster, and no cluster answers")
            .caused_by(&error)
            .hint(format!("the repository has snapshots of {}; name one by its number", quoted(&contexts))))
    }
}

/// Where packs of a bucket lie until they are finished: only this user may look there. `None` without a home folder.
fn spool_folder() -> Result<Option<PathBuf>, Failure> {
    let Some(folder) = state::place("spool", "s3") else { return Ok(None) };
    DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(|error| {
        Failure::new(Exit::Failed, format!("cannot make the folder `{}` for unfinished packs", folder.display()))
            .caused_by(&error)
            .hint("XDG_STATE_HOME names another place for it")
    })?;
    Ok(Some(folder))
}
