//! A plan that a person read: kept in a file, and compared with what would be done now.
//!
//! In and out: JSON, format 1. It holds hashes and names, never a body (I10). What counts as the same plan is what a
//! person reads of it and what it leads to: which objects, what is done to them, which fields somebody wanted, towards
//! which content, and which object it is now. What a cluster moves by itself (resourceVersions, statuses) does not.

use serde::{Deserialize, Serialize};

use crate::journal::SnapshotName;
use crate::restore::{Action, Operation, Plan};
use crate::snapshot::is_noise;
use crate::store::ContentHash;

/// The format that this program writes and reads.
const FORMAT: u32 = 1;

/// A plan with what it is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReviewedPlan {
    /// Format of the file.
    pub format: u32,
    /// The cluster: UID of the namespace kube-system.
    pub cluster: String,
    /// The snapshot that the cluster is to be like.
    pub wanted: SnapshotName,
    /// Which objects, in the text that the command line takes.
    pub scope: String,
    /// What was agreed to apart.
    pub force: Vec<String>,
    /// What is done.
    pub plan: Plan,
    /// SHA-256 over all of the above: what is edited by hand is not what was made.
    pub seal: ContentHash,
}

/// A file that is no plan.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReviewError {
    /// It cannot be understood.
    #[error("it is not a plan that `--plan-out` wrote")]
    NotAPlan(#[source] serde_json::Error),
    /// It is not what was written.
    #[error("it was changed since it was written")]
    Changed,
    /// A later program wrote it.
    #[error("it has format {found}, and this program knows {FORMAT}")]
    LaterFormat {
        /// As it says.
        found: u32,
    },
}

impl ReviewedPlan {
    /// A plan to be reviewed.
    pub fn new(cluster: String, wanted: SnapshotName, scope: String, force: Vec<String>, mut plan: Plan) -> Self {
        // Who waits for whom is no part of what is agreed to, and not of the format.
        plan.finalizers.clear();
        let seal = seal(&cluster, &wanted, &scope, &force, &plan);
        Self { format: FORMAT, cluster, wanted, scope, force, plan, seal }
    }

    /// As a file.
    ///
    /// # Errors
    /// It has no JSON form.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// From a file.
    ///
    /// # Errors
    /// It is none, or one of a later format.
    pub fn parse(bytes: &[u8]) -> Result<Self, ReviewError> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let Format { format } = serde_json::from_slice(bytes).map_err(ReviewError::NotAPlan)?;
        if format != FORMAT {
            return Err(ReviewError::LaterFormat { found: format });
        }
        let read: Self = serde_json::from_slice(bytes).map_err(ReviewError::NotAPlan)?;
        let whole = read.seal == seal(&read.cluster, &read.wanted, &read.scope, &read.force, &read.plan);
        if whole { Ok(read) } else { Err(ReviewError::Changed) }
    }
}

fn seal(cluster: &str, wanted: &SnapshotName, scope: &str, force: &[String], plan: &Plan) -> ContentHash {
    let all = (cluster, wanted, scope, force, plan);
    // Strings, numbers and hashes, which have a JSON form.
    ContentHash::of(&serde_json::to_vec(&all).unwrap_or_default())
}

/// Hash of what a person agreed to.
pub fn agreed(plan: &Plan) -> ContentHash {
    let mut lines: Vec<String> = plan.actions.iter().filter_map(line).collect();
    lines.sort();
    ContentHash::of(lines.join("\n").as_bytes())
}

/// What counts of an action; nothing when it only moves noise.
fn line(action: &Action) -> Option<String> {
    if action.operation.only_reports() {
        return None;
    }
    let mut fields = Vec::new();
    if let Operation::Update { fields: changed } = &action.operation {
        fields = changed.iter().filter(|field| !is_noise(field)).cloned().collect();
        if fields.is_empty() {
            return None;
        }
    }
    let uid = action.bound.as_ref().map_or("", |bound| bound.uid.as_str());
    let wanted = action.wanted.as_ref().map(ToString::to_string).unwrap_or_default();
    let danger = action.operation.danger().unwrap_or_default();
    let verb = action.operation.verb();
    Some(serde_json::json!([action.path, verb, fields, uid, wanted, danger]).to_string())
}
