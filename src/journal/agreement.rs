//! What two copies of a journal say together.
//!
//! In: the lines of both, as they lie there. Out: all records, checked. Of two whole copies one is the beginning of the
//! other. Where one is damaged, each record is taken from the copy that has it whole, and the chain of hashes vouches
//! for the result.
//! Invariants: nobody goes on with a transaction unless one copy is the beginning of the other, or only lacks records
//! that the other has (design: what disagrees is a person's to choose); one that has ended is only read, so for it
//! whatever together makes a whole chain is enough; a record that a later program wrote is never passed over.

use std::collections::BTreeMap;
use std::path::Path;

use super::chain::Chain;
use super::error::{JournalError, Place};
use super::mirror::{first_gap, mirror_folder, mirror_name};
use super::record::{Record, RecordError};
use super::transaction_id::TransactionId;

/// All lines and what they fold to; none when neither copy has any.
type Whole = (Vec<Vec<u8>>, Chain);

/// Judges both copies: the lines of the local file, or why it has none, and the files in the repository by number.
pub(super) fn agreed(
    transaction: &TransactionId,
    local: &Path,
    here: Result<Vec<Vec<u8>>, JournalError>,
    there: &BTreeMap<u64, Vec<u8>>,
) -> Result<Whole, JournalError> {
    // Each by itself first: what is damaged should not be called a conflict.
    let (here, chain_here) = match here {
        Ok(lines) => {
            let chain = Chain::read(transaction, &lines);
            (lines, chain)
        }
        Err(JournalError::Unreliable { source, .. }) => (Vec::new(), Err(*source)),
        Err(error) => return Err(error),
    };
    let chain_there = match first_gap(there.keys().copied()) {
        Some(number) => Err(RecordError::Missing { number }),
        None => Chain::read(transaction, &there.values().cloned().collect::<Vec<_>>()),
    };
    differing(transaction, local, &here, there)?;
    let unreliable = |place: Place, other_is_whole: bool, source: RecordError| {
        let transaction = transaction.clone();
        JournalError::Unreliable { transaction, place, other_is_whole, source: Box::new(source) }
    };
    let place_here = || Place::Local(local.to_owned());
    let place_there = |error: &RecordError| Place::Repository(mirror_name(transaction, error.number()));
    match (chain_here, chain_there) {
        (Ok(whole), Ok(other)) if whole.len() >= other.len() => Ok((here, whole)),
        (Ok(_), Ok(whole)) => Ok((there.values().cloned().collect(), whole)),
        // Nothing of it is damaged or unknown: it is a copy of the same records, without some.
        (Ok(whole), Err(RecordError::Missing { .. })) if covers(&here, there) => Ok((here, whole)),
        (Ok(other), Err(error)) => together(transaction, &here, there, &error).ok_or_else(|| {
            let place = place_there(&error);
            unreliable(place, !other.is_empty(), error)
        }),
        (Err(error), Ok(other)) => together(transaction, &here, there, &error)
            .ok_or_else(|| unreliable(place_here(), !other.is_empty(), error)),
        (Err(error), Err(other)) => {
            let newer = other.is_newer();
            let whole = together(transaction, &here, there, &error).filter(|_| !newer);
            whole.ok_or_else(|| match newer {
                true => unreliable(place_there(&other), false, other),
                false => {
                    let (transaction, local, mirror) =
                        (transaction.clone(), local.to_owned(), mirror_folder(transaction));
                    JournalError::Lost { transaction, local, mirror, source: Box::new(error) }
                }
            })
        }
    }
}

/// Every record that the repository has is the one here, and the newest is not there alone.
fn covers(here: &[Vec<u8>], there: &BTreeMap<u64, Vec<u8>>) -> bool {
    there.iter().all(|(number, line)| at(here, *number) == Some(line))
}

fn at(lines: &[Vec<u8>], number: u64) -> Option<&Vec<u8>> {
    lines.get(usize::try_from(number).ok()?)
}

/// A transaction that has ended, each record from the copy that has it whole.
fn together(
    transaction: &TransactionId,
    here: &[Vec<u8>],
    there: &BTreeMap<u64, Vec<u8>>,
    error: &RecordError,
) -> Option<Whole> {
    if error.is_newer() {
        return None;
    }
    let (mut lines, mut chain) = (Vec::new(), Chain::new(transaction.clone()));
    for number in 0.. {
        let copies = [at(here, number), there.get(&number)];
        // Whatever lies behind the last record that is whole, if that one says that it is over, is no record.
        let Some(line) = copies.into_iter().flatten().find(|line| chain.push(line).is_ok()) else { break };
        lines.push(line.clone());
    }
    chain.state().is_some_and(|state| state.ended().is_some()).then_some((lines, chain))
}

/// Two whole records of the same number that are not the same are a conflict, not damage.
fn differing(
    transaction: &TransactionId,
    local: &Path,
    here: &[Vec<u8>],
    there: &BTreeMap<u64, Vec<u8>>,
) -> Result<(), JournalError> {
    let is_whole = |number, line: &[u8]| Record::parse(transaction, number, line).is_ok();
    let differs = |number: &u64| match (at(here, *number), there.get(number)) {
        (Some(here), Some(there)) => here != there && is_whole(*number, here) && is_whole(*number, there),
        _ => false,
    };
    match there.keys().copied().find(differs) {
        Some(number) => {
            let (transaction, local) = (transaction.clone(), local.to_owned());
            let mirror = mirror_name(&transaction, number);
            Err(JournalError::Conflict { transaction, number, local, mirror })
        }
        None => Ok(()),
    }
}
