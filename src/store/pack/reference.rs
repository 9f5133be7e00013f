//! How a pack is named, and how a snapshot's log entry refers to one.
//!
//! In: the hash of a pack's bytes. Out: a name that is never given twice, and back. Invariant: a name that is not
//! well-formed is no pack's.

use std::io::Read as _;

use super::super::backend::StoredFile;
use super::super::error::StoreError;
use super::super::hash::ContentHash;

/// What a pack holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PackKind {
    /// Many objects and trees.
    Content,
    /// One segment of a big file, such as an etcd snapshot.
    Segment,
}

/// A pack that a snapshot needs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct PackRef {
    /// Name relative to the repository, `packs/ab/<sha256>.<8 random hex>.tar.zst`.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// What it holds.
    pub kind: PackKind,
}

impl PackRef {
    /// A pack that is there although no log entry describes it.
    pub(crate) fn of_listed(file: &StoredFile) -> Self {
        Self { name: file.name.clone(), size: file.size, kind: PackKind::Content }
    }
}

/// The name of a pack, `packs/ab/<sha256>.<8 random hex>.tar.zst`.
pub(crate) struct PackName;

impl PackName {
    /// A name that never was and never will be another pack's, even for the same bytes.
    pub(crate) fn unique(hash: &ContentHash) -> Result<String, StoreError> {
        let random = random_hex(4)?;
        Ok(Self::of_stem(&format!("{hash}.{random}")))
    }

    /// The name for `<sha256>.<8 random hex>`, as log entries write it.
    pub(crate) fn of_stem(stem: &str) -> String {
        format!("packs/{}/{stem}.tar.zst", stem.get(..2).unwrap_or_default())
    }

    /// `<sha256>.<8 random hex>` of a well-formed name.
    pub(crate) fn stem(name: &str) -> Option<&str> {
        let stem = name.rsplit('/').next()?.strip_suffix(".tar.zst")?;
        (Self::of_stem(stem) == name && Self::hash(stem).is_some()).then_some(stem)
    }

    /// The hash in a stem.
    pub(crate) fn hash(stem: &str) -> Option<ContentHash> {
        let (hash, random) = stem.split_once('.')?;
        let hexadecimal = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        (random.len() == 8 && random.bytes().all(hexadecimal)).then(|| hash.parse().ok())?
    }
}

/// Whether a name is one that a pack could have.
pub(crate) fn is_pack_name(name: &str) -> bool {
    PackName::stem(name).is_some()
}

/// So many random bytes from the system, in hexadecimal.
pub(crate) fn random_hex(count: usize) -> Result<String, StoreError> {
    let mut bytes = vec![0_u8; count];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .map_err(|source| StoreError::local("read random bytes", source))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
