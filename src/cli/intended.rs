//! What a rollback or an undo is to bring about.

use snapback::journal::Purpose;
use snapback::restore::RollbackScope;
use snapback::rollback::ReviewedPlan;
use snapback::store::Snapshot;

/// What a transaction is to bring about.
pub(crate) struct Intended {
    pub(crate) purpose: Purpose,
    pub(crate) snapshot: Snapshot,
    pub(crate) scope: RollbackScope,
    /// What is agreed to apart.
    pub(crate) force: Vec<String>,
    /// The plan that has to be the one, if there is one.
    pub(crate) reviewed: Option<ReviewedPlan>,
    /// What to type for it.
    pub(crate) command: String,
}

impl Intended {
    /// Whether this was agreed to.
    pub(crate) fn agrees_to(&self, name: &str) -> bool {
        self.force.iter().any(|agreed| agreed == name)
    }
}
