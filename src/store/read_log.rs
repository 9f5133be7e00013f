//! Reading the whole log.

use futures::{StreamExt as _, TryStreamExt as _};

use super::backend::{Backend, BackendError};
use super::error::StoreError;
use super::history::History;
use super::log_entry::{entry_name, entry_number};

/// Entries read at the same time.
const PARALLEL_ENTRIES: usize = 16;

/// Reads every entry from 0 to the newest. Gaps and damaged entries are problems of the history, not errors: what is
/// whole must stay readable.
pub(crate) async fn read_log(backend: &dyn Backend) -> Result<History, StoreError> {
    let files = backend.list("log/").await?;
    let newest = files.iter().filter_map(|file| entry_number(&file.name)).max();
    let mut history = History::default();
    let Some(newest) = newest else { return Ok(history) };
    let mut entries = futures::stream::iter(0..=newest)
        .map(|number| async move {
            match backend.read(&entry_name(number)).await {
                Ok(bytes) => Ok((number, Ok(bytes))),
                Err(BackendError::NotFound { name }) => Ok((number, Err(name))),
                Err(error) => Err(StoreError::Backend(error)),
            }
        })
        .buffered(PARALLEL_ENTRIES);
    while let Some((number, bytes)) = entries.try_next().await? {
        let missing = |file: String| StoreError::Damaged { file, what: "it is missing".to_owned() };
        history.push(number, bytes.as_deref().map_err(|name| missing(name.clone())));
    }
    Ok(history)
}
