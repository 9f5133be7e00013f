//! The copy of a journal in the repository: `journal/<transaction>/<20 digits>.json`, a file for each record.
//!
//! In: a line and its number. Out: whether it is there now, or another one is.
//! Invariant: a file is created once and never replaced, so of two that continue a transaction one is told.

use std::collections::BTreeMap;

use futures::{StreamExt as _, TryStreamExt as _};

use super::error::JournalError;
use super::transaction_id::TransactionId;
use crate::store::backend::{Backend, BackendError, Content};

const FOLDER: &str = "journal/";
/// Records read at the same time.
const PARALLEL_RECORDS: usize = 16;

/// A transaction's folder.
pub(super) fn mirror_folder(transaction: &TransactionId) -> String {
    format!("{FOLDER}{transaction}/")
}

/// A record's file.
pub(crate) fn mirror_name(transaction: &TransactionId, number: u64) -> String {
    format!("{FOLDER}{transaction}/{number:020}.json")
}

/// The transaction and number in a name that [`mirror_name`] wrote.
pub(crate) fn mirror_number(name: &str) -> Option<(TransactionId, u64)> {
    let (transaction, file) = name.strip_prefix(FOLDER)?.split_once('/')?;
    let (transaction, number) = (transaction.parse().ok()?, file.strip_suffix(".json")?.parse().ok()?);
    (mirror_name(&transaction, number) == name).then_some((transaction, number))
}

/// What became of a line.
#[derive(Debug)]
pub(super) enum Put {
    /// It is there, and durable.
    Done,
    /// Another one is.
    Taken,
}

/// Creates a record's file.
pub(super) async fn put(backend: &dyn Backend, name: &str, line: &[u8]) -> Result<Put, BackendError> {
    match backend.create(name, Content::Bytes(line)).await {
        Ok(()) => Ok(Put::Done),
        // An earlier attempt, whose answer was lost, may have done it.
        Err(BackendError::Exists { .. }) => {
            if backend.read(name).await? != line {
                return Ok(Put::Taken);
            }
            backend.make_durable(name).await?;
            Ok(Put::Done)
        }
        Err(error) => Err(error),
    }
}

/// All lines of a transaction that are there, by number.
///
/// # Errors
/// The repository does not answer.
pub(super) async fn read_mirror(
    backend: &dyn Backend,
    transaction: &TransactionId,
) -> Result<BTreeMap<u64, Vec<u8>>, JournalError> {
    let files = backend.list(&mirror_folder(transaction)).await?;
    let numbers = files.iter().filter_map(|file| Some(mirror_number(&file.name)?.1));
    let reads = numbers.map(async |number| {
        let line = backend.read(&mirror_name(transaction, number)).await?;
        Ok::<_, BackendError>((number, line))
    });
    let reads = futures::stream::iter(reads.collect::<Vec<_>>());
    Ok(reads.buffered(PARALLEL_RECORDS).try_collect().await?)
}

/// Every transaction in the repository with the numbers of its records, sorted.
pub(super) async fn mirrored_transactions(
    backend: &dyn Backend,
) -> Result<BTreeMap<TransactionId, Vec<u64>>, JournalError> {
    let mut found: BTreeMap<TransactionId, Vec<u64>> = BTreeMap::new();
    for file in backend.list(FOLDER).await? {
        if let Some((transaction, number)) = mirror_number(&file.name) {
            found.entry(transaction).or_default().push(number);
        }
    }
    found.values_mut().for_each(|numbers| numbers.sort_unstable());
    Ok(found)
}

/// The first number that is missing before a later one, of sorted ones.
pub(super) fn first_gap(numbers: impl IntoIterator<Item = u64>) -> Option<u64> {
    (0..).zip(numbers).find(|(wanted, number)| wanted != number).map(|(wanted, _)| wanted)
}
