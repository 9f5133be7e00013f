//! Finds what would undo a restore, in the order in which it is stopped: from the top down.
//!
//! In: the live tree and the wanted one (a controller that only the snapshot has comes back during the restore, and
//! must not start before its end). Out: what is to be held, each with the reason. Pure. Who applies whom: a person's own
//! tool the platform's installer, the installer Flux, Flux's operator its controllers, these everything else. A thing is
//! stopped before what it would start again.
//!
//! Sources: the templates of CozyStack 0.34 to 1.6 (`packages/core/{installer,flux-aio}`, `packages/system/*`), which
//! label Flux with `app.kubernetes.io/part-of: flux` as Flux itself does; `facts/cozystack.md` section 2. Not held,
//! though they write too: operators that make children of custom resources (they read what was restored and agree with
//! it), and Reloader, which restarts pods when their configuration comes back.

use std::collections::BTreeMap;
use std::fmt;

use futures::TryStreamExt as _;
use serde_json::Value;

use crate::journal::Held;
use crate::snapshot::ObjectPath;
use crate::store::SnapshotTree;

use super::super::error::RestoreError;
use super::super::object;

/// Something that is to be held, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// What.
    pub item: Held,
    /// What it would do otherwise.
    pub role: Role,
}

/// What a thing does to the cluster by itself. In the order in which they are stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Named in the configuration.
    Named,
    /// CozyStack's installer, up to 0.x.
    Installer,
    /// CozyStack's operator, since 1.0.
    Operator,
    /// Flux's operator.
    FluxOperator,
    /// CozyStack's operator of further helm-controllers.
    ShardOperator,
    /// Flux's kustomize-controller.
    KustomizeController,
    /// Flux's helm-controller, or one of several.
    HelmController,
    /// Flux's source-controller.
    SourceController,
    /// Any other controller of Flux.
    OtherFlux,
    /// All of Flux in one pod.
    AllInOne,
    /// CozyStack's repairer of Helm releases.
    Plunger,
    /// CozyStack's own controller.
    PlatformController,
    /// The operator of Cluster API's providers.
    ClusterApiOperator,
    /// A `Cluster` of Cluster API.
    Cluster,
}

/// The reason, to stand behind the thing's name in a plan.
impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Named => "named in the configuration",
            Self::Installer => "applies the platform every minute and resumes every suspended HelmRelease",
            Self::Operator => "installs Flux and writes the platform's HelmReleases from its Packages",
            Self::FluxOperator => "applies Flux's controllers and CRDs",
            Self::ShardOperator => "applies further helm-controllers and moves HelmReleases between them",
            Self::KustomizeController => "applies what its sources hold",
            Self::HelmController => "upgrades and rolls back releases",
            Self::SourceController => "fetches charts, and every new one starts upgrades",
            Self::OtherFlux => "triggers Flux from outside",
            Self::AllInOne => "is all of Flux in one pod: fetches charts, upgrades and rolls back releases",
            Self::Plunger => "suspends HelmReleases and deletes Helm's release secrets to repair them",
            Self::PlatformController => "writes charts, values and labels into the HelmReleases of applications",
            Self::ClusterApiOperator => "installs Cluster API's providers with their CRDs",
            Self::Cluster => "has machines, which Cluster API makes and deletes by what it reads",
        })
    }
}

/// Finds what is to be held, from the top down. `extra` is what the configuration names.
///
/// # Errors
/// A snapshot cannot be read.
pub async fn find(live: &SnapshotTree, wanted: &SnapshotTree, extra: &[Held]) -> Result<Vec<Hold>, RestoreError> {
    let mut found: BTreeMap<Held, Role> = extra.iter().map(|item| (item.clone(), Role::Named)).collect();
    for tree in [live, wanted] {
        for folder in ["cluster/apps/deployments", "cluster/apps/statefulsets", "cluster/cluster.x-k8s.io/clusters"] {
            let mut files = tree.walk(folder);
            while let Some((path, entry)) = files.try_next().await? {
                let Some(parsed) = ObjectPath::parse(&path) else { continue };
                let value = object::parse(&path, &tree.blob(&entry.hash).await?)?;
                if let Some(hold) = hold(&parsed, &value) {
                    found.entry(hold.item).or_insert(hold.role);
                }
            }
        }
    }
    let mut holds: Vec<Hold> = found.into_iter().map(|(item, role)| Hold { item, role }).collect();
    // What a person names comes in the person's order, all else by role and name.
    holds.sort_by_cached_key(|hold| {
        (hold.role, extra.iter().position(|named| *named == hold.item), hold.item.to_string())
    });
    Ok(holds)
}

fn hold(path: &ObjectPath, value: &Value) -> Option<Hold> {
    // The name in a path may be cut.
    let (namespace, name) = (object::namespace(value)?.to_owned(), object::name(value).to_owned());
    let (item, role) = match path.resource.as_str() {
        "deployments" => {
            let role = role(&namespace, &name, value)?;
            (Held::Deployment { namespace, name }, role)
        }
        "statefulsets" => {
            let role = role(&namespace, &name, value)?;
            (Held::StatefulSet { namespace, name }, role)
        }
        _ => (Held::ClusterApi { namespace, name }, Role::Cluster),
    };
    Some(Hold { item, role })
}

/// What a workload is, by its name where CozyStack gives it, and by its labels wherever it is.
fn role(namespace: &str, name: &str, value: &Value) -> Option<Role> {
    let by_name = match (namespace, name) {
        ("cozy-system", "cozystack") => Some(Role::Installer),
        ("cozy-system", "cozystack-operator") => Some(Role::Operator),
        ("cozy-system", "cozystack-controller") => Some(Role::PlatformController),
        ("cozy-cluster-api", "capi-operator-cluster-api-operator") => Some(Role::ClusterApiOperator),
        ("cozy-fluxcd" | "flux-system", name) => flux(name),
        _ => None,
    };
    by_name.or_else(|| by_labels(value))
}

fn by_labels(value: &Value) -> Option<Role> {
    let label = |key: &str| value.pointer("/metadata/labels")?.get(key)?.as_str();
    let name = label("app.kubernetes.io/name");
    if label("clusterctl.cluster.x-k8s.io/core") == Some("capi-operator") {
        return Some(Role::ClusterApiOperator);
    }
    if label("app.kubernetes.io/managed-by") == Some("flux-shard-operator") {
        return Some(Role::HelmController);
    }
    match name {
        Some("flux-operator") => return Some(Role::FluxOperator),
        Some("flux-plunger") => return Some(Role::Plunger),
        _ => {}
    }
    if label("app.kubernetes.io/part-of") != Some("flux") {
        return None;
    }
    let component = label("app.kubernetes.io/component").or(name)?;
    Some(flux(component).unwrap_or(Role::OtherFlux))
}

/// The parts of Flux by the names that they have everywhere.
fn flux(name: &str) -> Option<Role> {
    Some(match name {
        "flux-operator" => Role::FluxOperator,
        "flux-shard-operator" => Role::ShardOperator,
        "kustomize-controller" => Role::KustomizeController,
        "helm-controller" | "flux-tenants" => Role::HelmController,
        "source-controller" => Role::SourceController,
        "notification-controller" | "image-reflector-controller" | "image-automation-controller" | "source-watcher" => {
            Role::OtherFlux
        }
        "flux" => Role::AllInOne,
        "flux-plunger" => Role::Plunger,
        name if name.starts_with("helm-controller-shard") => Role::HelmController,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Role, find};
    use crate::journal::Held;
    use crate::store::{Blob, FrameGroup, SnapshotTree, SnapshotWriter};

    async fn tree(objects: &[(&str, Value)]) -> SnapshotTree {
        let mut objects = objects.to_vec();
        objects.sort_by(|a, b| a.0.cmp(b.0));
        let mut writer = SnapshotWriter::scratch(None);
        for (path, object) in objects {
            let blob = Blob::new(object.to_string().into_bytes().into());
            writer.put(path, blob, FrameGroup::Shared).await.unwrap();
        }
        writer.finish().await.unwrap().tree()
    }

    fn workload(namespace: &str, name: &str, labels: &Value) -> Value {
        json!({"metadata": {"namespace": namespace, "name": name, "labels": labels}})
    }

    #[tokio::test]
    async fn whoever_applies_is_stopped_before_whom_it_applies() {
        let live = tree(&[
            ("cluster/apps/deployments/cozy-system/cozystack.json", workload("cozy-system", "cozystack", &json!({}))),
            (
                "cluster/apps/deployments/cozy-system/cozystack-controller.json",
                workload("cozy-system", "cozystack-controller", &json!({})),
            ),
            (
                "cluster/apps/deployments/cozy-system/cozystack-api.json",
                workload("cozy-system", "cozystack-api", &json!({})),
            ),
            (
                "cluster/apps/deployments/elsewhere/b.json",
                workload(
                    "elsewhere",
                    "b",
                    &json!({"app.kubernetes.io/part-of": "flux", "app.kubernetes.io/component": "helm-controller"}),
                ),
            ),
            (
                "cluster/apps/deployments/cozy-fluxcd/source-controller.json",
                workload("cozy-fluxcd", "source-controller", &json!({})),
            ),
            (
                "cluster/apps/deployments/cozy-fluxcd/flux-operator.json",
                workload("cozy-fluxcd", "flux-operator", &json!({"app.kubernetes.io/name": "flux-operator"})),
            ),
            (
                "cluster/cluster.x-k8s.io/clusters/tenant-a/kubernetes-x.json",
                workload("tenant-a", "kubernetes-x", &json!({})),
            ),
        ])
        .await;
        let wanted = tree(&[
            ("cluster/apps/deployments/cozy-system/cozystack.json", workload("cozy-system", "cozystack", &json!({}))),
            (
                "cluster/apps/deployments/cozy-fluxcd/flux.json",
                workload(
                    "cozy-fluxcd",
                    "flux",
                    &json!({"app.kubernetes.io/name": "flux", "app.kubernetes.io/part-of": "flux"}),
                ),
            ),
        ])
        .await;
        let extra: Vec<Held> = ["statefulset/argocd/application-controller", "deployment/argocd/argocd-server"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        let found = find(&live, &wanted, &extra).await.unwrap();
        let found: Vec<(String, Role)> = found.into_iter().map(|hold| (hold.item.to_string(), hold.role)).collect();
        let expected = [
            ("statefulset argocd/application-controller", Role::Named),
            ("deployment argocd/argocd-server", Role::Named),
            ("deployment cozy-system/cozystack", Role::Installer),
            ("deployment cozy-fluxcd/flux-operator", Role::FluxOperator),
            ("deployment elsewhere/b", Role::HelmController),
            ("deployment cozy-fluxcd/source-controller", Role::SourceController),
            ("deployment cozy-fluxcd/flux", Role::AllInOne),
            ("deployment cozy-system/cozystack-controller", Role::PlatformController),
            ("cluster tenant-a/kubernetes-x", Role::Cluster),
        ];
        let expected: Vec<(String, Role)> = expected.into_iter().map(|(name, role)| (name.to_owned(), role)).collect();
        assert_eq!(found, expected);
    }
}
