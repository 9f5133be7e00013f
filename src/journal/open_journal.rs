//! A transaction's journal, open for going on.
//!
//! In: a store and events. Out: the state, always the one that the durable records give.
//! Invariants: an event that cannot follow is refused before anything is written; `append` returns `Ok` after the
//! record is durable and not before; once an append failed, or was dropped half-way, nothing more is appended.

use jiff::Timestamp;

use super::chain::Chain;
use super::error::{JournalError, Place};
use super::event::{Begun, Event};
use super::journal_store::JournalStore;
use super::mirror::mirror_folder;
use super::record::Record;
use super::state::State;
use super::transaction_id::TransactionId;

/// A transaction that this process works on.
#[derive(Debug)]
pub struct OpenJournal {
    store: Box<dyn JournalStore>,
    chain: Chain,
    state: State,
    /// Every append so far is known to be durable.
    sure: bool,
}

impl OpenJournal {
    /// Begins a transaction. `Ok`: it is decided, and whoever finds it goes on with it.
    ///
    /// # Errors
    /// It has begun already, or its first record cannot be made durable.
    pub async fn begin(mut store: Box<dyn JournalStore>, begun: Begun) -> Result<Self, JournalError> {
        let transaction = store.transaction().clone();
        if !store.load().await?.is_empty() {
            return Err(JournalError::Begun { transaction });
        }
        let (chain, state) = (Chain::new(transaction), State::new(begun.clone()));
        let mut journal = Self { store, chain, state, sure: true };
        journal.append(Event::Begun(begun)).await?;
        Ok(journal)
    }

    /// Goes on with a transaction, and says so in it: the process before, if it still lives somewhere, is told at its
    /// next record that the transaction is not its own any more.
    ///
    /// # Errors
    /// There is no such transaction, it has ended, or its copies cannot be relied on.
    pub async fn resume(mut store: Box<dyn JournalStore>, tool: &str, holder: &str) -> Result<Self, JournalError> {
        let transaction = store.transaction().clone();
        let lines = store.load().await?;
        let chain = Chain::read(&transaction, &lines).map_err(|source| {
            JournalError::unreliable(&transaction, Place::Repository(mirror_folder(&transaction)), source)
        })?;
        let Some(state) = chain.state().cloned() else { return Err(JournalError::Missing { transaction }) };
        if state.ended().is_some() {
            return Err(JournalError::Ended { transaction });
        }
        let mut journal = Self { store, chain, state, sure: true };
        journal.append(Event::Resumed { tool: tool.to_owned(), holder: holder.to_owned() }).await?;
        Ok(journal)
    }

    /// Writes the next record.
    ///
    /// # Errors
    /// `Illegal`: nothing was written, and the journal can go on. `Taken`: somebody else works on this transaction;
    /// whoever is told so must not touch the cluster again. After any other error nobody knows whether the record is
    /// there: what it announces must not be done, and the transaction has to be resumed from its journal.
    pub async fn append(&mut self, event: Event) -> Result<(), JournalError> {
        let transaction = || self.chain.transaction().clone();
        if !self.sure {
            return Err(JournalError::Unsure { transaction: transaction() });
        }
        let prepared = self.chain.prepare(event, Timestamp::now());
        let (record, state) =
            prepared.map_err(|source| JournalError::Illegal { transaction: transaction(), source })?;
        let line = record.to_line().map_err(JournalError::Unwritable)?;
        // Until the store has answered: this future may be dropped before that.
        self.sure = false;
        self.store.append(record.number, &line).await?;
        self.sure = true;
        self.chain.take(record, &line, state.clone());
        self.state = state;
        Ok(())
    }

    /// Whose journal it is.
    pub const fn transaction(&self) -> &TransactionId {
        self.chain.transaction()
    }

    /// Where the transaction stands.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Its records, oldest first.
    pub fn records(&self) -> &[Record] {
        self.chain.records()
    }

    /// Records that only this machine has.
    pub fn unmirrored(&self) -> u64 {
        self.store.unmirrored()
    }

    /// Tries to give them to the repository too.
    ///
    /// # Errors
    /// It still fails, or somebody else continued this transaction.
    pub async fn catch_up(&mut self) -> Result<(), JournalError> {
        self.store.catch_up().await
    }
}
