//! What the installer applies: namespaces, HelmRepositories and HelmReleases, shaped as the platform chart of CozyStack
//! 0.36 and 0.37 renders them (public source: packages/core/platform/templates).
//!
//! In: a release and the components that the cluster does without (`bundle-disable` of the ConfigMap `cozystack`). Out:
//! objects as `kubectl apply` sends them, last-applied annotation included. Invariant: the same release and the same
//! components always give the same objects, so a cluster that has them is left alone.

use serde_json::{Value, json};

use super::last_applied::with_last_applied;
use super::release::Release;

/// A component of the platform: one HelmRelease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Component {
    /// The namespace of its HelmRelease.
    pub namespace: &'static str,
    /// Its name; its chart is `cozy-NAME`.
    pub name: &'static str,
    /// Namespace and name of the HelmReleases it waits for.
    pub depends_on: &'static [&'static str],
}

const fn component(namespace: &'static str, name: &'static str, depends_on: &'static [&'static str]) -> Component {
    Component { namespace, name, depends_on }
}

/// The bundle `paas-full` of 0.36, in its order. The first of them are what a small cluster has, those that the hop to
/// 0.37 deletes among them.
const COMPONENTS: &[Component] = &[
    component("cozy-cilium", "cilium", &[]),
    component("cozy-kubeovn", "kubeovn", &["cozy-cilium/cilium"]),
    component("cozy-system", "cozystack-controller", &["cozy-cilium/cilium"]),
    component("cozy-system", "cozystack-api", &["cozy-cilium/cilium", "cozy-system/cozystack-controller"]),
    component("cozy-cert-manager", "cert-manager-crds", &["cozy-cilium/cilium"]),
    component("cozy-cert-manager", "cert-manager", &["cozy-cert-manager/cert-manager-crds"]),
    component("cozy-cert-manager", "cert-manager-issuers", &["cozy-cert-manager/cert-manager"]),
    component("cozy-metallb", "metallb", &["cozy-cilium/cilium"]),
    component("cozy-dashboard", "dashboard", &["cozy-cilium/cilium"]),
    component("cozy-postgres-operator", "postgres-operator", &["cozy-cert-manager/cert-manager"]),
    component("cozy-etcd-operator", "etcd-operator", &["cozy-cert-manager/cert-manager"]),
    component("cozy-cilium", "cilium-networkpolicy", &["cozy-cilium/cilium"]),
    component("cozy-fluxcd", "fluxcd-operator", &["cozy-cilium/cilium"]),
    component("cozy-fluxcd", "fluxcd", &["cozy-fluxcd/fluxcd-operator"]),
    component("cozy-kubeovn", "kubeovn-webhook", &["cozy-cert-manager/cert-manager"]),
    component("cozy-system", "cozy-proxy", &["cozy-cilium/cilium"]),
    component("cozy-victoria-metrics-operator", "victoria-metrics-operator", &["cozy-cert-manager/cert-manager"]),
    component("cozy-monitoring", "monitoring-agents", &[METRICS]),
    component("cozy-kubevirt", "kubevirt-operator", &[METRICS]),
    component("cozy-kubevirt", "kubevirt", &["cozy-kubevirt/kubevirt-operator"]),
    component("cozy-kubevirt", "kubevirt-instancetypes", &["cozy-kubevirt/kubevirt"]),
    component("cozy-kubevirt-cdi", "kubevirt-cdi-operator", &["cozy-cilium/cilium"]),
    component("cozy-kubevirt-cdi", "kubevirt-cdi", &["cozy-kubevirt-cdi/kubevirt-cdi-operator"]),
    component("cozy-grafana-operator", "grafana-operator", &["cozy-cilium/cilium"]),
    component("cozy-mariadb-operator", "mariadb-operator", &[METRICS]),
    component("cozy-kafka-operator", "kafka-operator", &[METRICS]),
    component("cozy-clickhouse-operator", "clickhouse-operator", &[METRICS]),
    component("cozy-rabbitmq-operator", "rabbitmq-operator", &["cozy-cilium/cilium"]),
    component("cozy-redis-operator", "redis-operator", &[METRICS]),
    component("cozy-linstor", "piraeus-operator", &["cozy-cert-manager/cert-manager"]),
    component("cozy-linstor", "linstor", &["cozy-linstor/piraeus-operator"]),
    component("cozy-snapshot-controller", "snapshot-controller", &["cozy-cert-manager/cert-manager-issuers"]),
    component("cozy-objectstorage-controller", "objectstorage-controller", &["cozy-cilium/cilium"]),
    component("cozy-kamaji", "kamaji", &["cozy-cert-manager/cert-manager"]),
    component("cozy-cluster-api", "capi-operator", &["cozy-cert-manager/cert-manager"]),
    component("cozy-cluster-api", "capi-providers", &["cozy-cluster-api/capi-operator"]),
    component("cozy-goldpinger", "goldpinger", &["cozy-monitoring/monitoring-agents"]),
    component("cozy-vertical-pod-autoscaler", "vertical-pod-autoscaler-crds", &["cozy-cilium/cilium"]),
    component(
        "cozy-vertical-pod-autoscaler",
        "vertical-pod-autoscaler",
        &["cozy-vertical-pod-autoscaler/vertical-pod-autoscaler-crds"],
    ),
    component("cozy-reloader", "reloader", &["cozy-cilium/cilium"]),
];

const METRICS: &str = "cozy-victoria-metrics-operator/victoria-metrics-operator";

/// What 0.37 adds.
const NEW_IN_0_37: &[Component] = &[
    component("cozy-system", "cozystack-resource-definition-crd", &["cozy-cilium/cilium"]),
    component(
        "cozy-system",
        "cozystack-resource-definitions",
        &["cozy-cilium/cilium", "cozy-system/cozystack-resource-definition-crd"],
    ),
    component("cozy-system", "lineage-controller-webhook", &["cozy-cilium/cilium", "cozy-system/cozystack-controller"]),
];

/// What cozystack-api waits for from 0.37 on: the resource definitions have a release of their own.
const API_DEPENDS_ON_IN_0_37: &[&str] = &["cozy-cilium/cilium", "cozy-system/cozystack-resource-definition-crd"];

/// Namespaces that are there without a component: of the installer, Flux, the repositories and Cluster API.
const NAMESPACES: [&str; 5] = ["cozy-system", "cozy-public", "cozy-fluxcd", "cozy-cluster-api", "capmox-system"];

/// Every component of a release.
pub fn components(release: Release) -> Vec<Component> {
    let mut components = COMPONENTS.to_vec();
    if release >= Release::V0_37_2 {
        components.extend(NEW_IN_0_37);
        for component in components.iter_mut().filter(|component| component.name == "cozystack-api") {
            component.depends_on = API_DEPENDS_ON_IN_0_37;
        }
    }
    components
}

/// The names of all but the first components of 0.36: what the ConfigMap of a cluster with so few releases disables.
pub fn all_but_the_first(count: usize) -> Vec<&'static str> {
    COMPONENTS.iter().skip(count).map(|component| component.name).collect()
}

fn enabled(release: Release, disabled: &[&str]) -> Vec<Component> {
    components(release).into_iter().filter(|component| !disabled.contains(&component.name)).collect()
}

/// The names of the platform's namespaces.
pub fn namespace_names(release: Release, disabled: &[&str]) -> Vec<&'static str> {
    let mut names = NAMESPACES.to_vec();
    for component in enabled(release, disabled) {
        if !names.contains(&component.namespace) {
            names.push(component.namespace);
        }
    }
    names
}

/// The platform's namespaces.
pub fn namespaces(release: Release, disabled: &[&str]) -> Vec<Value> {
    let namespace = |name| {
        with_last_applied(json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": name,
                "annotations": { "helm.sh/resource-policy": "keep" },
                "labels": { "cozystack.io/system": "true", "pod-security.kubernetes.io/enforce": "privileged" },
            },
        }))
    };
    namespace_names(release, disabled).into_iter().map(namespace).collect()
}

/// The namespace of the migration counter.
pub const STAMP_NAMESPACE: &str = "cozy-system";
/// The ConfigMap of the migration counter.
pub const STAMP: &str = "cozystack-version";

/// The ConfigMap that holds the counter.
pub fn stamp(counter: u32) -> Value {
    with_last_applied(json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": STAMP, "namespace": STAMP_NAMESPACE },
        "data": { "version": counter.to_string() },
    }))
}

/// The chart repositories, which the installer's own pod serves.
pub fn repositories() -> Vec<Value> {
    let repository = |namespace: &str, name: &str, path: &str| {
        with_last_applied(json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1",
            "kind": "HelmRepository",
            "metadata": { "name": name, "namespace": namespace, "labels": { "cozystack.io/repository": path } },
            "spec": { "interval": "5m0s", "url": format!("http://cozystack.cozy-system.svc/repos/{path}") },
        }))
    };
    vec![
        repository("cozy-system", "cozystack-system", "system"),
        repository("cozy-public", "cozystack-apps", "apps"),
        repository("cozy-public", "cozystack-extra", "extra"),
    ]
}

/// The HelmReleases: one for each component, and the root tenant's.
pub fn helm_releases(release: Release, disabled: &[&str]) -> Vec<Value> {
    let mut releases: Vec<Value> = enabled(release, disabled).into_iter().map(helm_release).collect();
    releases.push(with_last_applied(tenant("tenant-root", "platform.example.org", ANY_VERSION)));
    releases
}

/// The version constraint of what follows the platform.
pub const ANY_VERSION: &str = ">= 0.0.0-0";

fn helm_release(component: Component) -> Value {
    let depends_on: Vec<Value> = component
        .depends_on
        .iter()
        .filter_map(|path| path.split_once('/'))
        .map(|(namespace, name)| json!({ "name": name, "namespace": namespace }))
        .collect();
    let remediation = json!({ "crds": "CreateReplace", "remediation": { "retries": -1 } });
    with_last_applied(json!({
        "apiVersion": "helm.toolkit.fluxcd.io/v2",
        "kind": "HelmRelease",
        "metadata": {
            "name": component.name,
            "namespace": component.namespace,
            "labels": { "cozystack.io/repository": "system", "cozystack.io/system-app": "true" },
        },
        "spec": {
            "interval": "5m",
            "releaseName": component.name,
            "install": remediation,
            "upgrade": remediation,
            "dependsOn": depends_on,
            "chart": { "spec": {
                "chart": format!("cozy-{}", component.name),
                "reconcileStrategy": "Revision",
                "version": ANY_VERSION,
                "sourceRef": { "kind": "HelmRepository", "name": "cozystack-system", "namespace": "cozy-system" },
            } },
            "values": { "component": component.name, "logLevel": "info", "replicas": 1 },
        },
    }))
}

/// The HelmRelease of a tenant, as cozystack-api makes it of a Tenant.
pub fn tenant(name: &str, host: &str, version: &str) -> Value {
    json!({
        "apiVersion": "helm.toolkit.fluxcd.io/v2",
        "kind": "HelmRelease",
        "metadata": {
            "name": name,
            "namespace": "tenant-root",
            "labels": { "cozystack.io/ui": "true", "apps.cozystack.io/application.kind": "Tenant" },
        },
        "spec": {
            "interval": "0s",
            "releaseName": name,
            "install": { "remediation": { "retries": -1 } },
            "upgrade": { "remediation": { "retries": -1 } },
            "chart": { "spec": {
                "chart": "tenant",
                "reconcileStrategy": "Revision",
                "version": version,
                "sourceRef": { "kind": "HelmRepository", "name": "cozystack-apps", "namespace": "cozy-public" },
            } },
            "values": { "host": host, "etcd": true, "monitoring": name == "tenant-root", "isolated": true },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::{Release, all_but_the_first, components, helm_releases};

    #[test]
    fn whatever_a_component_waits_for_is_there() {
        for release in Release::ALL {
            let components = components(release);
            let known: Vec<String> =
                components.iter().map(|component| format!("{}/{}", component.namespace, component.name)).collect();
            for component in components {
                assert!(
                    component.depends_on.iter().all(|path| known.iter().any(|known| known == path)),
                    "{component:?}"
                );
            }
        }
    }

    #[test]
    fn a_small_cluster_has_what_the_next_release_adds() {
        let disabled = all_but_the_first(11);
        let count = |release| helm_releases(release, &disabled).len();
        assert_eq!((count(Release::V0_36_2), count(Release::V0_37_2)), (12, 15));
    }
}
