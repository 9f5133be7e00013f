//! `snapback copy --to PLACE`: snapshots of this repository in another one, and what `backup --also` does.
//!
//! In: two repositories. Out: what was copied, what was there already, what could not be. One snapshot that cannot be
//! copied keeps no other from it.

use serde_json::{Value, json};
use snapback::store::backend::RepositoryPlace;
use snapback::store::{Copied, Repository, Snapshot};

use super::arguments::CopyArguments;
use super::error::{Failure, Prefix};
use super::exit::Exit;
use super::session::Session;
use super::snapshot_name::SnapshotName;
use super::snapshots::document;
use super::table;

/// Copies what is named, or everything that the other one lacks.
pub(crate) async fn run(session: &Session<'_>, arguments: &CopyArguments) -> Result<Exit, Failure> {
    let output = session.output;
    let opened = session.open().await?;
    let mut wanted: Vec<Snapshot> = Vec::new();
    for name in &arguments.snapshots {
        let snapshot = session.stored(&opened, &SnapshotName::parse(name)?).await?;
        if wanted.iter().all(|known| known.number != snapshot.number) {
            wanted.push(snapshot);
        }
    }
    if arguments.snapshots.is_empty() {
        wanted = opened.history.snapshots().to_vec();
    }
    // As they were taken: the newest stays the newest.
    wanted.sort_by_key(|snapshot| snapshot.number);
    let other = Other::open(session, &arguments.to, &opened.repository).await?;
    let history = other.0.history().await?;
    let there = |snapshot: &Snapshot| history.snapshots().iter().find(|other| other.id == snapshot.id);
    let known = wanted.iter().filter(|snapshot| there(snapshot).is_some()).count() as u64;
    wanted.retain(|snapshot| there(snapshot).is_none());
    if arguments.dry_run {
        for snapshot in wanted.iter().filter(|_| !output.is_json()) {
            output.line(&format!("snapshot #{} ({}) would be copied", snapshot.number, snapshot.id.short()));
        }
        return Ok(tell(session, &other, &[], known, &[], Some(&wanted)));
    }
    let (mut copied, mut failed) = (Vec::new(), Vec::new());
    for snapshot in &wanted {
        output.progress_line(&format!("copying snapshot #{} ({})", snapshot.number, snapshot.id.short()));
        match other.take(session, &opened.repository, snapshot).await {
            Ok(done) => {
                if !output.is_json() {
                    output.line(&line(snapshot, &done));
                }
                copied.push((snapshot.clone(), done));
            }
            Err(failure) => {
                for (prefix, text) in failure.lines() {
                    let prefix = if matches!(prefix, Prefix::Error) { Prefix::Warning } else { prefix };
                    output.message(prefix, text);
                }
                failed.push((snapshot.clone(), failure));
            }
        }
    }
    Ok(tell(session, &other, &copied, known, &failed, None))
}

/// Another repository, which was made before.
pub(crate) struct Other(Repository);

impl Other {
    /// Opens it.
    pub(crate) async fn open(
        session: &Session<'_>,
        place: &std::path::Path,
        own: &Repository,
    ) -> Result<Self, Failure> {
        let place = RepositoryPlace::parse(place.to_owned())
            .map_err(|error| Failure::of(Exit::Usage, &error).hint("a bucket is named as `s3://BUCKET/PREFIX`"))?;
        let other = Repository::open(session.storage(&place).await?).await?;
        if other.id() == own.id() {
            let text = format!("`{}` is the repository that is copied from, or a copy of its files", other.place());
            return Err(Failure::new(Exit::Refused, text)
                .hint("a copy has a history of its own: make it with `snapback init --repo PLACE`, in another place"));
        }
        Ok(Self(other))
    }

    /// Copies one snapshot into it.
    pub(crate) async fn take(
        &self,
        session: &Session<'_>,
        from: &Repository,
        snapshot: &Snapshot,
    ) -> Result<Copied, Failure> {
        let copied = from.copy_to(snapshot, &self.0).await?;
        session.remember(&self.0, &self.0.history().await?);
        Ok(copied)
    }

    /// Where it is.
    pub(crate) fn place(&self) -> String {
        self.0.place()
    }
}

/// One snapshot that was copied, for people.
fn line(snapshot: &Snapshot, copied: &Copied) -> String {
    let id = snapshot.id.short();
    let packs = table::count(copied.packs, "pack");
    let bytes = table::bytes(copied.bytes);
    format!("snapshot #{} ({id}) is #{} there: {packs}, {bytes} sent", snapshot.number, copied.snapshot.number)
}

/// One snapshot that was copied, as JSON.
pub(crate) fn copied_document(snapshot: &Snapshot, copied: &Copied) -> Value {
    json!({
        "snapshot": document(snapshot),
        "there": copied.snapshot.number,
        "packs": copied.packs,
        "bytes": copied.bytes,
    })
}

fn tell(
    session: &Session<'_>,
    other: &Other,
    copied: &[(Snapshot, Copied)],
    known: u64,
    failed: &[(Snapshot, Failure)],
    would: Option<&[Snapshot]>,
) -> Exit {
    let output = session.output;
    let exit = failed.iter().map(|(_, failure)| failure.exit).max_by_key(|exit| exit.code()).unwrap_or(Exit::Done);
    if output.is_json() {
        let copied: Vec<Value> = copied.iter().map(|(snapshot, copied)| copied_document(snapshot, copied)).collect();
        let failed: Vec<Value> = failed
            .iter()
            .map(|(snapshot, failure)| json!({"snapshot": document(snapshot), "text": failure.text, "causes": failure.causes}))
            .collect();
        let would: Vec<Value> = would.unwrap_or_default().iter().map(document).collect();
        let result = json!({"to": other.place(), "copied": copied, "knownThere": known, "notCopied": failed, "wouldCopy": would});
        output.json("copy", result);
        return exit;
    }
    if would.is_none() {
        let bytes: u64 = copied.iter().map(|(_, copied)| copied.bytes).sum();
        let sum = table::count(copied.len() as u64, "snapshot");
        output.line(&format!(
            "{sum} copied to {}, {} sent; {known} had been there",
            other.place(),
            table::bytes(bytes)
        ));
    }
    if !failed.is_empty() {
        let text = format!("{} could not be copied", table::count(failed.len() as u64, "snapshot"));
        output.message(Prefix::Warning, &text);
    }
    exit
}
