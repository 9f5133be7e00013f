//! What a transaction puts back: the platform, one namespace, what somebody selected, or everything.
//!
//! In: both trees. Out: a [`Selection`] of paths, so that planning, writing and proving need to know nothing more. The
//! platform is what an upgrade of CozyStack changes; what tenants changed since lies outside of it and is only counted.

use std::fmt;
use std::str::FromStr;

use crate::snapshot::{ObjectPath, Scope, Selection, TYPES_PATH, at_or_below, diff_trees};
use crate::store::SnapshotTree;

use super::address::{CRD_GROUP, CRD_RESOURCE};
use super::error::RestoreError;
use super::judge::{Neighbours, judge};
use super::never_list::covering;
use super::object;
use super::recorded_types::resolve;
use super::references::Kinds;

/// The platform, as globs on paths:
/// - every object without a namespace outside the core group: CRDs, RBAC, webhooks, APIServices, classes, and the
///   platform's own cluster-scoped custom resources. In the core group these are Nodes (never touched),
///   PersistentVolumes (tenants' data) and Namespaces;
/// - the namespaces `cozy-*` with all that is in them (`cozystack-version` among it);
/// - HelmReleases everywhere and the Secrets in which Helm keeps its releases, since the two are one unit.
const PLATFORM: [&str; 5] = [
    "cluster/*.*/*/_/*",
    "cluster/core/namespaces/_/cozy-*.json",
    "cluster/*/*/cozy-*/*",
    "cluster/helm.toolkit.fluxcd.io/helmreleases/*/*",
    "cluster/core/secrets/*/sh.helm.release.v1.*.json",
];

/// How the text of a selection begins.
const SELECTED: [&str; 3] = ["only=", "exclude=", "scope="];

/// What is put back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RollbackScope {
    /// What an upgrade of the platform changes.
    #[default]
    Platform,
    /// One namespace with all that is in it.
    Namespace(String),
    /// All there is.
    Everything,
    /// What a restore was asked for, as [`Selection::canonical_text`] writes it; never everything.
    Selected(String),
}

/// A text that names no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no scope: `platform`, `everything` or `namespace=NAME` are")]
pub struct UnknownScope {
    /// As it was given.
    pub given: String,
}

impl fmt::Display for RollbackScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Platform => f.write_str("platform"),
            Self::Namespace(name) => write!(f, "namespace={name}"),
            Self::Everything => f.write_str("everything"),
            Self::Selected(text) => f.write_str(text),
        }
    }
}

impl FromStr for RollbackScope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        let unknown = || UnknownScope { given: text.to_owned() };
        match text {
            "platform" => Ok(Self::Platform),
            "everything" => Ok(Self::Everything),
            _ if SELECTED.iter().any(|word| text.starts_with(word)) => {
                Selection::parse(text).map_err(|_| unknown())?;
                Ok(Self::Selected(text.to_owned()))
            }
            _ => {
                let name = text.strip_prefix("namespace=").ok_or_else(unknown)?;
                // The API server's own rule for the names of namespaces (RFC 1123 label).
                let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
                let is_name = (1..=63).contains(&name.len()) && name.bytes().all(legal);
                if is_name { Ok(Self::Namespace(name.to_owned())) } else { Err(unknown()) }
            }
        }
    }
}

impl RollbackScope {
    /// What was selected with patterns.
    pub fn selected(selection: &Selection) -> Self {
        match selection.canonical_text() {
            text if text.is_empty() => Self::Everything,
            text => Self::Selected(text),
        }
    }

    /// The paths that it means, given the cluster as it is and as it shall be.
    ///
    /// # Errors
    /// A snapshot cannot be read.
    pub async fn selection(&self, live: &SnapshotTree, wanted: &SnapshotTree) -> Result<Selection, RestoreError> {
        let only: Vec<String> = match self {
            Self::Everything => return Ok(Selection::everything()),
            Self::Selected(text) => return resolve(Selection::parse(text)?, &[live, wanted]).await,
            Self::Namespace(name) => {
                vec![format!("cluster/core/namespaces/_/{name}.json"), format!("cluster/*/*/{name}/*")]
            }
            Self::Platform => {
                let mut only: Vec<String> = PLATFORM.iter().map(|glob| (*glob).to_owned()).collect();
                for (group, resource) in vanished_types(live, wanted).await? {
                    only.push(format!("cluster/{group}/{resource}/**"));
                }
                only
            }
        };
        Ok(Selection::new(&only, &[], Scope::Everything)?)
    }
}

/// The types whose CRD was deleted since the snapshot, or deleted and made anew: their objects went with it, tenants'
/// as well, and no tenant did that.
async fn vanished_types(live: &SnapshotTree, wanted: &SnapshotTree) -> Result<Vec<(String, String)>, RestoreError> {
    let crds = format!("cluster/{CRD_GROUP}/{CRD_RESOURCE}/**");
    let crds = Selection::new(&[crds], &[], Scope::Everything)?;
    let mut vanished = Vec::new();
    for change in diff_trees(live, wanted, &crds).await? {
        let Some(entry) = &change.after else { continue };
        let wanted_crd = object::parse(&change.path, &wanted.blob(&entry.hash).await?)?;
        let same = match &change.before {
            Some(entry) => {
                let live_crd = object::parse(&change.path, &live.blob(&entry.hash).await?)?;
                object::uid(&live_crd) == object::uid(&wanted_crd) && !object::is_terminating(&live_crd)
            }
            None => false,
        };
        if !same
            && let (Some(group), Some(plural)) =
                (object::text(&wanted_crd, "/spec/group"), object::text(&wanted_crd, "/spec/names/plural"))
        {
            vanished.push((crate::store::encode_name(group), crate::store::encode_name(plural)));
        }
    }
    Ok(vanished)
}

/// Paths of the objects outside a scope that differ from the snapshot in something that somebody wanted, and stay so.
///
/// # Errors
/// A snapshot cannot be read.
pub async fn changed_outside(
    live: &SnapshotTree,
    wanted: &SnapshotTree,
    scope: &Selection,
) -> Result<Vec<String>, RestoreError> {
    let mut found = Vec::new();
    if scope.is_everything() {
        return Ok(found);
    }
    let kinds = Kinds::default();
    let neighbours = Neighbours { by_path: std::collections::BTreeMap::new(), kinds: &kinds };
    for change in diff_trees(live, wanted, &Selection::everything()).await? {
        let Some(path) = ObjectPath::parse(&change.path).filter(|_| change.path != TYPES_PATH) else { continue };
        if scope.includes_path(&change.path) {
            continue;
        }
        let read = async |tree: &SnapshotTree, entry: &Option<crate::store::TreeEntry>| match entry {
            Some(entry) => Ok::<_, RestoreError>(Some(object::parse(&change.path, &tree.blob(&entry.hash).await?)?)),
            None => Ok(None),
        };
        let (before, after) = (read(live, &change.before).await?, read(wanted, &change.after).await?);
        let differs = match (&before, &after) {
            (Some(live), Some(wanted)) => {
                covering(&path, wanted, &[]).is_none()
                    && judge(&path, wanted, live, &neighbours).fields.iter().any(|field| is_wanted(field))
            }
            (Some(one), None) | (None, Some(one)) => covering(&path, one, &[]).is_none(),
            (None, None) => false,
        };
        if differs {
            found.push(change.path);
        }
    }
    Ok(found)
}

/// Neither a status nor a note of who wrote what: those move without anybody's will.
fn is_wanted(field: &str) -> bool {
    !at_or_below(field, "status") && !at_or_below(field, "metadata.managedFields")
}

#[cfg(test)]
mod tests {
    use super::{PLATFORM, RollbackScope};
    use crate::snapshot::{Scope, Selection};

    #[test]
    fn scopes_are_read_as_they_are_written() {
        for text in ["platform", "everything", "namespace=tenant-root", "only=cm/a exclude=b & scope=plan"] {
            assert_eq!(text.parse::<RollbackScope>().unwrap().to_string(), text);
        }
        for text in ["", "Platform", "namespace=", "namespace=A", "namespace=a/b", "namespace=*", "only=", "only=a b=c"]
        {
            assert_eq!(text.parse::<RollbackScope>().unwrap_err().given, text);
        }
    }

    #[test]
    fn the_platform_is_what_an_upgrade_changes_and_nothing_of_a_tenant() {
        let only: Vec<String> = PLATFORM.iter().map(|glob| (*glob).to_owned()).collect();
        let platform = Selection::new(&only, &[], Scope::Everything).unwrap();
        for inside in [
            "cluster/apiextensions.k8s.io/customresourcedefinitions/_/a.b.json",
            "cluster/rbac.authorization.k8s.io/clusterroles/_/x.json",
            "cluster/core/namespaces/_/cozy-system.json",
            "cluster/core/configmaps/cozy-system/cozystack-version.json",
            "cluster/apps/deployments/cozy-fluxcd/helm-controller.json",
            "cluster/helm.toolkit.fluxcd.io/helmreleases/tenant-root/info.json",
            "cluster/core/secrets/tenant-root/sh.helm.release.v1.info.v3.json",
        ] {
            assert!(platform.includes_path(inside), "{inside}");
        }
        for outside in [
            "cluster/core/namespaces/_/tenant-root.json",
            "cluster/core/persistentvolumes/_/pv-1.json",
            "cluster/core/secrets/tenant-root/password.json",
            "cluster/core/configmaps/tenant-root/a.json",
            "cluster/apps.cozystack.io/postgreses/tenant-root/db.json",
            "cluster/core/configmaps/kube-system/coredns.json",
        ] {
            assert!(!platform.includes_path(outside), "{outside}");
        }
    }
}
