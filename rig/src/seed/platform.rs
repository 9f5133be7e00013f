//! What makes the cluster a CozyStack: its namespaces, its ConfigMaps, the installer, HelmRepositories and HelmReleases,
//! as the installer of [`Release::SEEDED`] keeps them.

use serde_json::{Value, json};

use super::planned::Planned;
use super::size::Counts;
use crate::installer::apply::{CONFIG_MAPS, Collection, HELM_RELEASES, HELM_REPOSITORIES, NAMESPACES, namespace};
use crate::installer::last_applied::{MANAGER, with_last_applied};
use crate::installer::{Release, bundle, definitions, manifest};

/// A tenant that is held at a version of its chart.
const PINNED_TENANT: &str = "1.13.0";

fn disabled(counts: &Counts) -> Vec<&'static str> {
    bundle::all_but_the_first(counts.releases)
}

/// Every namespace, those of the platform first.
pub fn namespaces(counts: &Counts) -> Vec<String> {
    let platform = bundle::namespace_names(Release::SEEDED, &disabled(counts)).into_iter().map(str::to_owned);
    platform.chain(tenants(counts)).collect()
}

/// The namespaces of tenants.
pub fn tenants(counts: &Counts) -> Vec<String> {
    let well_known = ["tenant-root", "tenant-foo", "tenant-bar"].map(str::to_owned);
    let numbered = (well_known.len()..counts.tenants).map(|number| format!("tenant-t{number:03}"));
    well_known.into_iter().chain(numbered).collect()
}

/// The Namespace objects.
pub fn namespace_objects(counts: &Counts) -> Vec<Planned> {
    let tenant = |name: &String| {
        let labels = json!({ "tenant.cozystack.io/tenant-root": "", format!("tenant.cozystack.io/{name}"): "" });
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } })
    };
    let platform = bundle::namespaces(Release::SEEDED, &disabled(counts));
    let mut planned: Vec<Planned> = platform.into_iter().map(|body| applied(NAMESPACES, body)).collect();
    planned.extend(tenants(counts).iter().map(|name| Planned {
        url: NAMESPACES.all(),
        manager: "cozystack",
        body: tenant(name),
    }));
    planned
}

/// An object that somebody applied.
fn applied(collection: Collection, body: Value) -> Planned {
    Planned { url: collection.beside(&body), manager: MANAGER, body }
}

fn config_map(name: &str, data: &Value) -> Planned {
    let metadata = json!({ "name": name, "namespace": "cozy-system" });
    let body = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data });
    applied(CONFIG_MAPS, with_last_applied(body))
}

/// ConfigMaps and the installer: what a person looks at first on a CozyStack.
pub fn core_objects(counts: &Counts) -> Vec<Planned> {
    let cilium = "cilium:\n  bpf:\n    masquerade: false\n  cni:\n    chainingMode: ~\n";
    let mut planned = vec![
        config_map(
            "cozystack",
            &json!({
                "bundle-name": "paas-full",
                "bundle-disable": disabled(counts).join(","),
                "root-host": "platform.example.org",
                "api-server-endpoint": "https://10.0.0.40:6443",
                "ipv4-pod-cidr": "10.244.0.0/16",
                "ipv4-pod-gateway": "10.244.0.1",
                "ipv4-svc-cidr": "10.96.0.0/16",
                "ipv4-join-cidr": "100.64.0.0/16",
                "expose-services": "api,dashboard,cdi-uploadproxy,vm-exportproxy",
                "expose-ingress": "tenant-root",
                "values-cilium": cilium,
            }),
        ),
        applied(CONFIG_MAPS, bundle::stamp(Release::SEEDED.counter())),
        config_map("cozystack-branding", &json!({ "branding": "Example" })),
    ];
    // Its namespace is there already.
    for body in manifest(Release::SEEDED).into_iter().filter(|body| body.get("kind") != Some(&json!("Namespace"))) {
        let (base, plural) = match body.get("kind").and_then(Value::as_str) {
            Some("ServiceAccount") => ("/api/v1", "serviceaccounts"),
            Some("Service") => ("/api/v1", "services"),
            Some("Deployment") => ("/apis/apps/v1", "deployments"),
            _ => ("/apis/rbac.authorization.k8s.io/v1", "clusterrolebindings"),
        };
        planned.push(applied(Collection { base, plural }, with_last_applied(body)));
    }
    planned
}

/// The chart repositories, the ones that the charts of the platform come from.
pub fn repositories() -> Vec<Planned> {
    bundle::repositories().into_iter().map(|body| applied(HELM_REPOSITORIES, body)).collect()
}

/// The HelmReleases: what the installer keeps, and one for the other well-known tenant, held at a version.
pub fn helm_releases(counts: &Counts) -> Vec<Planned> {
    let bodies = bundle::helm_releases(Release::SEEDED, &disabled(counts));
    let mut planned: Vec<Planned> = bodies.into_iter().map(|body| applied(HELM_RELEASES, body)).collect();
    let body = bundle::tenant("tenant-foo", "foo.platform.example.org", PINNED_TENANT);
    planned.push(Planned { url: HELM_RELEASES.beside(&body), manager: "cozystack-api", body });
    planned
}

/// The CRD that no chart holds, for [`objects_of_own_types`].
pub fn plans() -> Planned {
    Planned {
        url: "/apis/apiextensions.k8s.io/v1/customresourcedefinitions".to_owned(),
        manager: MANAGER,
        body: definitions::plans(Release::SEEDED),
    }
}

/// Objects of CozyStack's own types, of the platform and of tenants; helm-controller must have installed the types.
pub fn objects_of_own_types(counts: &Counts) -> Vec<Planned> {
    let mut planned = Vec::new();
    for place in tenants(counts).iter().take(3).map(String::as_str).chain(["cozy-system"]) {
        for application in ["db", "cache"] {
            let (monitor, plan) =
                (definitions::workload_monitor(place, application), definitions::plan(place, application));
            let url =
                |base: &str, object: &Value, plural: &str| format!("{base}/namespaces/{}/{plural}", namespace(object));
            planned.push(Planned {
                url: url("/apis/cozystack.io/v1alpha1", &monitor, "workloadmonitors"),
                manager: "cozystack-controller",
                body: monitor,
            });
            planned.push(Planned {
                url: url("/apis/backups.cozystack.io/v1alpha1", &plan, "plans"),
                manager: "cozystack-controller",
                body: plan,
            });
        }
    }
    planned
}
