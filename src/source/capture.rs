//! Captures every source beside the cluster, by the rule of the configuration: what is required and missing fails the
//! backup, what is not required is named.

use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::error::SourceError;
use super::etcd::{EtcdSource, capture_etcd};
use super::files::{FolderSource, capture_files};
use super::proxmox::{ProxmoxSource, capture_proxmox};
use crate::progress::{Progress, ProgressEvent};
use crate::store::{Snapshot, SnapshotWriter, SourceRecord, SourceState};

/// A source, and whether a backup without it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted<S> {
    /// Where it is.
    pub source: S,
    /// A backup fails without all of it.
    pub required: bool,
}

/// Every source beside the cluster.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The etcd snapshot.
    pub etcd: Option<Wanted<EtcdSource>>,
    /// The least age of the last etcd snapshot before another is taken; zero takes one every time.
    pub etcd_interval: Duration,
    /// Proxmox.
    pub proxmox: Option<Wanted<ProxmoxSource>>,
    /// Folders.
    pub files: Vec<Wanted<FolderSource>>,
}

impl Sources {
    /// Leaves etcd out when a live snapshot of the same cluster has it and is younger than the interval. What is left out
    /// comes back as its record, to be put among the others.
    pub fn postpone_etcd(&mut self, snapshots: &[Snapshot], cluster: &str, now: Timestamp) -> Option<SourceRecord> {
        let has_etcd = |snapshot: &&Snapshot| {
            let sources = &snapshot.body.sources;
            snapshot.body.cluster == cluster
                && sources.iter().any(|source| source.name == "etcd" && source.state == SourceState::Complete)
        };
        let last = snapshots.iter().filter(has_etcd).max_by_key(|snapshot| snapshot.body.time)?;
        let interval = SignedDuration::try_from(self.etcd_interval).unwrap_or(SignedDuration::MAX);
        let age = now.duration_since(last.body.time);
        // A snapshot from the future means that a clock is wrong: then it is taken.
        if self.etcd.is_none() || age.is_negative() || age >= interval {
            return None;
        }
        self.etcd = None;
        let detail = format!("not due: #{} has it, and `etcd.interval` is {interval:#}", last.number);
        Some(unconfigured("etcd", &detail))
    }
}

/// Takes every configured source into a snapshot and says of each how much of it is there; a source that is not
/// configured gets a record as well. `scratch` is a folder inside the repository for a command's temporary file.
///
/// # Errors
/// A required source is not complete, or the repository failed.
pub async fn capture_sources(
    sources: &Sources,
    scratch: &Path,
    writer: &mut SnapshotWriter,
    progress: &dyn Progress,
) -> Result<Vec<SourceRecord>, SourceError> {
    let mut records = Vec::new();
    if let Some(etcd) = &sources.etcd {
        let result = capture_etcd(&etcd.source, scratch, writer, progress).await;
        records.push(judge("etcd", etcd.required, result.map_err(SourceError::from), progress)?);
    } else {
        records.push(unconfigured("etcd", "add `etcd:` to snapback.yaml to take its snapshot"));
    }
    if let Some(proxmox) = &sources.proxmox {
        let result = capture_proxmox(&proxmox.source, writer, progress).await;
        records.push(judge("proxmox", proxmox.required, result.map_err(SourceError::from), progress)?);
    } else {
        records.push(unconfigured("proxmox", "add `proxmox:` to snapback.yaml to take its backup jobs and storages"));
    }
    for Wanted { source, required } in &sources.files {
        let result = capture_files(&source.label, &source.folder, writer, progress).await;
        let name = format!("files/{}", source.label);
        records.push(judge(&name, *required, result.map_err(SourceError::from), progress)?);
    }
    Ok(records)
}

fn unconfigured(name: &str, detail: &str) -> SourceRecord {
    SourceRecord { name: name.to_owned(), state: SourceState::Unconfigured, detail: detail.to_owned() }
}

fn judge(
    name: &str,
    required: bool,
    result: Result<SourceRecord, SourceError>,
    progress: &dyn Progress,
) -> Result<SourceRecord, SourceError> {
    match result {
        Ok(record) if required && record.state != SourceState::Complete => {
            Err(SourceError::RequiredIncomplete { name: record.name, detail: record.detail })
        }
        Ok(record) => Ok(record),
        Err(error) if required || error.is_of_the_store() => Err(error),
        Err(error) => {
            let record = error.missing(name);
            progress.report(ProgressEvent::Note(format!("{name} is missing: {}", record.detail)));
            Ok(record)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Duration, EtcdSource, SignedDuration, Snapshot, SourceError, SourceRecord, SourceState, Sources, Timestamp,
        Wanted, judge,
    };
    use crate::progress::Silent;
    use crate::source::etcd::EtcdError;
    use crate::store::{ContentHash, SnapshotBody, StoreError};

    fn partial() -> SourceRecord {
        SourceRecord { name: "etcd".into(), state: SourceState::Partial, detail: "half".into() }
    }

    fn damaged() -> SourceError {
        let (expected, found) = (ContentHash::of(b"a"), ContentHash::of(b"b"));
        EtcdError::HashMismatch { expected, found }.into()
    }

    #[test]
    fn what_is_required_and_not_whole_fails_the_backup_and_the_rest_is_named() {
        assert!(judge("etcd", true, Err(damaged()), &Silent).is_err());
        assert!(matches!(
            judge("etcd", true, Ok(partial()), &Silent),
            Err(SourceError::RequiredIncomplete { name, .. }) if name == "etcd"
        ));
        let named = judge("etcd", false, Err(damaged()), &Silent).unwrap();
        assert_eq!(named.state, SourceState::Missing);
        assert!(named.detail.contains("damaged"), "{}", named.detail);
        assert_eq!(judge("etcd", false, Ok(partial()), &Silent).unwrap(), partial());
    }

    #[test]
    fn etcd_is_taken_again_when_its_interval_has_passed() {
        let sources = |interval| Sources {
            etcd: Some(Wanted {
                source: EtcdSource::Command { argv: vec![], timeout: Duration::ZERO },
                required: true,
            }),
            etcd_interval: Duration::from_secs(interval),
            ..Sources::default()
        };
        let taken: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let after = |seconds| taken + SignedDuration::from_secs(seconds);
        let history = [snapshot(taken, SourceState::Complete)];
        let mut not_yet = sources(60);
        let record = not_yet.postpone_etcd(&history, "uid", after(59)).unwrap();
        assert!(not_yet.etcd.is_none() && record.detail.contains("#7") && record.detail.contains("1m"), "{record:?}");
        assert_eq!(record.state, SourceState::Unconfigured);

        assert_eq!(sources(60).postpone_etcd(&history, "uid", after(60)), None);
        assert_eq!(sources(60).postpone_etcd(&history, "uid", after(-5)), None);
        assert_eq!(sources(60).postpone_etcd(&history, "another", after(1)), None);
        assert_eq!(sources(0).postpone_etcd(&history, "uid", after(0)), None);
        assert_eq!(sources(60).postpone_etcd(&[snapshot(taken, SourceState::Missing)], "uid", after(1)), None);
        assert_eq!(Sources::default().postpone_etcd(&history, "uid", after(1)), None);
    }

    fn snapshot(time: Timestamp, etcd: SourceState) -> Snapshot {
        let hash = ContentHash::of(b"");
        let sources = vec![SourceRecord { name: "etcd".into(), state: etcd, detail: String::new() }];
        let body = SnapshotBody { time, cluster: "uid".into(), sources, ..SnapshotBody::empty() };
        Snapshot { number: 7, id: hash, parent: None, packs: vec![], body }
    }

    #[test]
    fn a_repository_that_fails_is_never_taken_for_a_missing_source() {
        let store = || StoreError::Missing { place: "there".into() };
        assert!(judge("etcd", false, Err(EtcdError::Store(store()).into()), &Silent).is_err());
        assert!(judge("etcd", false, Err(store().into()), &Silent).is_err());
    }
}
