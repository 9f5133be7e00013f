//! Hashes an etcd snapshot while it passes, and ends it with an error when it is not whole.
//!
//! In: any stream of bytes. Out: the same bytes, and at their end either the trailer's verdict or an error, so that a
//! writer that reads to the end never takes a damaged snapshot for a good one. Holds 32 bytes back only for hashing:
//! they are passed on as they arrive.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, ReadBuf};

use super::error::EtcdError;
use crate::store::ContentHash;

/// Bytes of SHA-256 at the end of a snapshot.
const TRAILER_BYTES: usize = 32;
/// Snapshots are whole pages and a trailer; pages are multiples of this (`etcdutl/snapshot/v3_snapshot.go`).
const PAGE_UNIT: u64 = 512;
/// bbolt's page header is 16 bytes; its meta page begins with this mark, little-endian (`bbolt/internal/common/meta.go`
/// and `types.go`), and then version 2.
const META_MARK: [u8; 8] = [0xED, 0xDA, 0x0C, 0xED, 2, 0, 0, 0];
const META_OFFSET: usize = 16;

/// What stands at the end of a file that was read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trailer {
    /// The server's SHA-256, which agrees with the content.
    Verified(ContentHash),
    /// Nothing: a copy of a database file.
    Absent,
}

/// Passes bytes on, hashing them. See the module's description.
#[derive(Debug)]
pub struct HashedReader<R> {
    inner: R,
    content: Sha256,
    /// The newest bytes, not yet hashed, since they may be the trailer.
    held: Vec<u8>,
    first_page: Vec<u8>,
    size: u64,
    allow_unhashed: bool,
    outcome: Option<Result<Trailer, EtcdError>>,
}

impl<R> HashedReader<R> {
    /// Reads a snapshot. With `allow_unhashed` a file without a trailer passes too.
    pub fn new(inner: R, allow_unhashed: bool) -> Self {
        Self {
            inner,
            content: Sha256::new(),
            held: Vec::with_capacity(2 * TRAILER_BYTES),
            first_page: Vec::with_capacity(META_OFFSET + META_MARK.len()),
            size: 0,
            allow_unhashed,
            outcome: None,
        }
    }

    /// Bytes that passed.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether the end was read, or reading failed.
    pub fn is_finished(&self) -> bool {
        self.outcome.is_some()
    }

    /// The verdict, once the end was read or reading failed; `None` before.
    pub fn into_outcome(self) -> Option<Result<Trailer, EtcdError>> {
        self.outcome
    }

    /// The reader below.
    pub fn inner_mut(&mut self) -> &mut R {
        &mut self.inner
    }

    fn take(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        let wanted = (META_OFFSET + META_MARK.len()).saturating_sub(self.first_page.len());
        self.first_page.extend(bytes.iter().take(wanted));
        // All but the last 32 bytes of what is held and what came are content for certain.
        let certain = (self.held.len() + bytes.len()).saturating_sub(TRAILER_BYTES);
        let from_held = certain.min(self.held.len());
        self.content.update(self.held.get(..from_held).unwrap_or_default());
        self.held.drain(..from_held);
        let (content, rest) = bytes.split_at(certain - from_held);
        self.content.update(content);
        self.held.extend_from_slice(rest);
    }

    fn judge(&mut self) -> Result<Trailer, EtcdError> {
        let size = self.size;
        let rest = size % PAGE_UNIT;
        let unhashed = rest == 0 && size > 0;
        if !unhashed && (rest != TRAILER_BYTES as u64 || size < PAGE_UNIT) {
            return Err(EtcdError::NotASnapshot { size });
        }
        if self.first_page.get(META_OFFSET..) != Some(META_MARK.as_slice()) {
            return Err(EtcdError::NotADatabase);
        }
        if unhashed {
            return if self.allow_unhashed { Ok(Trailer::Absent) } else { Err(EtcdError::Unhashed) };
        }
        let raw: [u8; TRAILER_BYTES] = self.held.as_slice().try_into().map_err(|_| EtcdError::NotASnapshot { size })?;
        let expected = ContentHash::from_raw(raw);
        let found = ContentHash::from_hasher(std::mem::take(&mut self.content));
        if expected == found { Ok(Trailer::Verified(found)) } else { Err(EtcdError::HashMismatch { expected, found }) }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for HashedReader<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        if let Err(source) = ready!(Pin::new(&mut this.inner).poll_read(context, buffer)) {
            // Whoever reads here only says that reading failed, so the reason is kept.
            let copy = io::Error::new(source.kind(), source.to_string());
            this.outcome = Some(Err(EtcdError::Read { source }));
            return Poll::Ready(Err(copy));
        }
        let new = buffer.filled().get(before..).unwrap_or_default();
        if !new.is_empty() {
            this.take(new);
            return Poll::Ready(Ok(()));
        }
        // The end. A reader may ask again: the answer stays the same.
        if this.outcome.is_none() {
            let verdict = this.judge();
            this.outcome = Some(verdict);
        }
        match &this.outcome {
            Some(Err(error)) => Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error.to_string()))),
            _ => Poll::Ready(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use tokio::io::AsyncReadExt;

    use super::{AsyncRead, Context, Digest, EtcdError, HashedReader, Pin, Poll, ReadBuf, Sha256, Trailer, io};

    /// Gives its pieces one read at a time.
    struct Pieces(VecDeque<Vec<u8>>);

    impl AsyncRead for Pieces {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            if let Some(mut piece) = self.0.pop_front() {
                let rest = piece.split_off(piece.len().min(buffer.remaining()));
                buffer.put_slice(&piece);
                if !rest.is_empty() {
                    self.0.push_front(rest);
                }
            }
            Poll::Ready(Ok(()))
        }
    }

    fn database(pages: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..pages * 512).map(|n| (n * 7 % 251) as u8).collect();
        bytes[16..24].copy_from_slice(&super::META_MARK);
        bytes
    }

    fn snapshot(pages: usize) -> Vec<u8> {
        let mut bytes = database(pages);
        let hash = Sha256::digest(&bytes);
        bytes.extend_from_slice(&hash);
        bytes
    }

    async fn read(
        bytes: &[u8],
        piece: usize,
        allow_unhashed: bool,
    ) -> (io::Result<Vec<u8>>, Result<Trailer, EtcdError>) {
        let pieces = Pieces(bytes.chunks(piece).map(<[u8]>::to_vec).collect());
        let mut reader = HashedReader::new(pieces, allow_unhashed);
        let mut out = Vec::new();
        let result = reader.read_to_end(&mut out).await.map(|_| out);
        (result, reader.into_outcome().unwrap())
    }

    #[tokio::test]
    async fn a_whole_snapshot_passes_unchanged_however_it_is_cut_into_messages() {
        let bytes = snapshot(9);
        for piece in [1, 5, 31, 32, 33, 64, 512, 4096, 1 << 20] {
            let (passed, outcome) = read(&bytes, piece, false).await;
            assert_eq!(passed.unwrap(), bytes, "pieces of {piece}");
            assert!(matches!(outcome, Ok(Trailer::Verified(_))), "pieces of {piece}: {outcome:?}");
        }
    }

    #[tokio::test]
    async fn every_flipped_byte_is_found() {
        let bytes = snapshot(2);
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            let (passed, outcome) = read(&damaged, 100, true).await;
            assert!(passed.is_err(), "byte {at}");
            let expected = matches!(outcome, Err(EtcdError::HashMismatch { .. } | EtcdError::NotADatabase));
            assert!(expected, "byte {at}: {outcome:?}");
        }
    }

    #[tokio::test]
    async fn every_cut_is_found() {
        let bytes = snapshot(3);
        for length in 0..bytes.len() {
            let (passed, outcome) = read(&bytes[..length], 77, false).await;
            assert!(passed.is_err() && outcome.is_err(), "cut to {length}");
        }
    }

    #[tokio::test]
    async fn a_copy_without_a_hash_is_refused_unless_allowed() {
        let bytes = database(4);
        assert!(matches!(read(&bytes, 99, false).await.1, Err(EtcdError::Unhashed)));
        let (passed, outcome) = read(&bytes, 99, true).await;
        assert_eq!(passed.unwrap(), bytes);
        assert_eq!(outcome.unwrap(), Trailer::Absent);
        let text = vec![b'x'; 1024];
        assert!(matches!(read(&text, 99, true).await.1, Err(EtcdError::NotADatabase)));
    }
}
