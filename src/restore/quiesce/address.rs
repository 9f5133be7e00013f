//! Where a held thing is, in the cluster and in a snapshot, and how a configuration names it.

use std::str::FromStr;

use crate::cluster::{CRDS_URL, Cluster, ClusterError, CustomResourceDefinition};
use crate::journal::Held;
use crate::snapshot::ObjectPath;

use super::super::address::TypeAddress;
use super::super::requests::Target;

/// The CRD of Cluster API's `Cluster`.
const CLUSTERS: &str = "clusters.cluster.x-k8s.io";

impl Held {
    /// Where it lies in a snapshot.
    pub fn object_path(&self) -> ObjectPath {
        let (group, resource) = self.type_names();
        let (namespace, name) = self.names();
        ObjectPath {
            group: group.to_owned(),
            resource: resource.to_owned(),
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        }
    }

    fn type_names(&self) -> (&'static str, &'static str) {
        match self {
            Self::Deployment { .. } => ("apps", "deployments"),
            Self::StatefulSet { .. } => ("apps", "statefulsets"),
            Self::ClusterApi { .. } => ("cluster.x-k8s.io", "clusters"),
            Self::MutatingWebhook { .. } => ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
            Self::ValidatingWebhook { .. } => ("admissionregistration.k8s.io", "validatingwebhookconfigurations"),
            Self::ApiService { .. } => ("apiregistration.k8s.io", "apiservices"),
        }
    }

    /// The object's kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Deployment { .. } => "Deployment",
            Self::StatefulSet { .. } => "StatefulSet",
            Self::ClusterApi { .. } => "Cluster",
            Self::MutatingWebhook { .. } => "MutatingWebhookConfiguration",
            Self::ValidatingWebhook { .. } => "ValidatingWebhookConfiguration",
            Self::ApiService { .. } => "APIService",
        }
    }

    pub(super) fn names(&self) -> (Option<&str>, &str) {
        match self {
            Self::Deployment { namespace, name }
            | Self::StatefulSet { namespace, name }
            | Self::ClusterApi { namespace, name } => (Some(namespace), name),
            Self::MutatingWebhook { name } | Self::ValidatingWebhook { name } | Self::ApiService { name } => {
                (None, name)
            }
        }
    }
}

/// A text that names nothing that can be held.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is neither `deployment/NAMESPACE/NAME` nor `statefulset/NAMESPACE/NAME`")]
pub struct NotHoldable {
    /// As it was given.
    pub text: String,
}

/// What a person may name in the configuration: `deployment/NAMESPACE/NAME` or `statefulset/NAMESPACE/NAME`.
impl FromStr for Held {
    type Err = NotHoldable;

    fn from_str(text: &str) -> Result<Self, NotHoldable> {
        let parts: Vec<&str> = text.split('/').collect();
        match parts.as_slice() {
            [kind, namespace, name] if !namespace.is_empty() && !name.is_empty() => {
                let (namespace, name) = ((*namespace).to_owned(), (*name).to_owned());
                match *kind {
                    "deployment" => Ok(Self::Deployment { namespace, name }),
                    "statefulset" => Ok(Self::StatefulSet { namespace, name }),
                    _ => Err(NotHoldable { text: text.to_owned() }),
                }
            }
            _ => Err(NotHoldable { text: text.to_owned() }),
        }
    }
}

/// Where a held thing is read and written.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) target: Target,
    pub(super) list_url: String,
    pub(super) has_status: bool,
}

/// Finds it. `None` when its type is not there. A custom resource is read at the version that a snapshot has it in: its
/// storage version.
pub(super) async fn place(cluster: &Cluster, item: &Held) -> Result<Option<Place>, ClusterError> {
    let version = match item {
        Held::ClusterApi { .. } => match stored_version(cluster).await? {
            Some(version) => version,
            None => return Ok(None),
        },
        _ => "v1".to_owned(),
    };
    Ok(Some(place_at(item, version)))
}

/// The same at a version that is known.
pub(super) fn place_at(item: &Held, version: String) -> Place {
    let (group, resource) = item.type_names();
    let (namespace, name) = item.names();
    let custom = matches!(item, Held::ClusterApi { .. });
    let webhook = matches!(item, Held::MutatingWebhook { .. } | Held::ValidatingWebhook { .. });
    let address = TypeAddress {
        group: group.to_owned(),
        version,
        resource: resource.to_owned(),
        kind: item.kind().to_owned(),
        namespaced: namespace.is_some(),
        has_status: !webhook,
        custom,
    };
    let target = Target { path: item.object_path(), url: address.object_url(namespace, name) };
    Place { target, list_url: address.list_url(namespace), has_status: address.has_status }
}

async fn stored_version(cluster: &Cluster) -> Result<Option<String>, ClusterError> {
    match cluster.get(&format!("{CRDS_URL}/{CLUSTERS}")).await {
        Ok(bytes) => {
            let crd = CustomResourceDefinition::parse(&String::from_utf8_lossy(&bytes))?;
            Ok(Some(crd.storage_version))
        }
        Err(error) if error.status() == Some(404) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::{Held, place_at};

    #[test]
    fn a_person_names_deployments_and_stateful_sets() {
        for (text, name) in [
            ("deployment/cozy-system/cozystack", "deployment cozy-system/cozystack"),
            ("statefulset/argocd/application-controller", "statefulset argocd/application-controller"),
        ] {
            assert_eq!(text.parse::<Held>().unwrap().to_string(), name);
        }
        for text in ["cozystack", "deployment/cozystack", "deployment//x", "cluster/a/b", "deployment/a/b/c"] {
            let refused = text.parse::<Held>().unwrap_err().to_string();
            assert!(refused.starts_with(&format!("`{text}` is neither")), "{refused}");
        }
    }

    #[test]
    fn each_kind_has_its_place() {
        let name = || "n".to_owned();
        for (item, url, path) in [
            (
                Held::ClusterApi { namespace: "t".to_owned(), name: name() },
                "/apis/cluster.x-k8s.io/v1beta1/namespaces/t/clusters/n",
                "cluster/cluster.x-k8s.io/clusters/t/n.json",
            ),
            (
                Held::ApiService { name: name() },
                "/apis/apiregistration.k8s.io/v1beta1/apiservices/n",
                "cluster/apiregistration.k8s.io/apiservices/_/n.json",
            ),
        ] {
            assert_eq!(place_at(&item, "v1beta1".to_owned()).target.url, url);
            assert_eq!(item.object_path().to_tree_path(), path);
        }
    }
}
