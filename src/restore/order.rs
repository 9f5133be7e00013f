//! In which order a plan's actions run.
//!
//! In: what is written and deleted, with the owners of each. Out: a stage for each: writes by rank (what others need
//! first), owners before their dependents whatever their ranks; deletes the other way round. Source of the ranks:
//! `facts/k8s-backup.md` section 5.

use std::collections::BTreeMap;

use crate::snapshot::ObjectPath;

/// A place in the order; smaller runs first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stage {
    rank: u32,
    depth: u32,
}

/// An object and the owners that its references name, by their paths.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) path: String,
    pub(super) owners: Vec<String>,
}

/// Objects of a smaller rank are written before those of a larger one.
pub(super) fn rank(path: &ObjectPath) -> u32 {
    match (path.group.as_str(), path.resource.as_str()) {
        ("apiextensions.k8s.io", _) => 0,
        ("", "namespaces") => 1,
        ("scheduling.k8s.io" | "node.k8s.io" | "storage.k8s.io", _) | ("networking.k8s.io", "ingressclasses") => 2,
        ("rbac.authorization.k8s.io", "clusterroles" | "roles") => 3,
        ("", "serviceaccounts") => 4,
        ("rbac.authorization.k8s.io", _) => 5,
        ("", "secrets" | "configmaps") => 6,
        ("", "persistentvolumes") => 7,
        ("", "persistentvolumeclaims") => 8,
        ("", "services") => 9,
        ("apps" | "batch", _) | ("", "replicationcontrollers" | "pods") => 11,
        ("policy" | "autoscaling", _) | ("networking.k8s.io", "networkpolicies") => 12,
        // They would refuse or change what comes after them.
        ("", "resourcequotas" | "limitranges") => 13,
        ("apiregistration.k8s.io", _) => 14,
        ("admissionregistration.k8s.io", _) => 15,
        _ => 10,
    }
}

/// The stage of every node, in the nodes' order.
pub(super) fn stages(nodes: &[Node]) -> Vec<Stage> {
    let by_path: BTreeMap<&str, &Node> = nodes.iter().map(|node| (node.path.as_str(), node)).collect();
    let mut known = BTreeMap::new();
    nodes.iter().map(|node| stage(node, &by_path, &mut known, &mut Vec::new())).collect()
}

fn stage<'a>(
    node: &'a Node,
    by_path: &BTreeMap<&'a str, &'a Node>,
    known: &mut BTreeMap<&'a str, Stage>,
    above: &mut Vec<&'a str>,
) -> Stage {
    let path = node.path.as_str();
    if let Some(stage) = known.get(path) {
        return *stage;
    }
    let own_rank = ObjectPath::parse(path).map_or(10, |path| rank(&path));
    let mut own = Stage { rank: own_rank, depth: 0 };
    // Objects that own each other in a circle are taken in any order.
    if above.contains(&path) {
        return own;
    }
    above.push(path);
    for owner in node.owners.iter().filter_map(|owner| by_path.get(owner.as_str())) {
        let owner = stage(owner, by_path, known, above);
        own = own.max(Stage { depth: owner.depth + 1, ..owner });
    }
    above.pop();
    known.insert(path, own);
    own
}

#[cfg(test)]
mod tests {
    use super::{Node, stages};

    const CRD: &str = "cluster/apiextensions.k8s.io/customresourcedefinitions/_/databases.db.example.json";
    const DATABASE: &str = "cluster/db.example/databases/a/orders.json";
    const CONFIG_MAP: &str = "cluster/core/configmaps/a/orders.json";
    const SECRET: &str = "cluster/core/secrets/a/orders.json";
    const NAMESPACE: &str = "cluster/core/namespaces/_/a.json";
    const WEBHOOK: &str = "cluster/admissionregistration.k8s.io/validatingwebhookconfigurations/_/w.json";

    fn ordered(nodes: &[(&str, &[&str])]) -> Vec<String> {
        let nodes: Vec<Node> = nodes
            .iter()
            .map(|(path, owners)| Node {
                path: (*path).to_owned(),
                owners: owners.iter().map(|owner| (*owner).to_owned()).collect(),
            })
            .collect();
        let mut placed: Vec<_> = stages(&nodes).into_iter().zip(nodes).collect();
        placed.sort_by_key(|(stage, _)| *stage);
        placed.into_iter().map(|(_, node)| node.path).collect()
    }

    #[test]
    fn what_others_need_comes_first() {
        assert_eq!(
            ordered(&[(WEBHOOK, &[]), (DATABASE, &[]), (CONFIG_MAP, &[]), (NAMESPACE, &[]), (CRD, &[])]),
            [CRD, NAMESPACE, CONFIG_MAP, DATABASE, WEBHOOK]
        );
    }

    #[test]
    fn an_owner_comes_before_its_dependents_whatever_their_ranks() {
        assert_eq!(
            ordered(&[(SECRET, &[CONFIG_MAP]), (CONFIG_MAP, &[DATABASE]), (DATABASE, &[])]),
            [DATABASE, CONFIG_MAP, SECRET]
        );
    }

    #[test]
    fn a_circle_of_owners_ends() {
        assert_eq!(ordered(&[(SECRET, &[CONFIG_MAP]), (CONFIG_MAP, &[SECRET])]).len(), 2);
    }
}
