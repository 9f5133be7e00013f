//! The list of a big file's segments, itself a blob: lines `<sha256> <bytes>`.
//!
//! Invariants: the same segments always give the same bytes, and what is not exactly that is refused.

use std::fmt::Write as _;

use super::hash::ContentHash;

/// Bytes of every segment but the last: big enough that a big etcd file has a few dozen, small enough to be read in
/// one piece (design, section 3).
pub(crate) const SEGMENT_BYTES: u64 = 64 << 20;

/// Segments in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SegmentList(Vec<(ContentHash, u64)>);

impl SegmentList {
    pub(crate) fn of_one(hash: ContentHash, size: u64) -> Self {
        Self(vec![(hash, size)])
    }

    pub(crate) fn push(&mut self, hash: ContentHash, size: u64) {
        self.0.push((hash, size));
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(ContentHash, u64)> {
        self.0.iter()
    }

    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut list = Self::default();
        for line in std::str::from_utf8(bytes).ok()?.lines() {
            let (hash, size) = line.split_once(' ')?;
            list.push(hash.parse().ok()?, size.parse().ok()?);
        }
        (list.to_bytes() == bytes).then_some(list)
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut text = String::new();
        for (hash, size) in &self.0 {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{hash} {size}");
        }
        text.into_bytes()
    }
}
