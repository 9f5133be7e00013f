//! Every transaction that a repository or this machine knows of.
//!
//! In: both places. Out: how each began and what its newest record is, from two records and without reading the rest.
//! Invariant: what cannot be read is listed, and never passes for ended.

use std::collections::BTreeSet;
use std::path::Path;

use futures::{StreamExt as _, TryStreamExt as _};

use super::error::JournalError;
use super::event::{Event, Outcome};
use super::local_copy::{LocalCopy, local_transactions};
use super::mirror::{check_gaps, mirror_name, mirrored_transactions};
use super::record::{Record, RecordError};
use super::transaction_id::TransactionId;
use crate::store::backend::{Backend, BackendError};

/// Transactions looked at at the same time.
const PARALLEL_TRANSACTIONS: usize = 16;

/// A transaction, as far as its first and its newest record tell.
#[derive(Debug)]
pub struct Summary {
    /// Its name.
    pub transaction: TransactionId,
    /// Records on this machine.
    pub local: u64,
    /// Records in the repository. When it has fewer, opening the transaction completes it.
    pub mirrored: u64,
    /// Record 0.
    pub first: Result<Record, JournalError>,
    /// The newest record of the longer copy.
    pub newest: Result<Record, JournalError>,
}

impl Summary {
    /// How it ended.
    pub const fn outcome(&self) -> Option<&Outcome> {
        match &self.newest {
            Ok(Record { event: Event::Ended { outcome }, .. }) => Some(outcome),
            _ => None,
        }
    }

    /// The cluster that it is about, when that can be read.
    pub fn cluster(&self) -> Option<&str> {
        match &self.first {
            Ok(Record { event: Event::Begun(begun), .. }) => Some(&begun.cluster),
            _ => None,
        }
    }

    /// It has to be finished before anything else is done to this cluster, or nobody can tell whether it has.
    pub fn may_be_unfinished(&self, cluster: &str) -> bool {
        self.outcome().is_none() && self.cluster().is_none_or(|other| other == cluster)
    }
}

/// Every transaction, oldest first by the clocks of those who began them.
///
/// # Errors
/// The folder or the repository cannot be listed. What is wrong with one transaction is in its summary.
pub async fn list(folder: &Path, backend: &dyn Backend) -> Result<Vec<Summary>, JournalError> {
    let mirrored = mirrored_transactions(backend).await?;
    let mut all: BTreeSet<TransactionId> = mirrored.keys().cloned().collect();
    all.extend(local_transactions(folder).await?);
    let summaries = futures::stream::iter(all).map(|transaction| {
        let numbers = mirrored.get(&transaction).cloned().unwrap_or_default();
        summarise(folder, backend, transaction, numbers)
    });
    let summaries: Vec<Option<Summary>> = summaries.buffered(PARALLEL_TRANSACTIONS).try_collect().await?;
    Ok(summaries.into_iter().flatten().collect())
}

/// None for a file of this machine that no record came to be in.
async fn summarise(
    folder: &Path,
    backend: &dyn Backend,
    transaction: TransactionId,
    numbers: Vec<u64>,
) -> Result<Option<Summary>, JournalError> {
    let copy = LocalCopy::new(folder, &transaction);
    let (mut local, mirrored) = (0, numbers.len() as u64);
    let ends = match (copy.read().await, check_gaps(&transaction, &numbers)) {
        (Err(broken), _) | (Ok(_), Err(broken)) => Err(broken),
        (Ok(lines), Ok(())) => {
            local = lines.len() as u64;
            let place = copy.path().display().to_string();
            match (lines.first(), lines.last(), mirrored.checked_sub(1)) {
                (Some(first), Some(newest), _) if local >= mirrored => {
                    let parse = |number, line| parse(&transaction, &place, number, line);
                    Ok((parse(0, first), parse(local - 1, newest)))
                }
                (_, _, Some(newest)) => {
                    let first = read(backend, &transaction, 0).await?;
                    Ok((first, read(backend, &transaction, newest).await?))
                }
                (_, _, None) => return Ok(None),
            }
        }
    };
    let (first, newest) = match ends {
        Ok(ends) => ends,
        // Whose cluster it is may still be known, if only to leave others alone.
        Err(broken) if mirrored > 0 => (read(backend, &transaction, 0).await?, Err(broken)),
        Err(broken) => {
            let missing = JournalError::Missing { transaction: transaction.clone() };
            (Err(missing), Err(broken))
        }
    };
    Ok(Some(Summary { transaction, local, mirrored, first, newest }))
}

/// The outer error is the repository's, the inner one the record's.
async fn read(
    backend: &dyn Backend,
    transaction: &TransactionId,
    number: u64,
) -> Result<Result<Record, JournalError>, JournalError> {
    let place = mirror_name(transaction, number);
    match backend.read(&place).await {
        Ok(line) => Ok(parse(transaction, &place, number, &line)),
        Err(BackendError::NotFound { .. }) => {
            Ok(Err(JournalError::Unreliable { place, source: RecordError::Missing { number } }))
        }
        Err(error) => Err(error.into()),
    }
}

fn parse(transaction: &TransactionId, place: &str, number: u64, line: &[u8]) -> Result<Record, JournalError> {
    Record::parse(transaction, number, line)
        .map_err(|source| JournalError::Unreliable { place: place.to_owned(), source })
}
