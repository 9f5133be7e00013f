//! What kind of cluster a snapshot is of, told from its own objects: the live one may be gone.

use std::fmt;
use std::net::IpAddr;

use futures::TryStreamExt as _;
use serde_json::Value;

use super::error::RecoveryError;
use crate::store::SnapshotTree;

const NODES: &str = "cluster/core/nodes";
const KUBEADM: &str = "cluster/core/configmaps/kube-system/kubeadm-config.json";
const CONTROL_PLANE_LABEL: &str = "node-role.kubernetes.io/control-plane";

/// Who runs etcd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Installation {
    /// Talos, as a service of its own; a node's osImage says so.
    Talos,
    /// kubeadm, as static pods; its ConfigMap is there.
    Kubeadm,
    /// Whoever started it.
    PlainEtcd,
}

impl fmt::Display for Installation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Talos => "Talos",
            Self::Kubeadm => "kubeadm",
            Self::PlainEtcd => "plain etcd",
        })
    }
}

/// A node that runs a member of etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlPlaneNode {
    /// Its name.
    pub name: String,
    /// Its internal address.
    pub address: IpAddr,
}

/// The machines that a runbook speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Who runs etcd.
    pub installation: Installation,
    /// Where, by name; empty where the snapshot has no such nodes.
    pub nodes: Vec<ControlPlaneNode>,
}

impl Site {
    /// Reads the nodes of a snapshot.
    ///
    /// # Errors
    /// The repository failed.
    pub async fn of(tree: &SnapshotTree) -> Result<Self, RecoveryError> {
        let mut talos = false;
        let mut nodes = Vec::new();
        let mut files = tree.walk(NODES);
        while let Some((_, entry)) = files.try_next().await? {
            let node: Value = serde_json::from_slice(&tree.blob(&entry.hash).await?).unwrap_or_default();
            if node.pointer("/metadata/labels").and_then(|labels| labels.get(CONTROL_PLANE_LABEL)).is_none() {
                continue;
            }
            talos |= text(&node, "/status/nodeInfo/osImage").is_some_and(|image| image.starts_with("Talos"));
            nodes.extend(member(&node));
        }
        let installation = if talos {
            Installation::Talos
        } else if tree.entry(KUBEADM).await?.is_some() {
            Installation::Kubeadm
        } else {
            Installation::PlainEtcd
        };
        Ok(Self { installation, nodes })
    }
}

/// A node with an address. An address that is none never becomes part of a command.
fn member(node: &Value) -> Option<ControlPlaneNode> {
    let name = text(node, "/metadata/name")?.to_owned();
    let addresses = node.pointer("/status/addresses")?.as_array()?;
    let internal = addresses.iter().find(|address| text(address, "/type") == Some("InternalIP"))?;
    Some(ControlPlaneNode { name, address: text(internal, "/address")?.parse().ok()? })
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer)?.as_str()
}
