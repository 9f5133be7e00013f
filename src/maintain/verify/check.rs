//! The order of a verification: the small files and the log, then the packs, then what the damage costs.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};

use super::file_hash::hash_file;
use super::journals::check_journals;
use super::loss::{big_file_fault, describe_losses};
use super::pack_scan::{PackScan, scan_bytes, scan_members};
use super::references::References;
use super::report::{Checked, Damage, VerifyLevel, VerifyOptions, VerifyReport};
use crate::journal::mirror_number;
use crate::progress::{Progress, ProgressEvent};
use crate::store::backend::{Backend, StoredFile};
use crate::store::{ContentHash, Head, History, PackRef, Repository, Snapshot, StoreError, is_pack_name, log_number};

/// Verifies a repository; writes nothing.
///
/// # Errors
/// There is no repository, or one of a later format, or the store does not answer. Damage is never an error.
pub async fn verify(
    backend: Arc<dyn Backend>,
    options: &VerifyOptions,
    progress: &dyn Progress,
) -> Result<VerifyReport, StoreError> {
    let mut verification = Verification::begin(backend, options.level, None).await?;
    verification.check_small_files().await?;
    verification.check_log(options.remembered.as_ref());
    verification.check_names();
    verification.check_journals().await?;
    verification.check_packs(progress).await?;
    Ok(verification.finish())
}

/// Verifies all that one snapshot needs, to the last object, and leaves the rest of the repository alone: what a rollback
/// does before it relies on it.
///
/// # Errors
/// As [`verify`].
pub async fn verify_snapshot(
    backend: Arc<dyn Backend>,
    number: u64,
    progress: &dyn Progress,
) -> Result<VerifyReport, StoreError> {
    let mut verification = Verification::begin(backend, VerifyLevel::Objects, Some(number)).await?;
    verification.check_names();
    verification.check_packs(progress).await?;
    Ok(verification.finish())
}

struct Verification {
    /// Only what this snapshot needs.
    only: Option<u64>,
    backend: Arc<dyn Backend>,
    level: VerifyLevel,
    files: BTreeMap<String, StoredFile>,
    history: History,
    /// Packs that live snapshots name, with the numbers of these snapshots.
    needed: BTreeMap<String, (PackRef, Vec<u64>)>,
    checked: Checked,
    damage: BTreeMap<String, Damage>,
    notes: Vec<String>,
}

fn is_meant(only: Option<u64>, snapshot: &Snapshot) -> bool {
    only.is_none_or(|number| snapshot.number == number)
}

/// How a pack is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Depth {
    /// Its hash.
    Whole,
    /// Its hash and that of every member.
    Members,
    /// Its members, for what its damage, reported already, costs.
    Losses,
}

impl Verification {
    async fn begin(backend: Arc<dyn Backend>, level: VerifyLevel, only: Option<u64>) -> Result<Self, StoreError> {
        let mut damage = BTreeMap::new();
        match Repository::open(Arc::clone(&backend)).await {
            Ok(_) => {}
            Err(StoreError::Damaged { file, what }) => {
                drop(damage.insert(file.clone(), Damage::new(file, what, Vec::new())));
            }
            Err(StoreError::NotARepository { .. }) if !backend.list("log/").await?.is_empty() => {
                damage.insert("repo.json".to_owned(), Damage::new("repo.json", "it is missing", Vec::new()));
            }
            Err(error) => return Err(error),
        }
        let listed = backend.list("").await?;
        let history = Repository::read_history(&*backend).await?;
        let mut needed: BTreeMap<String, (PackRef, Vec<u64>)> = BTreeMap::new();
        for snapshot in history.snapshots().iter().filter(|snapshot| is_meant(only, snapshot)) {
            for pack in &snapshot.packs {
                needed.entry(pack.name.clone()).or_insert_with(|| (pack.clone(), Vec::new())).1.push(snapshot.number);
            }
        }
        let files = listed.into_iter().map(|file| (file.name.clone(), file)).collect();
        let meant = history.snapshots().iter().filter(|snapshot| is_meant(only, snapshot)).count();
        let checked = Checked { snapshots: meant as u64, ..Checked::default() };
        Ok(Self { only, backend, level, files, history, needed, checked, damage, notes: Vec::new() })
    }

    fn report(&mut self, file: &str, what: impl Into<String>, snapshots: Vec<u64>) {
        let what = what.into();
        match self.damage.get_mut(file) {
            Some(damage) if damage.what.contains(&what) => {}
            Some(damage) => damage.what = format!("{}; {what}", damage.what),
            None => drop(self.damage.insert(file.to_owned(), Damage::new(file, what, snapshots))),
        }
    }

    /// The files that `init` wrote, against log entry 0.
    async fn check_small_files(&mut self) -> Result<(), StoreError> {
        for (name, wanted) in self.history.init_files().clone() {
            match hash_file(&*self.backend, &name, |_| {}).await? {
                None => self.report(&name, "it is missing", Vec::new()),
                Some((found, size)) => {
                    self.checked.files += 1;
                    self.checked.bytes += size;
                    if found != wanted {
                        self.report(
                            &name,
                            format!("its SHA-256 is {found}, and log entry 0 says {wanted}"),
                            Vec::new(),
                        );
                    }
                }
            }
        }
        Ok(())
    }

    fn check_log(&mut self, remembered: Option<&Head>) {
        let mut found = Vec::new();
        for problem in self.history.problems() {
            match problem {
                StoreError::Damaged { file, what } => {
                    let lost = log_number(file).filter(|number| *number > 0 && !self.history.is_known(*number));
                    found.push((file.clone(), what.clone(), lost.into_iter().collect()));
                }
                other => self.notes.push(other.to_string()),
            }
        }
        match remembered.map(|head| (head, self.history.check_remembered(head))) {
            None => self.notes.push("this machine remembers no head of this log, so it cannot tell whether the newest entries were taken away".to_owned()),
            Some((_, Ok(()))) => {}
            Some((head, Err(lost))) => found.push((crate::store::log_name(head.number), lost.to_string(), vec![head.number])),
        }
        for (file, what, snapshots) in found {
            self.report(&file, what, snapshots);
        }
        let entries = self.files.values().filter(|file| log_number(&file.name).is_some());
        let (count, bytes) = entries.fold((0, 0), |(count, bytes), file| (count + 1, bytes + file.size));
        self.checked.files += count;
        self.checked.bytes += bytes;
    }

    /// Names and sizes of packs, and what does not belong.
    fn check_names(&mut self) {
        let mut found = Vec::new();
        for (name, (pack, snapshots)) in &self.needed {
            match self.files.get(name) {
                None => found.push((name.clone(), "it is missing".to_owned(), snapshots.clone())),
                Some(file) if file.size != pack.size => {
                    let what = format!("it has {} bytes, and the log says {}", file.size, pack.size);
                    found.push((name.clone(), what, snapshots.clone()));
                }
                Some(_) => {}
            }
        }
        let ever_named: HashSet<String> = self.history.ever_named().into_iter().map(str::to_owned).collect();
        let (mut orphans, mut released) = ((0, 0), (0, 0));
        for file in self.files.values() {
            let small = self.history.init_files().contains_key(&file.name)
                || matches!(file.name.as_str(), "repo.json" | "README.txt" | "restore.sh");
            if small
                || log_number(&file.name).is_some()
                || mirror_number(&file.name).is_some()
                || self.needed.contains_key(&file.name)
                || Repository::is_harmless(&file.name)
            {
                continue;
            }
            if is_pack_name(&file.name) {
                let sum = if ever_named.contains(&file.name) { &mut released } else { &mut orphans };
                *sum = (sum.0 + 1, sum.1 + file.size);
            } else {
                self.notes.push(format!("`{}` does not belong to the repository", file.name));
            }
        }
        for ((count, bytes), why) in [(orphans, "no log entry names"), (released, "only forgotten snapshots need")] {
            if count > 0 {
                self.notes.push(format!("{count} packs ({bytes} bytes) that {why}"));
            }
        }
        for (file, what, snapshots) in found {
            self.report(&file, what, snapshots);
        }
        self.checked.files += self.needed.keys().filter(|name| self.files.contains_key(*name)).count() as u64;
    }

    async fn check_journals(&mut self) -> Result<(), StoreError> {
        let found = check_journals(&*self.backend, self.files.keys().map(String::as_str)).await?;
        self.checked.files += found.files;
        self.checked.bytes += found.bytes;
        self.notes.extend(found.notes);
        for (file, what) in found.damage {
            self.report(&file, what, Vec::new());
        }
        Ok(())
    }

    async fn check_packs(&mut self, progress: &dyn Progress) -> Result<(), StoreError> {
        let mut references = References::default();
        let needed: Vec<PackRef> = self.needed.values().map(|(pack, _)| pack.clone()).collect();
        let unneeded = self.unneeded_packs().filter(|_| self.only.is_none());
        let all = needed.iter().cloned().chain(unneeded).collect();
        match self.level {
            VerifyLevel::Names => {}
            VerifyLevel::Bytes => self.scan(all, Depth::Whole, "hashing packs", None, progress).await?,
            VerifyLevel::Objects => {
                self.scan(all, Depth::Members, "checking packs", Some(&mut references), progress).await?;
            }
        }
        let broken: HashSet<&str> =
            self.damage.keys().filter(|name| self.needed.contains_key(*name)).map(String::as_str).collect();
        let affected: Vec<Snapshot> = self
            .history
            .snapshots()
            .iter()
            .filter(|snapshot| is_meant(self.only, snapshot))
            .filter(|snapshot| {
                self.level == VerifyLevel::Objects
                    || snapshot.packs.iter().any(|pack| broken.contains(pack.name.as_str()))
            })
            .cloned()
            .collect();
        if self.level < VerifyLevel::Objects {
            // What the damage costs can only be told from the trees.
            let names: BTreeSet<&String> =
                affected.iter().flat_map(|snapshot| &snapshot.packs).map(|pack| &pack.name).collect();
            let packs = needed.iter().filter(|pack| names.contains(&pack.name)).cloned().collect();
            let stage = "finding out what the damage costs";
            self.scan(packs, Depth::Losses, stage, Some(&mut references), progress).await?;
        }
        describe_losses(&mut references, &affected, &mut self.damage);
        if self.level == VerifyLevel::Objects {
            self.check_big_files(&references, &affected, progress).await?;
        }
        Ok(())
    }

    /// Packs that are there although no live snapshot needs them.
    fn unneeded_packs(&self) -> impl Iterator<Item = PackRef> {
        let unneeded =
            self.files.values().filter(|file| is_pack_name(&file.name) && !self.needed.contains_key(&file.name));
        unneeded.map(PackRef::of_listed)
    }

    fn report_faults(&mut self, pack: &PackRef, scan: &PackScan) {
        if !scan.faults.is_empty() {
            let snapshots = self.needed.get(&pack.name).map(|(_, snapshots)| snapshots.clone()).unwrap_or_default();
            self.report(&pack.name, scan.faults.join("; "), snapshots);
        }
    }

    /// Scans packs once, one on each core; nothing is kept of a scan but what `references` takes of needed packs.
    async fn scan(
        &mut self,
        packs: Vec<PackRef>,
        depth: Depth,
        stage: &str,
        mut references: Option<&mut References>,
        progress: &dyn Progress,
    ) -> Result<(), StoreError> {
        if packs.is_empty() {
            return Ok(());
        }
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        progress.report(ProgressEvent::Stage(stage.to_owned()));
        progress.report(ProgressEvent::Expect(packs.iter().map(|pack| pack.size).sum()));
        let backend = Arc::clone(&self.backend);
        let mut scans = futures::stream::iter(packs)
            .map(|pack| {
                let backend = &backend;
                async move {
                    let seen = |bytes| progress.report(ProgressEvent::Done(bytes));
                    let scan = match depth {
                        Depth::Whole => scan_bytes(&**backend, &pack, seen).await?,
                        Depth::Members | Depth::Losses => scan_members(backend, &pack, seen).await?,
                    };
                    Ok::<_, StoreError>((pack, scan))
                }
            })
            .buffer_unordered(cores);
        while let Some((pack, scan)) = scans.try_next().await? {
            self.checked.bytes += pack.size;
            if depth != Depth::Losses {
                self.report_faults(&pack, &scan);
            }
            let needed = self.needed.contains_key(&pack.name);
            if let Some(references) = references.as_deref_mut().filter(|_| needed) {
                if depth == Depth::Members {
                    self.checked.members += scan.whole.len() as u64;
                }
                references.add(&pack, scan);
            }
        }
        Ok(())
    }

    /// Files of several segments are put together once each; an etcd file's own hash is checked with it.
    async fn check_big_files(
        &mut self,
        references: &References,
        snapshots: &[Snapshot],
        progress: &dyn Progress,
    ) -> Result<(), StoreError> {
        let repository = Repository::over(Arc::clone(&self.backend));
        let mut seen: HashSet<ContentHash> = HashSet::new();
        for snapshot in snapshots {
            let mut tree = None;
            for (path, entry) in references.big_files(snapshot) {
                if !seen.insert(entry.hash)
                    || self.damage.values().any(|damage| damage.snapshots.contains(&snapshot.number))
                {
                    continue;
                }
                if self.checked.big_files == 0 {
                    progress.report(ProgressEvent::Stage("checking big files".to_owned()));
                }
                let tree = match &mut tree {
                    Some(tree) => tree,
                    empty => empty.insert(repository.tree(snapshot).await?),
                };
                self.checked.big_files += 1;
                if let Some(what) = big_file_fault(tree, &path, &entry).await? {
                    let mut damage = Damage::new(&path, what, vec![snapshot.number]);
                    damage.objects.push(path.clone());
                    damage.object_count = 1;
                    self.damage.insert(path, damage);
                }
            }
        }
        Ok(())
    }

    fn finish(self) -> VerifyReport {
        let Self { level, checked, history, damage, notes, .. } = self;
        VerifyReport { level, checked, head: history.head(), damage: damage.into_values().collect(), notes }
    }
}
