//! A snapshot of one repository in another one: the same body and so the same id, the same packs byte for byte, under
//! names of their own.
//!
//! In: a snapshot, and a repository that does not have it. Out: a snapshot of that one. What the other repository has
//! already, by the hash of its bytes, is not sent. Invariants: no pack is named that was not read back and hashed where it
//! arrived; a name is never taken over, so that nothing that was given up there comes back (`repository.md`); the packs are
//! judged at every attempt to commit, as those of any snapshot.

use std::collections::HashMap;

use super::backend::{Backend, BackendError, Content};
use super::commit::{Ready, commit_ready};
use super::error::StoreError;
use super::hash::ContentHash;
use super::history::{History, Snapshot};
use super::pack::{PackKind, PackName, PackRef};
use super::read_log::read_log;

/// How often the packs are chosen anew, when some of them were given up meanwhile.
const ATTEMPTS: usize = 3;

/// What was copied.
#[derive(Clone, Debug)]
pub struct Copied {
    /// As it is in the other repository.
    pub snapshot: Snapshot,
    /// Packs that were sent.
    pub packs: u64,
    /// Their bytes.
    pub bytes: u64,
}

pub(crate) async fn copy(from: &dyn Backend, to: &dyn Backend, snapshot: &Snapshot) -> Result<Copied, StoreError> {
    let mut sent = Sent { names: HashMap::new(), packs: 0, bytes: 0 };
    for _ in 1..ATTEMPTS {
        match attempt(from, to, snapshot, &mut sent).await {
            Err(StoreError::MustBeFull { .. }) => {}
            outcome => return outcome,
        }
    }
    attempt(from, to, snapshot, &mut sent).await
}

/// What this process stored, by its content. Whether it may still be named is asked at each commit.
struct Sent {
    names: HashMap<ContentHash, (u64, PackRef)>,
    packs: u64,
    bytes: u64,
}

async fn attempt(
    from: &dyn Backend,
    to: &dyn Backend,
    snapshot: &Snapshot,
    sent: &mut Sent,
) -> Result<Copied, StoreError> {
    let body_text = snapshot.body.to_text();
    if ContentHash::of(body_text.as_bytes()) != snapshot.id {
        let what = format!("snapshot #{} says of itself what this program does not know", snapshot.number);
        return Err(StoreError::NewerEntry { number: snapshot.number, what });
    }
    let history = read_log(to).await?;
    history.check_writable()?;
    let head = history.head().ok_or_else(|| StoreError::HalfWritten { place: to.place() })?;
    let there = in_use(&history, to).await?;
    let given_up =
        |since: u64, name: &str| history.given_up(since, head.number).is_none_or(|given_up| given_up.contains(name));
    let (mut inherited, mut own, mut entry) = (Vec::new(), Vec::new(), head.number);
    for pack in &snapshot.packs {
        let hash = hash_of(pack)?;
        if let Some(known) = there.get(&(hash, pack.size, pack.kind)) {
            inherited.push((*known).clone());
            continue;
        }
        let earlier = sent.names.get(&hash).filter(|(since, known)| !given_up(*since, &known.name));
        let (since, stored) = match earlier {
            Some((since, known)) => (*since, known.clone()),
            None => {
                let stored = send(from, to, pack, &hash).await?;
                sent.packs += 1;
                sent.bytes += pack.size;
                sent.names.insert(hash, (head.number, stored.clone()));
                (head.number, stored)
            }
        };
        entry = entry.min(since);
        own.push(stored);
    }
    let (id, body) = (snapshot.id, snapshot.body.clone());
    let ready = Ready { entry, parent: None, inherited, own, id, body_text, body, once: true };
    let snapshot = commit_ready(to, ready).await?;
    Ok(Copied { snapshot, packs: sent.packs, bytes: sent.bytes })
}

fn hash_of(pack: &PackRef) -> Result<ContentHash, StoreError> {
    let hash = PackName::stem(&pack.name).and_then(PackName::hash);
    hash.ok_or_else(|| StoreError::Damaged { file: pack.name.clone(), what: "its name is no pack's".to_owned() })
}

/// Packs of live snapshots that are there, by content.
async fn in_use<'h>(
    history: &'h History,
    backend: &dyn Backend,
) -> Result<HashMap<(ContentHash, u64, PackKind), &'h PackRef>, StoreError> {
    let damaged = history.damaged();
    let listed = backend.list("packs/").await?;
    let sizes: HashMap<&str, u64> = listed.iter().map(|file| (file.name.as_str(), file.size)).collect();
    let mut found = HashMap::new();
    for pack in history.snapshots().iter().flat_map(|snapshot| &snapshot.packs) {
        if !damaged.contains(pack.name.as_str()) && sizes.get(pack.name.as_str()) == Some(&pack.size) {
            found.insert((hash_of(pack)?, pack.size, pack.kind), pack);
        }
    }
    Ok(found)
}

/// Stores a pack under a new name, and reads it back.
async fn send(from: &dyn Backend, to: &dyn Backend, pack: &PackRef, hash: &ContentHash) -> Result<PackRef, StoreError> {
    let damaged = |what: &str| StoreError::Damaged { file: pack.name.clone(), what: what.to_owned() };
    let bytes = match from.read(&pack.name).await {
        Err(BackendError::NotFound { .. }) => return Err(damaged("it is missing")),
        read => read?,
    };
    if ContentHash::of(&bytes) != *hash {
        return Err(damaged("its bytes are not those that its name says"));
    }
    let name = PackName::unique(hash)?;
    to.create(&name, Content::Bytes(&bytes)).await?;
    drop(bytes);
    if ContentHash::of(&to.read(&name).await?) != *hash {
        let what = "what arrived is not what was sent".to_owned();
        return Err(StoreError::Damaged { file: name, what });
    }
    Ok(PackRef { name, size: pack.size, kind: pack.kind })
}
