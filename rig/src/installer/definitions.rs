//! CozyStack's own CRDs and what is made of them, as far as a hop from 0.36 to 0.37 touches them.
//!
//! Names, scopes and which chart holds what follow the real hop: CozystackResourceDefinitions turn from namespaced to
//! cluster-scoped, workloads and workloadmonitors lie in the chart whose HelmRelease the migration deletes, the
//! dashboard's types are new. Schemas are cut short. Plans are the rig's own: no release of CozyStack 0.34 to 0.41 moves
//! a storage version, and a rollback must survive one that does.

use serde_json::{Value, json};

use super::release::Release;

/// The group of CozyStack's own types.
pub const GROUP: &str = "cozystack.io";
/// The group of the type whose storage version moves.
pub const PLANS_GROUP: &str = "backups.cozystack.io";
/// The CRD whose scope changes.
pub const RESOURCE_DEFINITIONS: &str = "cozystackresourcedefinitions.cozystack.io";
/// The CRD whose storage version moves.
pub const PLANS: &str = "plans.backups.cozystack.io";

struct Names {
    group: &'static str,
    plural: &'static str,
    kind: &'static str,
    scope: &'static str,
}

fn definition(names: &Names, versions: &[Value]) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{}.{}", names.plural, names.group) },
        "spec": {
            "group": names.group,
            "scope": names.scope,
            "names": {
                "kind": names.kind,
                "listKind": format!("{}List", names.kind),
                "plural": names.plural,
                "singular": names.kind.to_lowercase(),
            },
            "versions": versions,
        },
    })
}

fn version(name: &str, storage: bool, spec: &Value) -> Value {
    json!({
        "name": name,
        "served": true,
        "storage": storage,
        "subresources": { "status": {} },
        "schema": { "openAPIV3Schema": {
            "type": "object",
            "properties": {
                "apiVersion": { "type": "string" },
                "kind": { "type": "string" },
                "metadata": { "type": "object" },
                "spec": { "type": "object", "properties": spec },
                "status": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
            },
        } },
    })
}

fn v1alpha1(spec: &Value) -> Vec<Value> {
    vec![version("v1alpha1", true, spec)]
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn map_of_text() -> Value {
    json!({ "type": "object", "additionalProperties": { "type": "string" } })
}

/// The CRDs in the templates of cozystack-controller's chart: they go, and all their objects with them, when its
/// HelmRelease is deleted.
pub fn of_controller(release: Release) -> Vec<Value> {
    let workload = Names { group: GROUP, plural: "workloads", kind: "Workload", scope: "Namespaced" };
    let monitor = Names { group: GROUP, plural: "workloadmonitors", kind: "WorkloadMonitor", scope: "Namespaced" };
    let monitor_spec = json!({
        "kind": text(),
        "type": text(),
        "version": text(),
        "selector": map_of_text(),
        "minReplicas": { "type": "integer" },
    });
    let mut definitions =
        vec![definition(&workload, &v1alpha1(&json!({}))), definition(&monitor, &v1alpha1(&monitor_spec))];
    if release < Release::V0_37_2 {
        definitions.push(resource_definitions("Namespaced"));
    } else {
        for (plural, kind) in [("breadcrumbs", "Breadcrumb"), ("sidebars", "Sidebar")] {
            let names = Names { group: "dashboard.cozystack.io", plural, kind, scope: "Cluster" };
            definitions.push(definition(&names, &v1alpha1(&json!({ "id": text(), "links": map_of_text() }))));
        }
    }
    definitions
}

/// The CRD that 0.37 has a chart of its own for.
pub fn of_resource_definition_chart() -> Value {
    resource_definitions("Cluster")
}

fn resource_definitions(scope: &'static str) -> Value {
    let names =
        Names { group: GROUP, plural: "cozystackresourcedefinitions", kind: "CozystackResourceDefinition", scope };
    definition(&names, &v1alpha1(&json!({ "application": map_of_text(), "release": map_of_text() })))
}

/// The resource definitions themselves. Up to 0.36 they lie in a namespace.
pub fn resource_definition_objects(release: Release) -> Vec<Value> {
    let object = |(name, kind): (&str, &str)| {
        let mut metadata = json!({ "name": name });
        if release < Release::V0_37_2
            && let Some(metadata) = metadata.as_object_mut()
        {
            metadata.insert("namespace".to_owned(), json!("cozy-system"));
        }
        json!({
            "apiVersion": "cozystack.io/v1alpha1",
            "kind": "CozystackResourceDefinition",
            "metadata": metadata,
            "spec": {
                "application": { "kind": kind, "plural": format!("{}s", kind.to_lowercase()) },
                "release": { "prefix": format!("{name}-"), "chart": name },
            },
        })
    };
    [("kubernetes", "Kubernetes"), ("postgres", "Postgres"), ("tenant", "Tenant"), ("vm-instance", "VMInstance")]
        .map(object)
        .to_vec()
}

/// A monitor of a tenant's workload: the controller makes one for each application.
pub fn workload_monitor(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "cozystack.io/v1alpha1",
        "kind": "WorkloadMonitor",
        "metadata": { "name": name, "namespace": namespace },
        "spec": { "kind": "postgres", "type": "postgres", "version": "1.14.0", "selector": { "app": name }, "minReplicas": 1 },
    })
}

/// The CRD of plans: stored at v1alpha1, and from 0.37 on at v1, which has a field more.
pub fn plans(release: Release) -> Value {
    let names = Names { group: PLANS_GROUP, plural: "plans", kind: "Plan", scope: "Namespaced" };
    let old = json!({ "schedule": text(), "storage": text() });
    if release < Release::V0_37_2 {
        return definition(&names, &v1alpha1(&old));
    }
    let new = json!({ "schedule": text(), "storage": text(), "retention": text() });
    definition(&names, &[version("v1alpha1", false, &old), version("v1", true, &new)])
}

/// A plan, as 0.36 stores it.
pub fn plan(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": format!("{PLANS_GROUP}/v1alpha1"),
        "kind": "Plan",
        "metadata": { "name": name, "namespace": namespace },
        "spec": { "schedule": "0 3 * * *", "storage": "s3" },
    })
}
