//! One entry of the log: the only thing that makes a snapshot exist.
//!
//! In and out: the exact bytes of `log/<20 digits>.json`, JSON with one value a line, keys in a fixed order, the last
//! line the SHA-256 of the lines above.
//! Invariants: an entry whose bytes changed in any way is refused; an operation or a format of a later program is
//! read as far as it can be and then stops every write.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::error::StoreError;
use super::hash::ContentHash;
use super::lines::Lines;
use super::pack::{PackKind, PackName, PackRef};
use super::snapshot_body::SnapshotBody;

/// The format of the repository and of each entry.
pub(crate) const FORMAT: u32 = 1;
/// A program that may write after this entry knows at least this much.
const MINIMUM_WRITER: u32 = 1;

/// What an entry did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// Number 0: the SHA-256 of the files that `init` wrote.
    Init { files: BTreeMap<String, ContentHash> },
    /// A snapshot exists from here on.
    Snapshot(Box<SnapshotOp>),
    /// Snapshots, by their numbers, exist no more.
    Forget { snapshots: Vec<u64> },
    /// Packs that are about to be deleted.
    Mark { packs: Vec<String> },
    /// Packs that were found damaged.
    Damaged { packs: Vec<String> },
    /// Snapshots that were verified, and how thoroughly.
    Verified { snapshots: Vec<u64>, level: String },
    /// Snapshots that are not to be forgotten.
    Pin { snapshots: Vec<u64> },
    /// The opposite of `pin`.
    Unpin { snapshots: Vec<u64> },
}

/// A snapshot as its entry describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotOp {
    /// Number of the snapshot it was compared with; none for a full.
    pub(crate) parent: Option<u64>,
    pub(crate) packs: Vec<PackRef>,
    /// SHA-256 of `body_text`.
    pub(crate) id: ContentHash,
    pub(crate) body_text: String,
    pub(crate) body: SnapshotBody,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogEntry {
    pub(crate) number: u64,
    /// SHA-256 of the exact bytes of the entry before.
    pub(crate) previous: Option<ContentHash>,
    /// When it was committed, by the writer's clock.
    pub(crate) time: Timestamp,
    /// Tells a writer that this entry is its own, whatever the store answered.
    pub(crate) nonce: String,
    pub(crate) op: Op,
}

/// `log/<20 digits>.json`.
pub(crate) fn entry_name(number: u64) -> String {
    format!("log/{number:020}.json")
}

/// The number in a name that [`entry_name`] wrote.
pub(crate) fn entry_number(name: &str) -> Option<u64> {
    let number = name.strip_prefix("log/")?.strip_suffix(".json")?.parse().ok()?;
    (entry_name(number) == name).then_some(number)
}

/// The entry as it arrives; everything but the first fields depends on the operation.
#[derive(Deserialize)]
struct Wire<'a> {
    number: u64,
    previous: Option<ContentHash>,
    op: String,
    time: Timestamp,
    nonce: String,
    parent: Option<u64>,
    packs: Option<BTreeMap<String, u64>>,
    segments: Option<BTreeMap<String, u64>>,
    id: Option<ContentHash>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    files: Option<BTreeMap<String, ContentHash>>,
    names: Option<Vec<String>>,
    snapshots: Option<Vec<u64>>,
    level: Option<String>,
}

/// What must be understood before anything else is looked at.
#[derive(Deserialize)]
struct Versions {
    format: u64,
    writer: u64,
    op: String,
}

const OPS: [&str; 8] = ["init", "snapshot", "forget", "mark", "damaged", "verified", "pin", "unpin"];

impl LogEntry {
    /// The bytes to store.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut lines = Lines::default();
        lines.open("{");
        lines.value("format", &FORMAT);
        lines.value("number", &self.number);
        lines.value("previous", &self.previous);
        lines.value("op", &self.op.name());
        lines.value("time", &self.time);
        lines.value("nonce", &self.nonce);
        lines.value("writer", &MINIMUM_WRITER);
        match &self.op {
            Op::Init { files } => write_map(&mut lines, "files", files.iter()),
            Op::Snapshot(snapshot) => {
                lines.value("parent", &snapshot.parent);
                for (key, kind) in [("packs", PackKind::Content), ("segments", PackKind::Segment)] {
                    let packs = snapshot.packs.iter().filter(|pack| pack.kind == kind);
                    let sizes: BTreeMap<_, _> =
                        packs.filter_map(|pack| Some((PackName::stem(&pack.name)?, pack.size))).collect();
                    write_map(&mut lines, key, sizes.iter());
                }
                lines.value("id", &snapshot.id);
                lines.embed("body", &snapshot.body_text);
            }
            Op::Mark { packs } | Op::Damaged { packs } => lines.value("names", packs),
            Op::Forget { snapshots } | Op::Pin { snapshots } | Op::Unpin { snapshots } => {
                lines.value("snapshots", snapshots);
            }
            Op::Verified { snapshots, level } => {
                lines.value("snapshots", snapshots);
                lines.value("level", level);
            }
        }
        // The places of signatures and of encryption: a program that does not know them sees that nothing is there.
        lines.value("signature", &None::<String>);
        lines.value("recipients", &None::<String>);
        seal(lines.into_text())
    }

    /// Reads the entry stored under `number`.
    ///
    /// # Errors
    /// `Damaged`, or `NewerEntry` for what a later program wrote.
    pub(crate) fn parse(number: u64, bytes: &[u8]) -> Result<Self, StoreError> {
        let damaged = |what: String| StoreError::Damaged { file: entry_name(number), what };
        let text = unseal(bytes).map_err(|what| damaged(what.to_owned()))?;
        let malformed = |error: serde_json::Error| damaged(format!("it is not a log entry: {error}"));
        let versions: Versions = serde_json::from_str(text).map_err(malformed)?;
        let newer = |what: String| StoreError::NewerEntry { number, what };
        if versions.format != u64::from(FORMAT) {
            return Err(newer(format!("format {}", versions.format)));
        }
        if versions.writer > u64::from(MINIMUM_WRITER) {
            return Err(newer(format!("writer version {}", versions.writer)));
        }
        if !OPS.contains(&versions.op.as_str()) {
            return Err(newer(format!("operation `{}`", versions.op)));
        }
        let wire: Wire<'_> = serde_json::from_str(text).map_err(malformed)?;
        if wire.number != number {
            return Err(damaged(format!("it says it is entry {}", wire.number)));
        }
        let (previous, time, nonce) = (wire.previous, wire.time, wire.nonce.clone());
        let op = Op::from_wire(wire).map_err(|what| damaged(what.to_owned()))?;
        Ok(Self { number, previous, time, nonce, op })
    }
}

fn write_map<K: AsRef<str>, V: serde::Serialize>(lines: &mut Lines, key: &str, values: impl Iterator<Item = (K, V)>) {
    lines.open(&format!("\"{key}\": {{"));
    for (key, value) in values {
        lines.value(key.as_ref(), &value);
    }
    lines.close("}");
}

/// Ends a text with the SHA-256 of its lines.
pub(crate) fn seal(mut text: String) -> Vec<u8> {
    text.push_str(",\n");
    let hash = ContentHash::of(text.as_bytes());
    text.push_str(&format!("\"sha256\": \"{hash}\"}}\n"));
    text.into_bytes()
}

/// Checks the last line of a sealed text.
pub(crate) fn unseal(bytes: &[u8]) -> Result<&str, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not text")?;
    let above = text.strip_suffix('\n').and_then(|text| text.rfind('\n')).map_or(0, |at| at + 1);
    let (lines, last) = text.split_at(above);
    let hash = last.strip_prefix("\"sha256\": \"").and_then(|rest| rest.strip_suffix("\"}\n"));
    let hash: ContentHash = hash.and_then(|hash| hash.parse().ok()).ok_or("its last line is not a SHA-256")?;
    if hash == ContentHash::of(lines.as_bytes()) {
        Ok(text)
    } else {
        Err("its lines do not have the SHA-256 of its last line")
    }
}

impl Op {
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Init { .. } => "init",
            Self::Snapshot(_) => "snapshot",
            Self::Forget { .. } => "forget",
            Self::Mark { .. } => "mark",
            Self::Damaged { .. } => "damaged",
            Self::Verified { .. } => "verified",
            Self::Pin { .. } => "pin",
            Self::Unpin { .. } => "unpin",
        }
    }

    fn from_wire(wire: Wire<'_>) -> Result<Self, &'static str> {
        let snapshots = wire.snapshots.ok_or("it names no snapshots");
        let names = wire.names.ok_or("it names no packs");
        Ok(match wire.op.as_str() {
            "init" => Self::Init { files: wire.files.ok_or("it names no files")? },
            "forget" => Self::Forget { snapshots: snapshots? },
            "mark" => Self::Mark { packs: names? },
            "damaged" => Self::Damaged { packs: names? },
            "verified" => Self::Verified { snapshots: snapshots?, level: wire.level.unwrap_or_default() },
            "pin" => Self::Pin { snapshots: snapshots? },
            "unpin" => Self::Unpin { snapshots: snapshots? },
            _ => {
                let mut packs = Vec::new();
                for (sizes, kind) in [(wire.packs, PackKind::Content), (wire.segments, PackKind::Segment)] {
                    for (stem, size) in sizes.ok_or("it names no packs")? {
                        PackName::hash(&stem).ok_or("a pack has a malformed name")?;
                        packs.push(PackRef { name: PackName::of_stem(&stem), size, kind });
                    }
                }
                let body_text = wire.body.ok_or("it has no body")?.get().to_owned();
                let id = wire.id.ok_or("it has no id")?;
                if ContentHash::of(body_text.as_bytes()) != id {
                    return Err("its body does not have its id");
                }
                let body = serde_json::from_str(&body_text).map_err(|_| "its body is malformed")?;
                Self::Snapshot(Box::new(SnapshotOp { parent: wire.parent, packs, id, body_text, body }))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{
        BTreeMap, ContentHash, LogEntry, Op, PackKind, PackRef, SnapshotBody, SnapshotOp, Timestamp, entry_name,
        entry_number,
    };
    use crate::store::{SourceRecord, SourceState};
    use proptest::prelude::*;

    fn body(text: &str, number: u64) -> SnapshotBody {
        SnapshotBody {
            series: ContentHash::of(text.as_bytes()),
            time: Timestamp::UNIX_EPOCH,
            cluster: text.to_owned(),
            context: text.to_owned(),
            revision: number,
            root: ContentHash::of(b"root"),
            label: text.to_owned(),
            scope: text.to_owned(),
            sources: vec![SourceRecord { name: text.to_owned(), state: SourceState::Partial, detail: text.to_owned() }],
            complete: number.is_multiple_of(2),
            objects: number,
            types: number,
            bytes: number,
            kubernetes: text.to_owned(),
            tool: text.to_owned(),
        }
    }

    fn op(kind: usize, text: &str, number: u64) -> Op {
        let hash = ContentHash::of(text.as_bytes());
        let packs: Vec<PackRef> = [PackKind::Content, PackKind::Segment]
            .map(|kind| PackRef {
                name: format!("packs/{}/{hash}.0123abcd.tar.zst", &hash.to_string()[..2]),
                size: number,
                kind,
            })
            .into();
        let snapshots = vec![number, 7];
        match kind {
            0 => Op::Init { files: BTreeMap::from([(text.to_owned(), hash)]) },
            1 => {
                let body = body(text, number);
                let body_text = body.to_text();
                let id = ContentHash::of(body_text.as_bytes());
                let parent = number.is_multiple_of(3).then_some(number);
                Op::Snapshot(Box::new(SnapshotOp { parent, packs, id, body_text, body }))
            }
            2 => Op::Forget { snapshots },
            3 => Op::Mark { packs: vec![text.to_owned()] },
            4 => Op::Damaged { packs: Vec::new() },
            5 => Op::Verified { snapshots, level: text.to_owned() },
            6 => Op::Pin { snapshots },
            _ => Op::Unpin { snapshots },
        }
    }

    proptest! {
        #[test]
        fn an_entry_survives_its_own_bytes_and_no_change_of_them(
            kind in 0_usize..8, text: String, number: u64, at: prop::sample::Index, value: u8
        ) {
            let previous = (number > 0).then(|| ContentHash::of(b"before"));
            let time = Timestamp::UNIX_EPOCH;
            let entry = LogEntry { number, previous, time, nonce: text.clone(), op: op(kind, &text, number) };
            let bytes = entry.to_bytes();
            prop_assert_eq!(LogEntry::parse(number, &bytes).unwrap(), entry);
            prop_assert_eq!(entry_number(&entry_name(number)), Some(number));
            // Every line is a value: no string can begin a line of its own.
            prop_assert!(!String::from_utf8(bytes.clone()).unwrap().contains("\n\n"));
            let mut changed = bytes.clone();
            changed[at.index(bytes.len())] = value;
            prop_assert_eq!(LogEntry::parse(number, &changed).is_ok(), changed == bytes);
            prop_assert!(LogEntry::parse(number, &bytes[..at.index(bytes.len())]).is_err());
        }

        #[test]
        fn no_bytes_make_the_parser_panic(noise in prop::collection::vec(any::<u8>(), 0..300), text: String) {
            let _ = LogEntry::parse(1, &noise);
            let _ = LogEntry::parse(1, &super::seal(text));
            let _ = crate::store::SegmentList::parse(&noise);
        }
    }
}
