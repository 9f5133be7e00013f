//! What a verification found, as a value.

use serde::Serialize;

use crate::store::Head;

/// How thoroughly to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum VerifyLevel {
    /// Every file that a snapshot needs is there with the right size; the log and the small files are read.
    Names,
    /// And every file has the SHA-256 in its name.
    Bytes,
    /// And every member of every pack has its own hash, every tree can be read, every reference leads somewhere, and
    /// an etcd file ends with the hash that etcd gave it.
    Objects,
}

/// What to verify.
#[derive(Clone, Debug)]
pub struct VerifyOptions {
    /// How thoroughly.
    pub level: VerifyLevel,
    /// The newest log entry that this machine saw, remembered outside the repository.
    pub remembered: Option<Head>,
}

/// How much was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Files.
    pub files: u64,
    /// Bytes of these files that were read.
    pub bytes: u64,
    /// Live snapshots.
    pub snapshots: u64,
    /// Members of packs whose hash was checked (level `Objects`).
    pub members: u64,
    /// Files of several segments, such as an etcd snapshot, that were put together and checked (level `Objects`).
    pub big_files: u64,
}

/// One file that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// Name relative to the repository.
    pub file: String,
    /// What is wrong with it.
    pub what: String,
    /// Numbers of the live snapshots that it costs something.
    pub snapshots: Vec<u64>,
    /// Paths in these snapshots that cannot be restored, the first few.
    pub objects: Vec<String>,
    /// How many such paths there are in all.
    pub object_count: u64,
}

impl Damage {
    pub(super) fn new(file: impl Into<String>, what: impl Into<String>, snapshots: Vec<u64>) -> Self {
        Self { file: file.into(), what: what.into(), snapshots, objects: Vec::new(), object_count: 0 }
    }
}

/// What a verification found.
#[derive(Clone, Debug, Serialize)]
pub struct VerifyReport {
    /// How thoroughly it looked.
    pub level: VerifyLevel,
    /// How much it looked at.
    pub checked: Checked,
    /// The newest log entry; to be remembered when there is no damage.
    pub head: Option<Head>,
    /// What is damaged, by file name.
    pub damage: Vec<Damage>,
    /// What is odd, but costs nothing: foreign files, packs that no snapshot needs.
    pub notes: Vec<String>,
}

impl VerifyReport {
    /// No damage.
    pub fn is_sound(&self) -> bool {
        self.damage.is_empty()
    }
}
