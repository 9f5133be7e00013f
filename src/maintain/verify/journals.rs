//! The journals of transactions: is each still the chain that was written?
//!
//! In: the files below `journal/`. Out: which of them are not what was written. Invariant: every flipped, missing or
//! added byte is found, save that a journal's newest records are missing, which only the copy on the machine that wrote
//! them can tell.

use std::collections::BTreeMap;

use crate::journal::{Chain, Record, RecordError, TransactionId, mirror_name, mirror_number};
use crate::store::StoreError;
use crate::store::backend::{Backend, BackendError};

/// What the journals look like.
#[derive(Debug, Default)]
pub(super) struct JournalFindings {
    /// Files that are not what was written, and why.
    pub(super) damage: Vec<(String, String)>,
    /// What a later program wrote.
    pub(super) notes: Vec<String>,
    /// Records read.
    pub(super) files: u64,
    /// Their bytes.
    pub(super) bytes: u64,
}

/// Reads every record and checks its chain.
pub(super) async fn check_journals(
    backend: &dyn Backend,
    names: impl Iterator<Item = &str>,
) -> Result<JournalFindings, StoreError> {
    let mut transactions: BTreeMap<TransactionId, Vec<u64>> = BTreeMap::new();
    for (transaction, number) in names.filter_map(mirror_number) {
        transactions.entry(transaction).or_default().push(number);
    }
    let mut findings = JournalFindings::default();
    for (transaction, mut numbers) in transactions {
        numbers.sort_unstable();
        let mut chain = Chain::new(transaction.clone());
        let mut broken = false;
        for number in numbers {
            let name = mirror_name(&transaction, number);
            let line = match backend.read(&name).await {
                Ok(line) => line,
                // Nobody deletes a record; the next one says that this one is missing.
                Err(BackendError::NotFound { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            findings.files += 1;
            findings.bytes += line.len() as u64;
            let expected = chain.len();
            let outcome = if broken {
                // What follows a broken record can only be looked at by itself.
                Record::parse(&transaction, number, &line).map(drop)
            } else if number == expected {
                chain.push(&line)
            } else {
                let missing = RecordError::Missing { number: expected };
                findings.damage.push((mirror_name(&transaction, expected), missing.to_string()));
                broken = true;
                Record::parse(&transaction, number, &line).map(drop)
            };
            if let Err(error) = outcome {
                broken = true;
                let (name, what) = (name, describe(&error));
                if error.is_newer() {
                    findings.notes.push(format!("`{name}`: {what}"));
                } else {
                    findings.damage.push((name, what));
                }
            }
        }
    }
    Ok(findings)
}

fn describe(error: &RecordError) -> String {
    match error {
        RecordError::Illegal { source, .. } => format!("{error}: {source}"),
        error => error.to_string(),
    }
}
