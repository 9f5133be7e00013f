//! Making a repository: `repo.json`, the two files for people, and log entry 0 with their hashes.
//!
//! Invariants: an interrupted `init` can be run again; nothing that is not ours is ever overwritten or adopted.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

use super::backend::{Backend, BackendError, Content};
use super::error::StoreError;
use super::hash::ContentHash;
use super::lines::Lines;
use super::log_entry::{FORMAT, LogEntry, Op, entry_name, seal, unseal};
use super::pack::random_hex;

/// What makes a folder a repository.
pub(crate) const REPO_FILE: &str = "repo.json";
/// For whoever finds the folder without the program.
pub(crate) const README_FILE: &str = "README.txt";
/// Rebuilds a snapshot with POSIX utilities, tar, zstd and sha256sum.
pub(crate) const RESTORE_FILE: &str = "restore.sh";

const README: &str = include_str!("files/README.txt");
const RESTORE: &str = include_str!("files/restore.sh");

/// Files that may be where a repository is made, since git keeps them there.
pub(crate) fn is_harmless(name: &str) -> bool {
    matches!(name, "README.md" | ".gitignore" | ".gitattributes" | ".gitkeep")
}

/// `repo.json`.
#[derive(Debug, Deserialize)]
pub(crate) struct RepoFile {
    pub(crate) id: String,
}

#[derive(Deserialize)]
struct Versions {
    format: u64,
    reader: u64,
}

impl RepoFile {
    fn to_bytes(id: &str, placing: &str) -> Vec<u8> {
        let mut lines = Lines::default();
        lines.open("{");
        lines.value("format", &FORMAT);
        lines.value("reader", &FORMAT);
        lines.value("writer", &FORMAT);
        lines.value("id", &id);
        lines.value("created", &Timestamp::now());
        lines.value("placing", &placing);
        // The places of encryption and signing.
        lines.value("recipients", &None::<String>);
        lines.value("signers", &None::<String>);
        seal(lines.into_text())
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, StoreError> {
        let damaged = |what: String| StoreError::Damaged { file: REPO_FILE.to_owned(), what };
        let text = unseal(bytes).map_err(|what| damaged(what.to_owned()))?;
        let malformed = |error: serde_json::Error| damaged(error.to_string());
        let versions: Versions = serde_json::from_str(text).map_err(malformed)?;
        let found = versions.format.max(versions.reader);
        if found > u64::from(FORMAT) {
            return Err(StoreError::NewerFormat { file: REPO_FILE.to_owned(), found, known: FORMAT });
        }
        serde_json::from_str(text).map_err(malformed)
    }
}

/// Makes a repository, or ends an `init` that was interrupted. Returns its id.
pub(crate) async fn init(backend: &dyn Backend) -> Result<String, StoreError> {
    let ours = [REPO_FILE, README_FILE, RESTORE_FILE];
    for file in backend.list("").await? {
        let resumable = match file.name.as_str() {
            REPO_FILE => RepoFile::parse(&backend.read(REPO_FILE).await?).is_ok(),
            README_FILE => backend.read(README_FILE).await? == README.as_bytes(),
            RESTORE_FILE => backend.read(RESTORE_FILE).await? == RESTORE.as_bytes(),
            name => is_harmless(name),
        };
        if !resumable {
            return Err(StoreError::NotEmpty { place: backend.place(), name: file.name });
        }
    }
    let placing = backend.probe().await?;
    let repo_file = RepoFile::to_bytes(&random_hex(16)?, &placing);
    for (name, bytes) in ours.into_iter().zip([repo_file.as_slice(), README.as_bytes(), RESTORE.as_bytes()]) {
        match backend.create(name, Content::Bytes(bytes)).await {
            // Left by an interrupted run, or made by another one at this moment.
            Ok(()) | Err(BackendError::Exists { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let mut files = BTreeMap::new();
    for name in ours {
        files.insert(name.to_owned(), ContentHash::of(&backend.read(name).await?));
    }
    let id = RepoFile::parse(&backend.read(REPO_FILE).await?)?.id;
    let (time, nonce) = (Timestamp::now(), random_hex(16)?);
    let entry = LogEntry { number: 0, previous: None, time, nonce, op: Op::Init { files } };
    backend.create(&entry_name(0), Content::Bytes(&entry.to_bytes())).await?;
    Ok(id)
}
