//! A journal stored twice: a file on this machine first, then the repository.
//!
//! In: lines. Out: lines, whichever copy has them.
//! Invariants: a line is durable here before it is sent anywhere; lines reach the repository in their order, without a
//! gap; a repository that fails costs nothing but the second copy, and is caught up with before the next line; what two
//! copies say together is for `agreement` to judge.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;

use super::agreement::agreed;
use super::chain::Chain;
use super::error::JournalError;
use super::journal_store::JournalStore;
use super::local_copy::LocalCopy;
use super::mirror::{Put, mirror_name, put, read_mirror};
use super::transaction_id::TransactionId;
use crate::store::backend::Backend;

/// The two copies of one transaction's journal.
#[derive(Debug)]
pub struct TwoCopies {
    transaction: TransactionId,
    local: LocalCopy,
    backend: Arc<dyn Backend>,
    /// Lines that the repository does not have yet, in their order.
    pending: VecDeque<(u64, Vec<u8>)>,
}

impl TwoCopies {
    /// Names the places; nothing is read or made yet. The folder is one repository's: its journals have no name of it.
    pub fn new(folder: impl Into<PathBuf>, backend: Arc<dyn Backend>, transaction: TransactionId) -> Self {
        let local = LocalCopy::new(&folder.into(), &transaction);
        Self { transaction, local, backend, pending: VecDeque::new() }
    }
}

#[async_trait]
impl JournalStore for TwoCopies {
    fn transaction(&self) -> &TransactionId {
        &self.transaction
    }

    /// Completes the shorter copy from the longer one. A repository that can be read and not written stays behind.
    async fn load(&mut self) -> Result<Vec<Vec<u8>>, JournalError> {
        let here = self.local.open().await;
        let there = read_mirror(&*self.backend, &self.transaction).await?;
        let known_here = here.as_ref().ok().cloned();
        let (whole, _) = agreed(&self.transaction, self.local.path(), here, &there)?;
        // A damaged file is left as it is, to be looked at.
        let missing_here = known_here.and_then(|known| whole.strip_prefix(known.as_slice())).unwrap_or_default();
        if !missing_here.is_empty() {
            self.local.append(&missing_here.concat()).await?;
        }
        self.pending = (0..).zip(whole.iter().cloned()).filter(|(number, _)| !there.contains_key(number)).collect();
        match self.catch_up().await {
            Ok(()) | Err(JournalError::Backend(_)) => Ok(whole),
            Err(error) => Err(error),
        }
    }

    async fn append(&mut self, number: u64, line: &[u8]) -> Result<(), JournalError> {
        self.local.append(line).await?;
        self.pending.push_back((number, line.to_vec()));
        match self.catch_up().await {
            Ok(()) | Err(JournalError::Backend(_)) => Ok(()),
            Err(error) => {
                if let JournalError::Taken { number: theirs, .. } = &error
                    && *theirs == number
                {
                    // Nobody acted upon it: without it this copy is the beginning of theirs, and can be completed.
                    self.local.take_back(line.len()).await?;
                }
                Err(error)
            }
        }
    }

    fn unmirrored(&self) -> u64 {
        self.pending.len() as u64
    }

    async fn catch_up(&mut self) -> Result<(), JournalError> {
        while let Some((number, line)) = self.pending.front() {
            let (transaction, number) = (self.transaction.clone(), *number);
            let mirror = mirror_name(&transaction, number);
            match put(&*self.backend, &mirror, line).await? {
                Put::Done => drop(self.pending.pop_front()),
                Put::Taken => return Err(JournalError::Taken { transaction, number, mirror }),
            }
        }
        Ok(())
    }
}

/// A transaction's records, for who only looks: nothing is locked, completed or written. The folder is this machine's,
/// if it has one.
///
/// # Errors
/// `Missing`, or the copies cannot be relied on.
pub async fn read_journal(
    folder: Option<&Path>,
    backend: &dyn Backend,
    transaction: &TransactionId,
) -> Result<Chain, JournalError> {
    let local = folder.map(|folder| LocalCopy::new(folder, transaction));
    let (path, here) = match &local {
        Some(local) => (local.path(), local.read().await),
        None => (Path::new(""), Ok(Vec::new())),
    };
    let there = read_mirror(backend, transaction).await?;
    let (_, chain) = agreed(transaction, path, here, &there)?;
    if chain.is_empty() {
        return Err(JournalError::Missing { transaction: transaction.clone() });
    }
    Ok(chain)
}
