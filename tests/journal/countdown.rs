//! A journal store whose process dies at one chosen record: the kill matrix of everything that keeps a journal.

use async_trait::async_trait;
use snapback::journal::{JournalError, JournalStore, TransactionId};

/// On which side of the record it dies. The third side of a kill, after the effect that a record announced, is before
/// the next record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The record is not durable.
    Before,
    /// It is, and whoever wrote it never learns it.
    After,
}

/// Lets so many records through, and dies at the next.
#[derive(Debug)]
pub(crate) struct Countdown {
    inner: Box<dyn JournalStore>,
    left: usize,
    side: Side,
    dead: bool,
}

impl Countdown {
    pub(crate) fn new(inner: Box<dyn JournalStore>, left: usize, side: Side) -> Box<Self> {
        Box::new(Self { inner, left, side, dead: false })
    }
}

/// What a dead process would say, if it could.
fn killed() -> JournalError {
    let source = std::io::Error::other("killed by the test");
    JournalError::Local { operation: "append to", path: "killed".into(), source }
}

/// Whether an error is the death of a [`Countdown`].
pub(crate) fn is_killed(error: &JournalError) -> bool {
    matches!(error, JournalError::Local { path, .. } if path.as_os_str() == "killed")
}

#[async_trait]
impl JournalStore for Countdown {
    fn transaction(&self) -> &TransactionId {
        self.inner.transaction()
    }

    async fn load(&mut self) -> Result<Vec<Vec<u8>>, JournalError> {
        self.inner.load().await
    }

    async fn append(&mut self, number: u64, line: &[u8]) -> Result<(), JournalError> {
        assert!(!self.dead, "a dead process went on");
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                self.inner.append(number, line).await
            }
            None => {
                self.dead = true;
                if self.side == Side::After {
                    self.inner.append(number, line).await?;
                }
                Err(killed())
            }
        }
    }

    fn unmirrored(&self) -> u64 {
        self.inner.unmirrored()
    }

    async fn catch_up(&mut self) -> Result<(), JournalError> {
        self.inner.catch_up().await
    }
}
