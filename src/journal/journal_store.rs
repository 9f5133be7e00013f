//! Where an open journal's lines lie: the one trait between the driver of a transaction and the disk.

use async_trait::async_trait;

use super::error::JournalError;
use super::transaction_id::TransactionId;

/// The lines of one transaction. [`TwoCopies`](super::TwoCopies) is the real one; a test puts one in front of it that
/// dies before or after a line is durable.
#[async_trait]
pub trait JournalStore: Send + Sync + std::fmt::Debug {
    /// Whose lines these are.
    fn transaction(&self) -> &TransactionId;

    /// All lines, whole and durable, oldest first. Called once, before anything is appended.
    async fn load(&mut self) -> Result<Vec<Vec<u8>>, JournalError>;

    /// Makes the next line durable. After an error nobody knows whether it is; nothing more may be appended then.
    async fn append(&mut self, number: u64, line: &[u8]) -> Result<(), JournalError>;

    /// Lines that are durable in one place only.
    fn unmirrored(&self) -> u64;

    /// Tries to make them durable in the other place too.
    async fn catch_up(&mut self) -> Result<(), JournalError>;
}
