//! The log, folded: which snapshots are live and which packs they name.
//!
//! In: entries in order, and what could not be read of them. Out: live snapshots, the head, and the answers that a
//! commit needs (which packs were named, marked or damaged, and when).
//! Invariants: a snapshot is live exactly if its entry can be read and no readable entry forgets it; what cannot be
//! read is listed as a problem, never passed over.

use std::collections::{BTreeMap, HashSet};

use super::error::StoreError;
use super::hash::ContentHash;
use super::log_entry::{LogEntry, Op, entry_name};
use super::pack::PackRef;
use super::snapshot_body::SnapshotBody;

/// A committed snapshot.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Number of its log entry, shown as `#42`.
    pub number: u64,
    /// SHA-256 of its body.
    pub id: ContentHash,
    /// Number of the snapshot that it was compared with; none for a full, which depends on nothing.
    pub parent: Option<u64>,
    /// Every pack that holds something of it.
    pub packs: Vec<PackRef>,
    /// What was captured, when and of what.
    pub body: SnapshotBody,
}

/// The newest entry of a log. A machine that remembers it notices when the log's tail is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Head {
    /// Its number.
    pub number: u64,
    /// SHA-256 of its exact bytes.
    pub hash: ContentHash,
}

/// The whole log, read and checked from entry 0 on.
#[derive(Debug, Default)]
pub struct History {
    snapshots: Vec<Snapshot>,
    forgotten: Vec<Snapshot>,
    /// What happened, by entry number, as far as a commit needs it.
    changes: Vec<(u64, Change)>,
    /// SHA-256 of each entry that is there, readable or not.
    hashes: BTreeMap<u64, ContentHash>,
    init_files: BTreeMap<String, ContentHash>,
    problems: Vec<StoreError>,
}

#[derive(Debug)]
enum Change {
    Live(Vec<String>),
    Forgotten(u64),
    Marked(Vec<String>),
    Damaged(Vec<String>),
    /// Nobody knows what.
    Unreadable,
}

impl History {
    /// Live snapshots (not forgotten), oldest first.
    pub fn snapshots(&self) -> &[Snapshot] {
        &self.snapshots
    }

    /// The live snapshot of exactly this number and id.
    pub fn find(&self, number: u64, id: &ContentHash) -> Option<&Snapshot> {
        self.snapshots.iter().find(|snapshot| snapshot.number == number && snapshot.id == *id)
    }

    /// Whether a snapshot with this number was forgotten.
    pub fn is_forgotten(&self, number: u64) -> bool {
        self.forgotten.iter().any(|snapshot| snapshot.number == number)
    }

    /// Whether the entry with this number could be read, whatever it is.
    pub(crate) fn is_known(&self, number: u64) -> bool {
        let unreadable =
            self.changes.iter().any(|(other, change)| *other == number && matches!(change, Change::Unreadable));
        self.hashes.contains_key(&number) && !unreadable
    }

    /// The newest entry.
    pub fn head(&self) -> Option<Head> {
        self.hashes.last_key_value().map(|(number, hash)| Head { number: *number, hash: *hash })
    }

    /// What could not be read, or does not fit together. Snapshots whose entries are whole are readable all the same.
    pub fn problems(&self) -> &[StoreError] {
        &self.problems
    }

    /// Checks that the log still holds what this machine saw in it.
    ///
    /// # Errors
    /// `HeadLost`: the log was cut, or is another one.
    pub fn check_remembered(&self, remembered: &Head) -> Result<(), StoreError> {
        let lost = |what: &str| StoreError::HeadLost { number: remembered.number, what: what.to_owned() };
        match self.hashes.get(&remembered.number) {
            None => Err(lost("it is gone")),
            Some(hash) if *hash != remembered.hash => Err(lost("it has other bytes")),
            Some(_) => Ok(()),
        }
    }

    /// Takes the next entry's bytes, or notes that it is not there.
    pub(crate) fn push(&mut self, number: u64, bytes: Result<&[u8], StoreError>) {
        let parsed = bytes.and_then(|bytes| {
            let before = number.checked_sub(1).and_then(|before| self.hashes.get(&before)).copied();
            self.hashes.insert(number, ContentHash::of(bytes));
            let entry = LogEntry::parse(number, bytes)?;
            let fits = match before {
                Some(_) => entry.previous == before,
                // Entry 0 has none before it; after a gap nothing can be compared.
                None => (number == 0) == entry.previous.is_none(),
            };
            if !fits {
                let what = "it does not follow the entry before it".to_owned();
                self.problems.push(StoreError::Damaged { file: entry_name(number), what });
            }
            if (number == 0) != matches!(entry.op, Op::Init { .. }) {
                let what = format!("it is `{}`, which is not what stands there", entry.op.name());
                return Err(StoreError::Damaged { file: entry_name(number), what });
            }
            Ok(entry)
        });
        match parsed {
            Ok(entry) => self.fold(entry),
            Err(problem) => {
                self.changes.push((number, Change::Unreadable));
                self.problems.push(problem);
            }
        }
    }

    fn fold(&mut self, entry: LogEntry) {
        let number = entry.number;
        match entry.op {
            Op::Init { files } => self.init_files = files,
            Op::Snapshot(snapshot) => {
                let names = snapshot.packs.iter().map(|pack| pack.name.clone()).collect();
                self.changes.push((number, Change::Live(names)));
                let super::log_entry::SnapshotOp { parent, packs, id, body, .. } = *snapshot;
                self.snapshots.push(Snapshot { number, id, parent, packs, body });
            }
            Op::Forget { snapshots } => {
                for forgotten in snapshots {
                    self.changes.push((number, Change::Forgotten(forgotten)));
                    if let Some(at) = self.snapshots.iter().position(|snapshot| snapshot.number == forgotten) {
                        self.forgotten.push(self.snapshots.remove(at));
                    }
                }
            }
            Op::Mark { packs } => self.changes.push((number, Change::Marked(packs))),
            Op::Damaged { packs } => self.changes.push((number, Change::Damaged(packs))),
            Op::Verified { .. } | Op::Pin { .. } | Op::Unpin { .. } => {}
        }
    }

    /// What `init` wrote, with the hashes it had.
    pub(crate) fn init_files(&self) -> &BTreeMap<String, ContentHash> {
        &self.init_files
    }

    /// Every pack that any snapshot ever named.
    pub(crate) fn ever_named(&self) -> HashSet<&str> {
        self.snapshots.iter().chain(&self.forgotten).flat_map(|s| &s.packs).map(|pack| pack.name.as_str()).collect()
    }

    /// Packs of the snapshots that are live at entry `n`.
    pub(crate) fn named(&self, n: u64) -> HashSet<&str> {
        let mut live: BTreeMap<u64, &[String]> = BTreeMap::new();
        for (number, change) in self.changes.iter().take_while(|(number, _)| *number <= n) {
            match change {
                Change::Live(packs) => drop(live.insert(*number, packs)),
                Change::Forgotten(snapshot) => drop(live.remove(snapshot)),
                Change::Marked(_) | Change::Damaged(_) | Change::Unreadable => {}
            }
        }
        live.into_values().flatten().map(String::as_str).collect()
    }

    /// Packs that any entry calls damaged.
    pub(crate) fn damaged(&self) -> HashSet<&str> {
        let all = self.changes.iter().filter_map(|(_, change)| match change {
            Change::Damaged(packs) => Some(packs),
            _ => None,
        });
        all.flatten().map(String::as_str).collect()
    }

    /// Packs marked for deletion or called damaged in the entries `(after, upto]`; `None` when one of them cannot be
    /// read, so that nobody knows.
    pub(crate) fn given_up(&self, after: u64, upto: u64) -> Option<HashSet<&str>> {
        let mut found = HashSet::new();
        for (_, change) in self.changes.iter().filter(|(number, _)| *number > after && *number <= upto) {
            match change {
                Change::Marked(packs) | Change::Damaged(packs) => found.extend(packs.iter().map(String::as_str)),
                Change::Unreadable => return None,
                Change::Live(_) | Change::Forgotten(_) => {}
            }
        }
        Some(found)
    }

    /// An entry that only a later program understands forbids every write.
    pub(crate) fn check_writable(&self) -> Result<(), StoreError> {
        let newer = self.problems.iter().find_map(|problem| match problem {
            StoreError::NewerEntry { number, what } => Some((*number, what.clone())),
            _ => None,
        });
        newer.map_or(Ok(()), |(number, what)| Err(StoreError::NewerEntry { number, what }))
    }
}
