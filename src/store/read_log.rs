//! Reading the whole log.

use futures::{StreamExt as _, TryStreamExt as _};

use super::backend::{Backend, BackendError};
use super::error::StoreError;
use super::history::History;
use super::log_entry::{entry_name, entry_number};

/// Entries read at the same time.
const PARALLEL_ENTRIES: usize = 16;

/// Missing entries in a row that are each named; none of a sound repository is missing.
const LISTED_GAP: usize = 1000;

/// Reads every entry from 0 to the newest. Gaps and damaged entries are problems of the history, not errors: what is
/// whole must stay readable.
pub(crate) async fn read_log(backend: &dyn Backend) -> Result<History, StoreError> {
    let files = backend.list("log/").await?;
    let mut numbers: Vec<u64> = files.iter().filter_map(|file| entry_number(&file.name)).collect();
    numbers.sort_unstable();
    let mut history = History::default();
    let mut entries = futures::stream::iter(numbers)
        .map(|number| async move {
            match backend.read(&entry_name(number)).await {
                Ok(bytes) => Ok((number, Some(bytes))),
                Err(BackendError::NotFound { .. }) => Ok((number, None)),
                Err(error) => Err(StoreError::Backend(error)),
            }
        })
        .buffered(PARALLEL_ENTRIES);
    let missing = |number| StoreError::Damaged { file: entry_name(number), what: "it is missing".to_owned() };
    let mut next = 0;
    while let Some((number, bytes)) = entries.try_next().await? {
        // A file with an absurd number must not make anyone count up to it.
        for gap in (next..number).take(LISTED_GAP) {
            history.push(gap, Err(missing(gap)));
        }
        history.push(number, bytes.as_deref().ok_or_else(|| missing(number)));
        next = number.saturating_add(1);
    }
    Ok(history)
}
