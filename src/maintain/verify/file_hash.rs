//! Hashing a stored file piece by piece.

use sha2::{Digest as _, Sha256};

use crate::store::backend::{Backend, BackendError};
use crate::store::{ContentHash, StoreError};

/// Read at once: a big pack is never in memory whole.
pub(super) const PIECE_BYTES: u64 = 4 << 20;

/// SHA-256 and length of a file; `None` when it is not there.
pub(super) async fn hash_file(
    backend: &dyn Backend,
    name: &str,
    seen: impl Fn(u64),
) -> Result<Option<(ContentHash, u64)>, StoreError> {
    let mut hasher = Sha256::new();
    let mut length = 0;
    loop {
        let piece = match backend.read_range(name, length, PIECE_BYTES).await {
            Ok(piece) => piece,
            Err(BackendError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let got = piece.len() as u64;
        length += got;
        seen(got);
        // Hashing 4 MiB takes milliseconds: too long for a thread that others wait on.
        let hashed = tokio::task::spawn_blocking(move || {
            hasher.update(&piece);
            hasher
        });
        hasher = hashed.await.map_err(|stopped| StoreError::local("hash", std::io::Error::other(stopped)))?;
        if got < PIECE_BYTES {
            return Ok(Some((ContentHash::from_hasher(hasher), length)));
        }
    }
}
