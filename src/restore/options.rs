//! What the person who restores may choose.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::snapshot::Selection;

use super::dry_run::Tried;
use super::quiesce::Holding;
use super::recorded_types::Unsaved;

/// How a restore goes about its work.
#[derive(Clone, Debug)]
pub struct RestoreOptions {
    /// Which objects.
    pub selection: Selection,
    /// Names of never-list rules that do not hold this time.
    pub force_kinds: Vec<String>,
    /// How long something that is being deleted, or a CRD that is being accepted, is waited for.
    pub patience: Duration,
    /// How many objects are written at once.
    pub parallel: usize,
    /// The platform's controllers run, so that the status of a custom resource is what its controller reports now, and
    /// proves nothing. Off while they are held still, when it has to be what the snapshot says.
    pub running: bool,
    /// What is held still meanwhile, and neither shows as a difference nor is started by the restore.
    pub holding: Holding,
    /// What becomes of types that were added since and have objects.
    pub added_types: AddedTypes,
    /// What the API server said to an earlier plan.
    pub tried: Tried,
    /// What the snapshot that `undo` goes back to does not hold: nothing of it is changed or deleted.
    pub unsaved: Unsaved,
    /// What an earlier round waited for in vain: nothing waits as long for it again.
    pub in_vain: BTreeSet<String>,
}

/// What becomes of a CRD that the snapshot does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AddedTypes {
    /// It goes only when it has no objects but those that are deleted on their own.
    #[default]
    KeepInUse,
    /// It goes, and its objects with it.
    Delete,
}

impl RestoreOptions {
    /// The usual: four minutes for what hangs, eight connections. A type that was added stays while it is used.
    pub fn new(selection: Selection) -> Self {
        Self {
            selection,
            force_kinds: Vec::new(),
            patience: Duration::from_secs(240),
            parallel: 8,
            running: false,
            holding: Holding::default(),
            added_types: AddedTypes::default(),
            tried: Tried::default(),
            unsaved: Unsaved::default(),
            in_vain: BTreeSet::new(),
        }
    }
}

/// Whether the proof gives garbage collection its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wait {
    /// When owners were made anew, look again after 90 seconds: garbage collection was seen to take 84.
    #[default]
    Full,
    /// Do not; the proof says what it skipped.
    Skip,
}
