//! A plan: every action of a restore in the order it will be done, as a value.
//!
//! Invariants: a plan holds hashes and names of fields, never a body or a value (I10); every action on something that
//! exists is bound to the UID and resourceVersion it was computed from.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::snapshot::ObjectPath;
use crate::store::ContentHash;

use super::address::TypeAddress;
use super::judge::is_report;
use super::refuser::Refuser;
use super::storage_versions::StoragePlan;
use super::tokens;
use super::volumes::{KEPT, holds_data};

/// What a restore will do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Root of the capture of the live cluster.
    pub live: ContentHash,
    /// Root of the wanted snapshot.
    pub wanted: ContentHash,
    /// The selection's canonical text, empty for everything.
    pub scope: String,
    /// In the order of their execution. Actions of the same wave do not depend on each other.
    pub actions: Vec<Action>,
    /// What differs and is left alone.
    pub skipped: Vec<Skipped>,
    /// Objects that differ only in what the closed list explains.
    pub explained: u64,
    /// UIDs in the snapshot of objects that exist, with the UIDs they have now.
    pub uids: BTreeMap<String, String>,
    /// Running pods whose tokens end, by the path of the ServiceAccount that gets another UID or goes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tokens: BTreeMap<String, Vec<String>>,
    /// Paths of what goes, or is in what goes, by the finalizer that it waits for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub finalizers: BTreeMap<String, Vec<String>>,
}

/// One step on one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// Path inside the snapshot.
    pub path: String,
    /// What is done.
    pub operation: Operation,
    /// Where its type is served.
    pub address: TypeAddress,
    /// Actions of one wave may run side by side; a wave begins when the one before it has ended.
    pub wave: u32,
    /// The live object that this was computed from.
    pub bound: Option<Bound>,
    /// Content in the wanted snapshot.
    pub wanted: Option<ContentHash>,
    /// Content in the capture of the live cluster.
    pub live: Option<ContentHash>,
    /// No dry run has checked this.
    pub unchecked: bool,
    /// Who would refuse this as things are now. It is tried nevertheless: what refuses may be gone by then.
    pub refused: Option<Refuser>,
    /// Paths whose own actions must have ended well before this one: its CRD, its namespace, its owners.
    pub needs: Vec<String>,
    /// UIDs that give way to that of the object this makes.
    pub replaces: Vec<String>,
    /// UIDs of owners that are gone and do not come back: written with a reference to them, the object would be
    /// collected at once.
    pub drops: Vec<String>,
}

/// The state of a live object that an action is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
}

/// What is done to an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "action")]
pub enum Operation {
    /// Takes references to owners that are gone off a live dependent, so that garbage collection does not eat it
    /// when the owner's type returns.
    Release {
        /// UIDs of the owners that are gone.
        uids: Vec<String>,
        /// Those of them whose owner does not come back, though its type does.
        lasting: Vec<String>,
    },
    /// Gives a live dependent that is not itself restored its references back, with the owners' new UIDs.
    Readopt {
        /// UIDs that the owners had.
        uids: Vec<String>,
    },
    /// Makes what is missing.
    Create {
        /// The live object of that name is being deleted: its end is waited for first.
        after_gone: bool,
    },
    /// Changes what is there.
    Update {
        /// Names of the fields that differ.
        fields: Vec<String>,
    },
    /// Changes a CRD whose objects are stored at versions that the wanted one does not have among its own: every object
    /// of the type, in the scope or not, is written anew.
    Convert {
        /// What that does to the objects.
        storage: Box<StoragePlan>,
    },
    /// Deletes and makes anew, since a field cannot be changed.
    Recreate {
        /// What the API server said.
        reason: String,
        /// What it owns stays meanwhile.
        orphan: bool,
    },
    /// Deletes what the snapshot does not have.
    Delete {
        /// Objects that go with it: those of a CRD's type, or those in a namespace.
        objects: u64,
        /// What it owns stays.
        orphan: bool,
    },
}

/// Something that differs and is left alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Path inside the snapshot.
    pub path: String,
    /// Why.
    pub reason: SkipReason,
}

/// Why what could not be read before is left alone.
const UNSAVED: &str = "it could not be read when the snapshot of before was taken, so `undo` could not bring it back; \
                       restoring the same snapshot once more saves it first";

/// Why something is left alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "reason")]
pub enum SkipReason {
    /// A rule of the never-list.
    NeverList {
        /// The rule's name.
        rule: String,
    },
    /// It was being deleted when the snapshot was taken.
    WasTerminating,
    /// No API server offers its type, and the snapshot does not bring it.
    NotServed {
        /// Its `apiVersion`.
        api_version: String,
    },
    /// It can only be changed by deleting it, and a volume's data could go with it.
    VolumeAtRisk {
        /// The fields in the way, by name.
        fields: String,
        /// The volume that it is bound to.
        volume: Option<String>,
    },
    /// No API server can have held an object of that size.
    TooLarge {
        /// Its size.
        bytes: u64,
    },
    /// It lies in a namespace that neither exists nor comes back.
    NoNamespace,
    /// All its owners are gone and are never brought back: it would be collected at once.
    OwnersStayGone,
    /// Objects of a type that has to be converted before they can be compared: another round does it.
    ComparedLater {
        /// How many differ as they are read now.
        objects: u64,
    },
    /// A namespace that was added, and that may hold objects of types which could not be listed: no snapshot would have
    /// them.
    UnreadInside {
        /// Those types.
        types: Vec<String>,
    },
    /// An object of a type that the snapshot of what was there before could not read.
    Unsaved,
    /// A type that was added and has objects which would go with it.
    TypeInUse {
        /// How many of them nothing else of the plan deletes; `None` when they cannot be listed.
        objects: Option<u64>,
    },
}

/// How many actions of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Objects made.
    pub create: usize,
    /// Objects changed.
    pub update: usize,
    /// Types whose objects are stored at another version.
    pub convert: usize,
    /// Objects deleted and made anew.
    pub recreate: usize,
    /// Objects deleted.
    pub delete: usize,
    /// Live dependents that are let go of meanwhile.
    pub release: usize,
    /// Live dependents that are not restored themselves and get their references back.
    pub readopt: usize,
    /// What differs and is left alone.
    pub skip: usize,
}

/// A line of a plan that a person should read before saying yes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Danger {
    /// Path inside the snapshot.
    pub path: String,
    /// What will be lost.
    pub text: String,
}

impl Plan {
    /// Nothing to do.
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }

    /// It would do no more than put back what running controllers report: they would report the same again.
    pub fn only_reports(&self) -> bool {
        self.actions.iter().all(|action| action.operation.only_reports())
    }

    /// How many objects differ and should not, and yet nothing can be done about them: what the never-list covers and
    /// what was going away anyway is left alone on purpose and does not count.
    pub fn out_of_reach(&self) -> usize {
        let on_purpose = |reason: &SkipReason| match reason {
            SkipReason::NeverList { .. }
            | SkipReason::WasTerminating
            | SkipReason::OwnersStayGone
            | SkipReason::ComparedLater { .. }
            | SkipReason::TypeInUse { .. } => true,
            SkipReason::NotServed { .. }
            | SkipReason::VolumeAtRisk { .. }
            | SkipReason::TooLarge { .. }
            | SkipReason::UnreadInside { .. }
            | SkipReason::Unsaved
            | SkipReason::NoNamespace => false,
        };
        self.skipped.iter().filter(|skipped| !on_purpose(&skipped.reason)).count()
    }

    /// How many types are brought to another storage version before their objects can be compared: another plan does it.
    pub fn compared_later(&self) -> usize {
        let later = |skipped: &&Skipped| matches!(skipped.reason, SkipReason::ComparedLater { .. });
        self.skipped.iter().filter(later).count()
    }

    /// How many actions of each kind.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts { skip: self.skipped.len(), ..Counts::default() };
        for action in &self.actions {
            *match action.operation {
                Operation::Release { .. } => &mut counts.release,
                Operation::Readopt { .. } => &mut counts.readopt,
                Operation::Create { .. } => &mut counts.create,
                Operation::Update { .. } => &mut counts.update,
                Operation::Convert { .. } => &mut counts.convert,
                Operation::Recreate { .. } => &mut counts.recreate,
                Operation::Delete { .. } => &mut counts.delete,
            } += 1;
        }
        counts
    }

    /// Who would refuse something as things are now, and the paths of what.
    pub fn refusals(&self) -> BTreeMap<&Refuser, Vec<&str>> {
        let mut refusals: BTreeMap<&Refuser, Vec<&str>> = BTreeMap::new();
        for action in &self.actions {
            if let Some(refuser) = &action.refused {
                refusals.entry(refuser).or_default().push(&action.path);
            }
        }
        refusals
    }

    /// Everything that takes something away, in the order of its execution.
    pub fn dangers(&self) -> Vec<Danger> {
        let dangers = |action: &Action| match &action.operation {
            Operation::Convert { storage } => storage.dangers(&action.path),
            _ => self.danger(action).map(|text| Danger { path: action.path.clone(), text }).into_iter().collect(),
        };
        self.actions.iter().flat_map(dangers).collect()
    }

    /// What a person should read of one action, if it takes something away.
    pub fn danger(&self, action: &Action) -> Option<String> {
        let mut danger = action.operation.danger();
        let deletes = matches!(action.operation, Operation::Delete { .. } | Operation::Recreate { .. });
        if ObjectPath::parse(&action.path).is_some_and(|path| deletes && holds_data(&path)) {
            danger = danger.map(|danger| format!("{danger}; {KEPT}"));
        }
        let Some(pods) = self.tokens.get(&action.path) else { return danger };
        let danger = danger.unwrap_or_else(|| "is made anew, with a new UID".to_owned());
        Some(format!("{danger}; {}", tokens::told(&action.operation, pods)))
    }

    /// Types whose objects are brought to another storage version, by the path of their CRDs.
    pub fn conversions(&self) -> impl Iterator<Item = (&str, &StoragePlan)> {
        self.actions.iter().filter_map(|action| match &action.operation {
            Operation::Convert { storage } => Some((action.path.as_str(), storage.as_ref())),
            _ => None,
        })
    }
}

impl Operation {
    /// It puts back nothing but what a running controller reports.
    pub fn only_reports(&self) -> bool {
        matches!(self, Self::Update { fields } if fields.iter().all(|field| is_report(field)))
    }

    /// What a person should read before saying yes, if this takes the object or a reference of it away.
    pub fn danger(&self) -> Option<String> {
        match self {
            Self::Recreate { reason, .. } => Some(format!("is deleted and made anew, with a new UID: {reason}")),
            Self::Delete { objects: 0, .. } => Some("is deleted".to_owned()),
            Self::Delete { objects: 1, .. } => Some("is deleted, and 1 object with it".to_owned()),
            Self::Delete { objects, .. } => Some(format!("is deleted, and {objects} objects with it")),
            Self::Release { lasting, .. } if !lasting.is_empty() => {
                Some("loses its reference to an owner that is not there in the snapshot".to_owned())
            }
            Self::Release { .. }
            | Self::Readopt { .. }
            | Self::Create { .. }
            | Self::Update { .. }
            | Self::Convert { .. } => None,
        }
    }

    /// The word for it: `create`, `update` and so on.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Release { .. } => "release",
            Self::Readopt { .. } => "readopt",
            Self::Create { .. } => "create",
            Self::Update { .. } => "update",
            Self::Convert { .. } => "convert",
            Self::Recreate { .. } => "recreate",
            Self::Delete { .. } => "delete",
        }
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverList { rule } => match super::never_list::rule(rule) {
                Some(rule) => f.write_str(rule.reason),
                None => write!(f, "never-list: {rule}"),
            },
            Self::WasTerminating => f.write_str("it was being deleted when the snapshot was taken"),
            Self::NotServed { api_version } => write!(f, "the cluster does not serve {api_version} of it"),
            Self::VolumeAtRisk { fields, volume } => {
                let volume = volume.as_deref().map_or_else(|| "its volume".to_owned(), |name| format!("volume {name}"));
                write!(
                    f,
                    "{fields}, and deleting a claim can take its volume's data with it; to have it back as it was, set \
                     the persistentVolumeReclaimPolicy of {volume} to Retain, stop the pods that use the claim, delete \
                     the claim, and restore again"
                )
            }
            Self::TooLarge { bytes } => {
                write!(f, "it has {} MiB, and no API server takes an object of that size", bytes >> 20)
            }
            Self::OwnersStayGone => {
                f.write_str("its owners are gone and never brought back; garbage collection would take it at once")
            }
            Self::UnreadInside { types } => {
                let types = types.join(", ");
                write!(f, "what it holds of {types} could not be listed, is in no snapshot, and would go with it")
            }
            Self::Unsaved => f.write_str(UNSAVED),
            Self::NoNamespace => f.write_str("its namespace neither exists nor comes back"),
            Self::ComparedLater { objects } => {
                write!(f, "its type is converted first, then its objects are compared ({objects} differ as they are)")
            }
            Self::TypeInUse { objects: Some(objects) } => {
                write!(
                    f,
                    "it was added and has objects that would go with it ({objects}); --delete-added-types deletes them"
                )
            }
            Self::TypeInUse { objects: None } => f.write_str("it was added, and its objects cannot be listed"),
        }
    }
}
