//! The closed list: what may differ after a restore, and why.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An entry of the closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Allowed {
    /// `metadata.uid`.
    Uid,
    /// `metadata.resourceVersion`.
    ResourceVersion,
    /// `metadata.creationTimestamp`.
    CreationTimestamp,
    /// `metadata.generation`.
    Generation,
    /// What the API server writes into a CRD that it accepts.
    CrdConditions,
    /// Marks of the volume controller on a claim and its volume.
    VolumeBinding,
    /// The UID in a reference to an owner that was made anew.
    OwnerUid,
    /// References to owners that are gone, which garbage collection took off; or what had no other owners, and went with
    /// them.
    OwnerCollected,
    /// A status (and its field managers) that a running controller owns.
    ControllerStatus,
    /// A field outside the status that a running controller counts in.
    ControllerField,
    /// The UID of a Job in its own selector and labels.
    JobUid,
    /// The token that the controller manager issues for a ServiceAccount.
    ServiceAccountToken,
    /// It was being deleted when the snapshot was taken.
    WasTerminating,
    /// The never-list.
    NeverList,
    /// A type that was added and is used.
    TypeInUse,
}

impl Allowed {
    /// Every entry, in the order in which they are printed.
    pub const ALL: [Self; 15] = [
        Self::Uid,
        Self::ResourceVersion,
        Self::CreationTimestamp,
        Self::Generation,
        Self::CrdConditions,
        Self::VolumeBinding,
        Self::OwnerUid,
        Self::OwnerCollected,
        Self::ControllerStatus,
        Self::ControllerField,
        Self::JobUid,
        Self::ServiceAccountToken,
        Self::WasTerminating,
        Self::NeverList,
        Self::TypeInUse,
    ];

    /// Why it may differ.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Uid => "the API server gives each new object a UID of its own",
            Self::ResourceVersion => "it counts writes and only goes up",
            Self::CreationTimestamp => "the API server sets it when an object is made",
            Self::Generation => "it counts changes and only goes up",
            Self::CrdConditions => "the API server writes a CRD's status when it accepts it",
            Self::VolumeBinding => "the volume controller notes how a claim was bound",
            Self::OwnerUid => "the owner is back under a new UID, and the reference names it",
            Self::OwnerCollected => {
                "garbage collection takes off references to owners that are gone, and what only they owned"
            }
            Self::ControllerStatus => "a running controller owns this status and reports what is true now",
            Self::ControllerField => "a running controller counts in this field",
            Self::JobUid => "the API server writes a Job's own UID into its selector and labels",
            Self::ServiceAccountToken => "the controller manager issued a token for the ServiceAccount's new UID",
            Self::WasTerminating => "it was being deleted when the snapshot was taken",
            Self::NeverList => "a restore never touches it",
            Self::TypeInUse => "it was added and has objects that would go with it",
        }
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}
