//! The etcd rung: the whole of Kubernetes back at the moment of an etcd snapshot, when objects cannot be restored.
//!
//! In: the etcd file and the objects of a snapshot, the real `etcdutl`. Out: a recovery kit (the verified file, the same
//! moved ahead in revisions, a runbook) or a data folder for etcd. Invariants: a kit or a data folder is whole or is not
//! there; no file leaves the repository unless its hash agrees (I3); everything written is readable by its owner alone
//! (I10); nothing here touches a running etcd.
//! Why moved ahead: an etcd that is restored as it was counts revisions anew that clients have seen with other content.
//! They would go on with stale caches and never notice. A billion further on, every revision that a client may hold is
//! compacted, so that it lists again.

mod error;
mod etcdutl;
mod kit;
mod runbook;
mod site;
mod verified_file;

pub use error::RecoveryError;
pub use etcdutl::{Etcdutl, Member, REVISIONS_AHEAD};
pub use kit::{AHEAD_NAME, Kit, ORIGINAL_NAME, RUNBOOK_NAME, prepare, restore};
pub use runbook::LiveRevision;
pub use site::{ControlPlaneNode, Installation, Site};
