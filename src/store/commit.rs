//! Making a written snapshot exist: `repository.md`, Writing, 5 to 7.
//!
//! In: stored packs, a root, a body. Out: one log entry.
//! Invariants: what is committed names only packs that nobody gave up, checked against the newest log at **every**
//! attempt; an entry is never put twice, whatever the store answered; once a log put was sent, no pack is deleted;
//! `Ok` only after the entry is durable (I2).

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;

use super::backend::{Backend, BackendError, Content};
use super::error::StoreError;
use super::hash::ContentHash;
use super::history::{History, Snapshot};
use super::log_entry::{LogEntry, Op, SnapshotOp, entry_name};
use super::pack::{PackRef, random_hex};
use super::read_log::read_log;
use super::snapshot_body::SnapshotBody;
use super::snapshot_writer::WrittenSnapshot;

/// Log entries that other writers may take before this one gives up.
const ATTEMPTS: usize = 100;
/// How often the same bytes are put while the store says neither yes nor no.
const UNCLEAR_ATTEMPTS: usize = 5;

/// What became of a put of a log entry.
enum Put {
    Done,
    /// Another writer's entry has the number.
    Lost,
}

/// What is to exist: packs that are stored, and what the snapshot says of itself.
pub(crate) struct Ready {
    /// The newest entry that was known when the packs were chosen or stored.
    pub(crate) entry: u64,
    /// Number of the snapshot that it was compared with.
    pub(crate) parent: Option<u64>,
    /// Packs of other snapshots.
    pub(crate) inherited: Vec<PackRef>,
    /// Packs that were stored for it.
    pub(crate) own: Vec<PackRef>,
    /// SHA-256 of the text.
    pub(crate) id: ContentHash,
    pub(crate) body_text: String,
    pub(crate) body: SnapshotBody,
    /// Somebody else's snapshot of this id is as good.
    pub(crate) once: bool,
}

pub(crate) async fn commit(
    backend: &dyn Backend,
    mut written: WrittenSnapshot,
    body: SnapshotBody,
) -> Result<Snapshot, StoreError> {
    let Some(basis) = written.basis.take() else {
        return Err(StoreError::MustBeFull { pack: "memory".to_owned(), reason: "it was never meant to be stored" });
    };
    let body = SnapshotBody { root: written.tree.root(), bytes: written.total_bytes(), ..body };
    let body_text = body.to_text();
    let id = ContentHash::of(body_text.as_bytes());
    written.packs.close(Some((id, body_text.as_bytes()))).await?;
    let (own, inherited) = (written.packs.stored().to_vec(), written.inherited);
    let (entry, parent) = (basis.entry, basis.parent);
    commit_ready(backend, Ready { entry, parent, inherited, own, id, body_text, body, once: false }).await
}

pub(crate) async fn commit_ready(backend: &dyn Backend, ready: Ready) -> Result<Snapshot, StoreError> {
    let Ready { entry: basis, parent, inherited, own, id, body_text, body, once } = ready;
    check_stored(backend, &own, &inherited).await?;
    let packs: Vec<PackRef> = inherited.iter().chain(&own).cloned().collect();
    let own: HashSet<&str> = own.iter().map(|pack| pack.name.as_str()).collect();
    let nonce = random_hex(16)?;
    let mut number = 0;
    for _ in 0..ATTEMPTS {
        let history = read_log(backend).await?;
        let head = history.head().ok_or_else(|| StoreError::HalfWritten { place: backend.place() })?;
        history.check_writable()?;
        if let Some(there) = history.snapshots().iter().find(|snapshot| once && snapshot.id == id) {
            return Ok(there.clone());
        }
        check_packs(&history, head.number, basis, &packs, &own)?;
        number = head.number + 1;
        let op = SnapshotOp { parent, packs: packs.clone(), id, body_text: body_text.clone(), body: body.clone() };
        let entry = LogEntry {
            number,
            previous: Some(head.hash),
            time: Timestamp::now(),
            nonce: nonce.clone(),
            op: Op::Snapshot(Box::new(op)),
        };
        match put_entry(backend, number, &entry.to_bytes()).await? {
            Put::Done => return Ok(Snapshot { number, id, parent, packs, body }),
            Put::Lost => {}
        }
    }
    Err(StoreError::Contended { number })
}

/// Every pack that is to be named is listed, with the right size: one that vanished while the snapshot was written must
/// not be part of something that calls itself complete.
async fn check_stored(backend: &dyn Backend, own: &[PackRef], inherited: &[PackRef]) -> Result<(), StoreError> {
    if own.is_empty() && inherited.is_empty() {
        return Ok(());
    }
    let listed = backend.list("packs/").await?;
    let sizes: HashMap<&str, u64> = listed.iter().map(|file| (file.name.as_str(), file.size)).collect();
    match own.iter().chain(inherited).find(|pack| sizes.get(pack.name.as_str()) != Some(&pack.size)) {
        None => Ok(()),
        Some(pack) => {
            let reason = "it was there a moment ago, and now it is not or has another size";
            Err(StoreError::MustBeFull { pack: pack.name.clone(), reason })
        }
    }
}

/// Every pack named is (a) named by a live snapshot at `n` and not damaged, or (b) was named at `s` and not given up
/// since, or (c) is our own, stored after `s`, and not given up since.
fn check_packs(history: &History, n: u64, s: u64, packs: &[PackRef], own: &HashSet<&str>) -> Result<(), StoreError> {
    let (named_now, named_then) = (history.named(n), history.named(s));
    let damaged = history.damaged();
    let given_up = history.given_up(s, n);
    let refuse = |pack: &PackRef, reason| Err(StoreError::MustBeFull { pack: pack.name.clone(), reason });
    for pack in packs {
        let name = pack.name.as_str();
        if damaged.contains(name) {
            return refuse(pack, "it was found damaged");
        }
        if named_now.contains(name) {
            continue;
        }
        let Some(given_up) = &given_up else {
            return refuse(pack, "a log entry written meanwhile cannot be read");
        };
        if given_up.contains(name) {
            return refuse(pack, "it was marked for deletion");
        }
        if !named_then.contains(name) && !own.contains(name) {
            return refuse(pack, "no snapshot named it");
        }
    }
    Ok(())
}

/// Create(number, bytes): put if absent, and find out what happened when the answer does not say.
async fn put_entry(backend: &dyn Backend, number: u64, bytes: &[u8]) -> Result<Put, StoreError> {
    let name = entry_name(number);
    let mut unclear = None;
    for _ in 0..UNCLEAR_ATTEMPTS {
        match backend.create(&name, Content::Bytes(bytes)).await {
            Ok(()) => return Ok(Put::Done),
            // "Exists" may be our own entry: the store may have written it and lost its answer.
            Err(answer) => match backend.read(&name).await {
                Ok(there) if there == bytes => {
                    backend.make_durable(&name).await.map_err(|source| StoreError::Unclear { number, source })?;
                    return Ok(Put::Done);
                }
                Ok(_) => return Ok(Put::Lost),
                Err(BackendError::NotFound { .. }) => match answer {
                    // Refused before anything was written: saying so at once is better than trying five times.
                    BackendError::Full { .. } | BackendError::Unsuitable { .. } => return Err(answer.into()),
                    answer => unclear = Some(answer),
                },
                Err(source) => return Err(StoreError::Unclear { number, source }),
            },
        }
    }
    let source = unclear.unwrap_or(BackendError::NotFound { name });
    Err(StoreError::Unclear { number, source })
}
