//! ServiceAccounts, Roles and their bindings.

use serde_json::{Value, json};

use super::planned::{Planned, object, with};
use super::random::Random;

const RBAC: &str = "rbac.authorization.k8s.io";

fn rules(random: &mut Random) -> Value {
    let groups =
        ["", "apps", "batch", "networking.k8s.io", "cert-manager.io", "helm.toolkit.fluxcd.io", "apps.cozystack.io"];
    let resources = [
        "configmaps",
        "secrets",
        "services",
        "pods",
        "deployments",
        "jobs",
        "ingresses",
        "certificates",
        "helmreleases",
    ];
    let verbs = [&["get", "list", "watch"][..], &["create", "update", "patch", "delete"], &["*"]];
    let rules: Vec<Value> = (0..random.between(1, 6))
        .map(|_| {
            json!({
                "apiGroups": [random.text(&groups)],
                "resources": [random.text(&resources), format!("{}/status", random.text(&resources))],
                "verbs": random.pick(&verbs),
            })
        })
        .collect();
    json!(rules)
}

/// ServiceAccounts, each with a Role and the RoleBinding between them.
pub fn accounts(count: usize, namespaces: &[String], random: &mut Random) -> Vec<Planned> {
    let mut planned = Vec::with_capacity(3 * count);
    for number in 0..count {
        let namespace = random.pick(namespaces).cloned().unwrap_or_default();
        let name = format!("{}-{}-{number}", random.word(), random.word());
        let account = object("v1", "ServiceAccount", Some(&namespace), &name, random);
        let api_version = format!("{RBAC}/v1");
        let role =
            with(object(&api_version, "Role", Some(&namespace), &name, random), json!({ "rules": rules(random) }));
        let binding = json!({
            "roleRef": { "apiGroup": RBAC, "kind": "Role", "name": name },
            "subjects": [
                { "kind": "ServiceAccount", "name": name, "namespace": namespace },
                { "kind": "Group", "apiGroup": RBAC, "name": format!("{namespace}-admin") },
            ],
        });
        let binding = with(object(&api_version, "RoleBinding", Some(&namespace), &name, random), binding);
        let plan = |url: String, body| Planned { url, manager: "helm", body };
        planned.push(plan(format!("/api/v1/namespaces/{namespace}/serviceaccounts"), account));
        planned.push(plan(format!("/apis/{RBAC}/v1/namespaces/{namespace}/roles"), role));
        planned.push(plan(format!("/apis/{RBAC}/v1/namespaces/{namespace}/rolebindings"), binding));
    }
    planned
}

/// ClusterRoles, each with a ClusterRoleBinding. Their names hold colons, as RBAC allows.
pub fn cluster_roles(count: usize, random: &mut Random) -> Vec<Planned> {
    let mut planned = Vec::with_capacity(2 * count);
    for number in 0..count {
        let name = format!("cozystack:{}:{}-{number}", random.word(), random.word());
        let api_version = format!("{RBAC}/v1");
        let role = with(object(&api_version, "ClusterRole", None, &name, random), json!({ "rules": rules(random) }));
        let binding = json!({
            "roleRef": { "apiGroup": RBAC, "kind": "ClusterRole", "name": name },
            "subjects": [{ "kind": "Group", "apiGroup": RBAC, "name": format!("cozystack:{}", random.word()) }],
        });
        let binding = with(object(&api_version, "ClusterRoleBinding", None, &name, random), binding);
        planned.push(Planned { url: format!("/apis/{RBAC}/v1/clusterroles"), manager: "helm", body: role });
        planned.push(Planned { url: format!("/apis/{RBAC}/v1/clusterrolebindings"), manager: "helm", body: binding });
    }
    planned
}
