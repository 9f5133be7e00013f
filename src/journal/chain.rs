//! A transaction's records, each checked against those before it.
//!
//! In: lines in their order. Out: the records and the state that they fold to.
//! Invariant: what is in a chain is whole, gapless, of one transaction, and legal.

use jiff::Timestamp;

use super::event::Event;
use super::record::{Record, RecordError};
use super::state::State;
use super::transaction_id::TransactionId;
use super::transition::{IllegalEvent, next};
use crate::store::ContentHash;

/// Checked records.
#[derive(Clone, Debug)]
pub struct Chain {
    transaction: TransactionId,
    records: Vec<Record>,
    /// SHA-256 of the newest line.
    newest: Option<ContentHash>,
    state: Option<State>,
}

impl Chain {
    /// No record yet.
    pub const fn new(transaction: TransactionId) -> Self {
        Self { transaction, records: Vec::new(), newest: None, state: None }
    }

    /// All of a transaction's lines.
    ///
    /// # Errors
    /// One of them is not the record that belongs there.
    pub fn read(transaction: &TransactionId, lines: &[Vec<u8>]) -> Result<Self, RecordError> {
        let mut chain = Self::new(transaction.clone());
        lines.iter().try_for_each(|line| chain.push(line))?;
        Ok(chain)
    }

    /// Takes the next line.
    ///
    /// # Errors
    /// It is not the record that belongs there; the chain is as before.
    pub fn push(&mut self, line: &[u8]) -> Result<(), RecordError> {
        let number = self.len();
        let record = Record::parse(&self.transaction, number, line)?;
        if record.previous != self.newest {
            let what = "it does not name the SHA-256 of the record before it".to_owned();
            return Err(RecordError::Misplaced { number, what });
        }
        let state =
            next(self.state.as_ref(), &record.event).map_err(|source| RecordError::Illegal { number, source })?;
        self.take(record, line, state);
        Ok(())
    }

    /// The record that an event would be, and the state after it. Changes nothing.
    pub(super) fn prepare(&self, event: Event, time: Timestamp) -> Result<(Record, State), IllegalEvent> {
        let state = next(self.state.as_ref(), &event)?;
        let (transaction, number, previous) = (self.transaction.clone(), self.len(), self.newest);
        Ok((Record { transaction, number, previous, time, event }, state))
    }

    /// Takes what [`Self::prepare`] made, once its line is durable.
    pub(super) fn take(&mut self, record: Record, line: &[u8], state: State) {
        self.newest = Some(ContentHash::of(line));
        self.records.push(record);
        self.state = Some(state);
    }

    /// Whose records these are.
    pub const fn transaction(&self) -> &TransactionId {
        &self.transaction
    }

    /// The records, oldest first.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.records.len() as u64
    }

    /// There is no record.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// What they fold to; none without a record.
    pub const fn state(&self) -> Option<&State> {
        self.state.as_ref()
    }
}
