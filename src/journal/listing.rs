//! Every transaction that a repository or this machine knows of.
//!
//! In: both places. Out: how each began and what its newest record is, from two records and without reading the rest.
//! Invariant: what cannot be read is listed, and passes for ended only when the other copy says that it is.

use std::collections::BTreeSet;
use std::path::Path;

use futures::{StreamExt as _, TryStreamExt as _};

use super::error::{JournalError, Place};
use super::event::{Event, Outcome};
use super::local_copy::{LocalCopy, local_transactions};
use super::mirror::{first_gap, mirror_name, mirrored_transactions};
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
    /// The newest record of the longer copy, or of the other one where that is damaged and this one says that it ended.
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

    /// The repository lacks records of it that this machine has, and nobody will go on with it and give them to it.
    pub const fn is_behind(&self) -> bool {
        self.outcome().is_some() && self.mirrored < self.local
    }

    /// It has to be finished before anything else is done to this cluster, or nobody can tell whether it has.
    pub fn may_be_unfinished(&self, cluster: &str) -> bool {
        self.outcome().is_none() && self.cluster().is_none_or(|other| other == cluster)
    }
}

/// Every transaction, oldest first by the clocks of those who began them; those of the repository alone where this machine
/// has no folder for its own.
///
/// # Errors
/// The folder or the repository cannot be listed. What is wrong with one transaction is in its summary.
pub async fn list(folder: Option<&Path>, backend: &dyn Backend) -> Result<Vec<Summary>, JournalError> {
    let mirrored = mirrored_transactions(backend).await?;
    let mut all: BTreeSet<TransactionId> = mirrored.keys().cloned().collect();
    if let Some(folder) = folder {
        all.extend(local_transactions(folder).await?);
    }
    let summaries = futures::stream::iter(all).map(|transaction| {
        let numbers = mirrored.get(&transaction).cloned().unwrap_or_default();
        summarise(folder, backend, transaction, numbers)
    });
    let summaries: Vec<Option<Summary>> = summaries.buffered(PARALLEL_TRANSACTIONS).try_collect().await?;
    Ok(summaries.into_iter().flatten().collect())
}

/// The ends of one copy.
struct Ends {
    records: u64,
    first: Result<Record, JournalError>,
    newest: Result<Record, JournalError>,
}

impl Ends {
    const fn are_whole(&self) -> bool {
        self.first.is_ok() && self.newest.is_ok()
    }

    const fn say_that_it_ended(&self) -> bool {
        matches!((&self.first, &self.newest), (Ok(_), Ok(Record { event: Event::Ended { .. }, .. })))
    }
}

/// None for a file of this machine that no record came to be in.
async fn summarise(
    folder: Option<&Path>,
    backend: &dyn Backend,
    transaction: TransactionId,
    numbers: Vec<u64>,
) -> Result<Option<Summary>, JournalError> {
    let here = match folder {
        Some(folder) => ends_here(folder, &transaction).await,
        None => None,
    };
    let local = here.as_ref().map_or(0, |ends| ends.records);
    let mirrored = numbers.len() as u64;
    let longest = numbers.last().map_or(0, |newest| newest + 1);
    let summary = |Ends { first, newest, .. }: Ends| {
        Ok(Some(Summary { transaction: transaction.clone(), local, mirrored, first, newest }))
    };
    let here = match here {
        None if longest == 0 => return Ok(None),
        Some(here) if longest == 0 || here.are_whole() && here.records >= longest => return summary(here),
        here => here,
    };
    let there = ends_there(backend, &transaction, &numbers).await?;
    match here {
        // One is damaged: the other one stands in for it if it says that all is over, since nothing comes after that.
        Some(here) if here.say_that_it_ended() && !there.are_whole() => summary(here),
        Some(here) if !here.are_whole() && !there.say_that_it_ended() => {
            let other_is_whole = there.are_whole();
            let newest = here.newest.map_err(|error| error.beside_the_repository(other_is_whole));
            // Whose cluster it is may still be known, if only to leave others alone.
            summary(Ends { records: 0, first: there.first.or(here.first), newest })
        }
        _ => summary(there),
    }
}

/// None when it is not there.
async fn ends_here(folder: &Path, transaction: &TransactionId) -> Option<Ends> {
    let copy = LocalCopy::new(folder, transaction);
    let lines = match copy.read().await {
        Ok(lines) => lines,
        Err(error) => {
            let first = Err(JournalError::Missing { transaction: transaction.clone() });
            return Some(Ends { records: 0, first, newest: Err(error) });
        }
    };
    let (first, newest) = (lines.first()?, lines.last()?);
    let place = Place::Local(copy.path().to_owned());
    let (records, parse) = (lines.len() as u64, |number, line| parse(transaction, &place, number, line));
    Some(Ends { records, first: parse(0, first), newest: parse(records - 1, newest) })
}

/// The outer error is the repository's. There is at least one record.
async fn ends_there(backend: &dyn Backend, transaction: &TransactionId, numbers: &[u64]) -> Result<Ends, JournalError> {
    let records = numbers.len() as u64;
    let first = read(backend, transaction, 0).await?;
    let newest = match first_gap(numbers.iter().copied()) {
        Some(number) => Err(missing(transaction, number)),
        None => read(backend, transaction, records.saturating_sub(1)).await?,
    };
    Ok(Ends { records, first, newest })
}

/// The outer error is the repository's, the inner one the record's.
async fn read(
    backend: &dyn Backend,
    transaction: &TransactionId,
    number: u64,
) -> Result<Result<Record, JournalError>, JournalError> {
    let name = mirror_name(transaction, number);
    match backend.read(&name).await {
        Ok(line) => Ok(parse(transaction, &Place::Repository(name), number, &line)),
        Err(BackendError::NotFound { .. }) => Ok(Err(missing(transaction, number))),
        Err(error) => Err(error.into()),
    }
}

fn missing(transaction: &TransactionId, number: u64) -> JournalError {
    let place = Place::Repository(mirror_name(transaction, number));
    JournalError::unreliable(transaction, place, RecordError::Missing { number })
}

fn parse(transaction: &TransactionId, place: &Place, number: u64, line: &[u8]) -> Result<Record, JournalError> {
    Record::parse(transaction, number, line)
        .map_err(|source| JournalError::unreliable(transaction, place.clone(), source))
}
