//! What a transaction holds, as planning, writing and proving have to see it.
//!
//! In: objects of either side. Out: the same objects as they are while they are held, so that a plan neither takes the
//! hold for a difference nor undoes it, and what comes back during the restore comes back held.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::journal::{Held, HeldItem, Prior};

use super::super::object;
use super::mark::overlay;

/// On what Flux has to clean up after (fluxcd.io, `kustomize`, `source` and `helm-controller` alike).
const FLUX_FINALIZER: &str = "finalizers.fluxcd.io";

/// Whoever would take this finalizer off is among what is held still.
pub fn held_answer_for<'a>(finalizer: &str, held: impl IntoIterator<Item = &'a Held>) -> bool {
    let is_workload = |item: &Held| matches!(item, Held::Deployment { .. } | Held::StatefulSet { .. });
    finalizer == FLUX_FINALIZER && held.into_iter().any(is_workload)
}

/// What one transaction holds. By default nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    transaction: String,
    by_path: BTreeMap<String, (Held, Prior)>,
}

impl Holding {
    /// What the journal says that this transaction holds.
    pub fn new(transaction: &str, held: &[HeldItem]) -> Self {
        let by_path =
            held.iter().map(|held| (held.item.object_path().to_tree_path(), (held.item.clone(), held.was.clone())));
        Self { transaction: transaction.to_owned(), by_path: by_path.collect() }
    }

    /// Whoever would take this finalizer off is held still: Flux's controllers all have the same one.
    pub(in crate::restore) fn answers_for(&self, finalizer: &str) -> bool {
        held_answer_for(finalizer, self.by_path.values().map(|(item, _)| item))
    }

    /// Nothing is planned for it meanwhile: it is away, and comes back at the end.
    pub(in crate::restore) fn hides(&self, path: &str) -> bool {
        matches!(self.by_path.get(path), Some((Held::ApiService { .. }, _)))
    }

    /// Makes of an object of a snapshot, or of the cluster, what it is while it is held; any other one is left as it is.
    /// Its field managers do not count meanwhile: they are put back with the rest at the end.
    pub(in crate::restore) fn overlay(&self, path: &str, value: &mut Value) {
        if let Some((item, was)) = self.by_path.get(path) {
            overlay(item, was, &self.transaction, value);
            object::remove(value, "/metadata", "managedFields");
        }
    }
}
