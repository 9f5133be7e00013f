//! What a proof found.

use serde::Serialize;

use super::comparison::Allowed;

/// The cluster captured again and compared with what was wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Proof {
    /// Differences that nothing explains. Empty means: the cluster is as it was.
    pub unexplained: Vec<Unexplained>,
    /// Objects whose differences all are in the closed list, with the entries that explain them.
    pub explained: Vec<Explained>,
    /// Types that could not be listed: nothing is proven of them.
    pub unlistable: Vec<String>,
    /// Seconds that garbage collection was given; 0 when no owner was made anew.
    pub watched_seconds: u64,
    /// What was not looked at, and why, if something was.
    pub skipped: Option<String>,
}

/// An object that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unexplained {
    /// Path inside the snapshot.
    pub path: String,
    /// How it differs.
    pub difference: Difference,
}

/// How an object is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Difference {
    /// It is in the snapshot, not in the cluster.
    Missing,
    /// It is in the cluster, not in the snapshot.
    Extra,
    /// It has another hash than in the snapshot, and is too large there to be an object at all.
    TooLarge {
        /// Its size in the snapshot.
        bytes: u64,
    },
    /// Some fields differ.
    Fields {
        /// Their names.
        fields: Vec<String>,
    },
}

/// An object that differs only as the closed list allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// Path inside the snapshot.
    pub path: String,
    /// The entries of the closed list.
    pub by: Vec<Allowed>,
}

impl Proof {
    /// No difference is unexplained, and every type was looked at.
    pub fn holds(&self) -> bool {
        self.unexplained.is_empty() && self.unlistable.is_empty()
    }
}
