//! What helm-controller will make of a HelmRelease, as values with their words.

use std::fmt;

/// A HelmRelease that will not be left alone when a plan is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The HelmRelease, `namespace/name`.
    pub release: String,
    /// What helm-controller would find of it in the snapshot; `None` when it is not there.
    pub in_snapshot: Option<State>,
    /// What it would find as things are now.
    pub now: Option<State>,
    /// What it will find when the plan is done.
    pub after: State,
}

impl Verdict {
    /// The plan is to blame: it is so neither in the snapshot nor now.
    pub fn is_refused(&self) -> bool {
        let known = [self.in_snapshot.as_ref(), self.now.as_ref()];
        !self.after.is_at_rest() && !known.contains(&Some(&self.after))
    }
}

/// What helm-controller finds. The names are its own (internal/reconcile/state.go), but for `NotInstalled`, which it
/// calls absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Everything is as it should be.
    InSync,
    /// The release is its own, but not what the HelmRelease asks for.
    OutOfSync {
        /// What differs.
        why: Differs,
    },
    /// The stored release is not the one that the HelmRelease's status tells of.
    Unmanaged {
        /// In which way.
        why: Strange,
    },
    /// The stored release says that something is under way: Helm died in the middle, or is at work.
    Locked {
        /// `pending-install`, `pending-upgrade` or `pending-rollback`.
        pending: String,
    },
    /// The stored release failed.
    Failed,
    /// There is no release, or only one that was uninstalled.
    NotInstalled,
    /// helm-controller is told not to look.
    Suspended,
    /// The HelmRelease itself is being deleted.
    BeingDeleted,
    /// What will be found cannot be known from here.
    Unknown {
        /// Why.
        why: Unknown,
    },
}

/// Why a release is out of sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Differs {
    /// The source offers another chart than the release was made from.
    Chart {
        /// The release's.
        released: String,
        /// The source's.
        offered: String,
    },
    /// The values are not those of the release.
    Values,
}

/// Why a stored release is not the one that the HelmRelease's status tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Strange {
    /// `status.history` is empty.
    NoHistory,
    /// `status.history` tells of another release, or of another state of this one.
    NotObserved {
        /// The newest number in `status.history`.
        recorded: i64,
        /// The newest number that is stored.
        stored: i64,
    },
}

/// Why nothing can be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// It names no chart, or two.
    ChartReference,
    /// The source of its chart is not there, or has no artifact.
    NoChart {
        /// `Kind namespace/name`.
        source: String,
    },
    /// helm-controller changes the HelmChart first, and source-controller decides what is in it then.
    ChartWillChange {
        /// The field of the HelmChart that is not as the HelmRelease has it.
        field: &'static str,
    },
    /// A ConfigMap or Secret with values, or the key in it, is not there.
    NoValues {
        /// `Kind namespace/name`.
        source: String,
    },
    /// Values that are not understood here.
    UnreadableValues {
        /// `Kind namespace/name`.
        source: String,
    },
    /// It is installed in another cluster, and the release is stored there.
    OtherCluster,
    /// It or its newest stored release cannot be read, or that has a status that helm-controller cannot go on from.
    UnreadableRelease,
    /// Its post-renderers or common metadata were changed and not yet looked at.
    NotYetObserved,
}

impl State {
    /// helm-controller has nothing to do.
    pub fn is_at_rest(&self) -> bool {
        matches!(self, Self::InSync | Self::Suspended)
    }

    /// What helm-controller will do then.
    pub fn then(&self) -> &'static str {
        match self {
            Self::InSync | Self::Suspended => "nothing",
            Self::OutOfSync { .. } | Self::Unmanaged { .. } => "upgrade",
            Self::Locked { .. } => "unlock and upgrade",
            Self::Failed => "retry or roll back",
            Self::NotInstalled => "install",
            Self::BeingDeleted => "uninstall",
            Self::Unknown { .. } => "unknown",
        }
    }

    /// The state in one word.
    pub fn name(&self) -> &'static str {
        match self {
            Self::InSync => "in-sync",
            Self::OutOfSync { .. } => "out-of-sync",
            Self::Unmanaged { .. } => "unmanaged",
            Self::Locked { .. } => "locked",
            Self::Failed => "failed",
            Self::NotInstalled => "not-installed",
            Self::Suspended => "suspended",
            Self::BeingDeleted => "being-deleted",
            Self::Unknown { .. } => "unknown",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InSync => f.write_str("in sync"),
            Self::OutOfSync { why: Differs::Values } => f.write_str("out of sync: its values are others"),
            Self::OutOfSync { why: Differs::Chart { released, offered } } => {
                write!(f, "out of sync: it was made from chart {released}, its source offers {offered}")
            }
            Self::Unmanaged { why: Strange::NoHistory } => f.write_str("unmanaged: its status has no history"),
            Self::Unmanaged { why: Strange::NotObserved { recorded, stored } } if recorded == stored => {
                write!(f, "unmanaged: the stored release {stored} is not as its status tells")
            }
            Self::Unmanaged { why: Strange::NotObserved { recorded, stored } } => {
                write!(f, "unmanaged: its status tells of release {recorded}, the newest stored one is {stored}")
            }
            Self::Locked { pending } => write!(f, "locked: its newest release is {pending}"),
            Self::Failed => f.write_str("failed"),
            Self::NotInstalled => f.write_str("not installed: there is no stored release"),
            Self::Suspended => f.write_str("suspended"),
            Self::BeingDeleted => f.write_str("being deleted"),
            Self::Unknown { why } => write!(f, "in doubt: {why}"),
        }
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ChartReference => f.write_str("it names no chart, or two"),
            Self::NoChart { source } => write!(f, "{source} is not there, or holds no chart"),
            Self::ChartWillChange { field } => write!(f, "its HelmChart has another `{field}` than it asks for"),
            Self::NoValues { source } => write!(f, "{source} with its values is not there"),
            Self::UnreadableValues { source } => write!(f, "the values in {source} are not understood"),
            Self::OtherCluster => f.write_str("it is installed in another cluster"),
            Self::UnreadableRelease => f.write_str("it or its newest stored release cannot be read"),
            Self::NotYetObserved => f.write_str("its post-renderers or common metadata may have changed"),
        }
    }
}
