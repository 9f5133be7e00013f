//! One pack, looked at from its first byte to its last.
//!
//! In: a pack's name and size. Out: whether its bytes have its name's hash and, when asked, which of its members are
//! whole, with the trees among them.
//! Invariants: the whole tar stream is compared, headers and padding included; a broken frame spoils only the members
//! that overlap it; a scan never fails because of damage, it reports it.

use std::collections::VecDeque;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::file_hash::{PIECE_BYTES, hash_file};
use crate::store::backend::Backend;
use crate::store::pack::{
    Frame, Member, MemberKind, PackContents, TAR_END_BYTES, member_span, read_contents, tar_header,
};
use crate::store::{ContentHash, PackRef, StoreError};

/// A tree or a list of segments larger than this was not written by us (16 lines of 256 bytes are usual).
const MAX_TREE_BYTES: u64 = 256 << 20;

/// What a scan found.
#[derive(Debug, Default)]
pub(super) struct PackScan {
    /// What is wrong, if anything.
    pub(super) faults: Vec<String>,
    /// Members whose bytes have their hash.
    pub(super) whole: Vec<ContentHash>,
    /// Members that the table of contents promises and the frames do not hold.
    pub(super) broken: Vec<ContentHash>,
    /// The trees and lists of segments among the whole members.
    pub(super) trees: Vec<(ContentHash, Vec<u8>)>,
    /// Nobody knows what was in it.
    pub(super) contents_lost: bool,
}

/// Only the hash of the whole.
pub(super) async fn scan_bytes(
    backend: &dyn Backend,
    pack: &PackRef,
    seen: impl Fn(u64),
) -> Result<PackScan, StoreError> {
    let mut scan = PackScan::default();
    match hash_file(backend, &pack.name, seen).await? {
        None => {
            scan.faults.push("it is missing".to_owned());
            scan.contents_lost = true;
        }
        Some((hash, size)) => scan.compare(pack, hash, size),
    }
    Ok(scan)
}

/// The hash of the whole and of every member.
pub(super) async fn scan_members(
    backend: &Arc<dyn Backend>,
    pack: &PackRef,
    seen: impl Fn(u64),
) -> Result<PackScan, StoreError> {
    let contents = match read_contents(&**backend, pack).await {
        Ok(contents) => contents,
        Err(StoreError::Damaged { what, .. }) => {
            let mut scan = scan_bytes(&**backend, pack, seen).await?;
            scan.faults.push(what);
            scan.contents_lost = true;
            return Ok(scan);
        }
        Err(StoreError::Backend(crate::store::backend::BackendError::NotFound { .. })) => {
            return Ok(PackScan {
                faults: vec!["it is missing".to_owned()],
                contents_lost: true,
                ..PackScan::default()
            });
        }
        Err(error) => return Err(error),
    };
    let mut checker = Checker::new(contents);
    let mut hasher = Sha256::new();
    let mut length = 0;
    loop {
        let piece = backend.read_range(&pack.name, length, PIECE_BYTES).await?;
        let got = piece.len() as u64;
        length += got;
        seen(got);
        let worked = tokio::task::spawn_blocking(move || {
            hasher.update(&piece);
            checker.take(&piece);
            (hasher, checker)
        });
        (hasher, checker) =
            worked.await.map_err(|stopped| StoreError::local("check", std::io::Error::other(stopped)))?;
        if got < PIECE_BYTES {
            break;
        }
    }
    let mut scan = checker.finish();
    scan.compare(pack, ContentHash::from_hasher(hasher), length);
    Ok(scan)
}

impl PackScan {
    fn compare(&mut self, pack: &PackRef, hash: ContentHash, size: u64) {
        if size != pack.size {
            self.faults.push(format!("it has {size} bytes, and the log says {}", pack.size));
        }
        if !pack.name.contains(&hash.to_string()) {
            self.faults.push(format!("its SHA-256 is {hash}"));
        }
    }
}

/// Follows the frames and the members side by side.
struct Checker {
    frames: VecDeque<Frame>,
    members: VecDeque<Member>,
    /// Compressed bytes of a frame that is not complete yet.
    waiting: Vec<u8>,
    current: Option<Current>,
    scan: PackScan,
}

/// The member whose bytes come next.
struct Current {
    member: Member,
    header: Vec<u8>,
    /// Bytes of header, content and padding that were seen.
    position: u64,
    hasher: Sha256,
    text: Vec<u8>,
    broken: bool,
}

impl Checker {
    fn new(contents: PackContents) -> Self {
        let (frames, members) = (contents.frames.into(), contents.members.into());
        let mut checker = Self { frames, members, waiting: Vec::new(), current: None, scan: PackScan::default() };
        checker.next_member();
        checker
    }

    fn next_member(&mut self) {
        self.current = self.members.pop_front().map(|member| Current {
            header: tar_header(&member).map(|header| header.as_bytes().to_vec()).unwrap_or_default(),
            member,
            position: 0,
            hasher: Sha256::new(),
            text: Vec::new(),
            broken: false,
        });
    }

    /// More bytes of the file.
    fn take(&mut self, piece: &[u8]) {
        self.waiting.extend_from_slice(piece);
        let mut used = 0;
        while let Some(frame) = self.frames.front().copied() {
            let Some(compressed) = self.waiting.get(used..used + frame.compressed as usize) else { break };
            let raw_length = frame.raw as usize;
            let raw = zstd::bulk::decompress(compressed, raw_length).ok().filter(|raw| raw.len() == raw_length);
            used += frame.compressed as usize;
            self.frames.pop_front();
            self.frame(raw.as_deref(), u64::from(frame.raw));
        }
        self.waiting.drain(..used);
        if self.frames.is_empty() {
            // The table of contents was checked when it was read.
            self.waiting.clear();
        }
    }

    /// A frame's bytes, or that so many are lost.
    fn frame(&mut self, raw: Option<&[u8]>, length: u64) {
        if raw.is_none() {
            self.scan.faults.push("a frame does not decompress".to_owned());
        }
        let mut done = 0;
        while done < length {
            let Some(current) = &mut self.current else {
                let rest =
                    raw.and_then(|raw| raw.get(usize::try_from(done).unwrap_or(usize::MAX)..)).unwrap_or_default();
                if rest.len() > TAR_END_BYTES || rest.iter().any(|byte| *byte != 0) {
                    self.scan.faults.push("the end of its tar stream is not empty".to_owned());
                }
                return;
            };
            let now = (member_span(current.member.size) - current.position).min(length - done);
            let bytes = raw.and_then(|raw| {
                raw.get(usize::try_from(done).unwrap_or(usize::MAX)..usize::try_from(done + now).unwrap_or(0))
            });
            current.take(bytes, now);
            done += now;
            if current.position == member_span(current.member.size) {
                self.end_member();
            }
        }
    }

    fn end_member(&mut self) {
        if let Some(current) = self.current.take() {
            let Current { member, hasher, text, broken, .. } = current;
            if broken || ContentHash::from_hasher(hasher) != member.hash {
                let (kind, hash) = (member.kind, member.hash);
                self.scan.faults.push(format!("its {} {hash} is not what was written", kind.noun()));
                self.scan.broken.push(hash);
            } else if member.kind != MemberKind::Snapshot {
                self.scan.whole.push(member.hash);
                if member.kind == MemberKind::Tree {
                    self.scan.trees.push((member.hash, text));
                }
            }
        }
        self.next_member();
    }

    fn finish(mut self) -> PackScan {
        // A file that ends early leaves members over.
        while let Some(current) = self.current.take() {
            self.scan.broken.push(current.member.hash);
            self.next_member();
        }
        if self.scan.faults.len() > 3 {
            let more = self.scan.faults.len() - 3;
            self.scan.faults.truncate(3);
            self.scan.faults.push(format!("and {more} more"));
        }
        self.scan
    }
}

impl Current {
    fn take(&mut self, bytes: Option<&[u8]>, length: u64) {
        let start = self.position;
        self.position += length;
        let Some(bytes) = bytes else {
            self.broken = true;
            return;
        };
        let header_end = member_span(0);
        let content_end = header_end + self.member.size;
        // The parts of these bytes that belong to header, content and padding.
        let cut = |from: u64, to: u64| {
            let at = |position: u64| usize::try_from(position.clamp(start, start + length) - start).unwrap_or(0);
            bytes.get(at(from)..at(to)).unwrap_or_default()
        };
        let header = cut(0, header_end);
        let expected = usize::try_from(start).ok().and_then(|start| self.header.get(start..start + header.len()));
        self.broken |= !header.is_empty() && expected != Some(header);
        let content = cut(header_end, content_end);
        self.hasher.update(content);
        if self.member.kind == MemberKind::Tree && self.member.size <= MAX_TREE_BYTES {
            self.text.extend_from_slice(content);
        }
        self.broken |= cut(content_end, u64::MAX).iter().any(|byte| *byte != 0);
    }
}
