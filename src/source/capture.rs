//! Captures every source beside the cluster, by the rule of the configuration: what is required and missing fails the
//! backup, what is not required is named.

use std::path::Path;

use super::error::SourceError;
use super::etcd::{EtcdSource, capture_etcd};
use super::files::{FolderSource, capture_files};
use super::proxmox::{ProxmoxSource, capture_proxmox};
use crate::progress::{Progress, ProgressEvent};
use crate::store::{SnapshotWriter, SourceRecord, SourceState};

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
    /// Proxmox.
    pub proxmox: Option<Wanted<ProxmoxSource>>,
    /// Folders.
    pub files: Vec<Wanted<FolderSource>>,
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
    use super::{SourceError, SourceRecord, SourceState, judge};
    use crate::progress::Silent;
    use crate::source::etcd::EtcdError;
    use crate::store::{ContentHash, StoreError};

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
    fn a_repository_that_fails_is_never_taken_for_a_missing_source() {
        let store = || StoreError::Missing { place: "there".into() };
        assert!(judge("etcd", false, Err(EtcdError::Store(store()).into()), &Silent).is_err());
        assert!(judge("etcd", false, Err(store().into()), &Silent).is_err());
    }
}
