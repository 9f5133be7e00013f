//! What makes the cluster a CozyStack: its namespaces, its ConfigMaps, the installer, HelmRepositories and HelmReleases,
//! shaped as the platform chart of CozyStack 0.35 renders them (public source: packages/core/platform/templates).

use serde_json::{Value, json};

use super::planned::{Planned, labelled, object, with};
use super::random::Random;
use super::size::Counts;

/// The CozyStack version that the small cluster plays.
pub const PLATFORM_VERSION: &str = "0.35.5";

/// The migration counter that releases 0.34.3 to 0.35.5 write into `cozystack-version`.
const MIGRATION_COUNTER: &str = "18";

/// Namespace, HelmRelease and what it depends on: the bundle `paas-full`, in its order. The first of them are what a
/// small cluster has.
const RELEASES: &[(&str, &str, &[&str])] = &[
    ("cozy-cilium", "cilium", &[]),
    ("cozy-kubeovn", "kubeovn", &["cozy-cilium/cilium"]),
    ("cozy-system", "cozystack-api", &["cozy-cilium/cilium"]),
    ("cozy-cert-manager", "cert-manager-crds", &["cozy-cilium/cilium"]),
    ("cozy-cert-manager", "cert-manager", &["cozy-cert-manager/cert-manager-crds"]),
    ("cozy-cert-manager", "cert-manager-issuers", &["cozy-cert-manager/cert-manager"]),
    ("cozy-metallb", "metallb", &["cozy-cilium/cilium"]),
    ("cozy-etcd-operator", "etcd-operator", &["cozy-cert-manager/cert-manager"]),
    ("cozy-postgres-operator", "postgres-operator", &["cozy-cert-manager/cert-manager"]),
    ("cozy-cilium", "cilium-networkpolicy", &["cozy-cilium/cilium"]),
    ("cozy-fluxcd", "fluxcd-operator", &["cozy-cilium/cilium"]),
    ("cozy-fluxcd", "fluxcd", &["cozy-fluxcd/fluxcd-operator"]),
    ("cozy-kubeovn", "kubeovn-webhook", &["cozy-cert-manager/cert-manager"]),
    ("cozy-system", "cozy-proxy", &["cozy-cilium/cilium"]),
    ("cozy-system", "cozystack-controller", &["cozy-cilium/cilium"]),
    ("cozy-victoria-metrics-operator", "victoria-metrics-operator", &["cozy-cert-manager/cert-manager"]),
    ("cozy-monitoring", "monitoring-agents", &["cozy-victoria-metrics-operator/victoria-metrics-operator"]),
    ("cozy-kubevirt", "kubevirt-operator", &["cozy-victoria-metrics-operator/victoria-metrics-operator"]),
    ("cozy-kubevirt", "kubevirt", &["cozy-kubevirt/kubevirt-operator"]),
    ("cozy-kubevirt", "kubevirt-instancetypes", &["cozy-kubevirt/kubevirt"]),
    ("cozy-kubevirt-cdi", "kubevirt-cdi-operator", &["cozy-cilium/cilium"]),
    ("cozy-kubevirt-cdi", "kubevirt-cdi", &["cozy-kubevirt-cdi/kubevirt-cdi-operator"]),
    ("cozy-grafana-operator", "grafana-operator", &["cozy-cilium/cilium"]),
    ("cozy-mariadb-operator", "mariadb-operator", &["cozy-victoria-metrics-operator/victoria-metrics-operator"]),
    ("cozy-kafka-operator", "kafka-operator", &["cozy-victoria-metrics-operator/victoria-metrics-operator"]),
    ("cozy-clickhouse-operator", "clickhouse-operator", &["cozy-victoria-metrics-operator/victoria-metrics-operator"]),
    ("cozy-rabbitmq-operator", "rabbitmq-operator", &["cozy-cilium/cilium"]),
    ("cozy-redis-operator", "redis-operator", &["cozy-victoria-metrics-operator/victoria-metrics-operator"]),
    ("cozy-linstor", "piraeus-operator", &["cozy-cert-manager/cert-manager"]),
    ("cozy-linstor", "linstor", &["cozy-linstor/piraeus-operator"]),
    ("cozy-snapshot-controller", "snapshot-controller", &["cozy-cert-manager/cert-manager-issuers"]),
    ("cozy-objectstorage-controller", "objectstorage-controller", &["cozy-cilium/cilium"]),
    ("cozy-dashboard", "dashboard", &["cozy-cilium/cilium"]),
    ("cozy-kamaji", "kamaji", &["cozy-cert-manager/cert-manager"]),
    ("cozy-cluster-api", "capi-operator", &["cozy-cert-manager/cert-manager"]),
    ("cozy-cluster-api", "capi-providers", &["cozy-cluster-api/capi-operator"]),
    ("cozy-goldpinger", "goldpinger", &["cozy-monitoring/monitoring-agents"]),
    ("cozy-vertical-pod-autoscaler", "vertical-pod-autoscaler-crds", &["cozy-cilium/cilium"]),
    (
        "cozy-vertical-pod-autoscaler",
        "vertical-pod-autoscaler",
        &["cozy-vertical-pod-autoscaler/vertical-pod-autoscaler-crds"],
    ),
    ("cozy-reloader", "reloader", &["cozy-cilium/cilium"]),
];

/// The platform's releases of a cluster of this size.
fn releases(counts: &Counts) -> impl Iterator<Item = &'static (&'static str, &'static str, &'static [&'static str])> {
    RELEASES.iter().take(counts.releases)
}

/// The names of all components of the platform.
pub fn components() -> impl Iterator<Item = &'static str> {
    RELEASES.iter().map(|(_, name, _)| *name)
}

/// Every namespace, those of the platform first.
pub fn namespaces(counts: &Counts) -> Vec<String> {
    let mut names = vec!["cozy-system".to_owned(), "cozy-public".to_owned(), "cozy-fluxcd".to_owned()];
    for (namespace, _, _) in releases(counts) {
        if !names.iter().any(|name| name == namespace) {
            names.push((*namespace).to_owned());
        }
    }
    names.extend(tenants(counts));
    names
}

/// The namespaces of tenants.
pub fn tenants(counts: &Counts) -> Vec<String> {
    let well_known = ["tenant-root", "tenant-foo", "tenant-bar"].map(str::to_owned);
    let numbered = (well_known.len()..counts.tenants).map(|number| format!("tenant-t{number:03}"));
    well_known.into_iter().chain(numbered).collect()
}

/// The Namespace objects.
pub fn namespace_objects(counts: &Counts) -> Vec<Planned> {
    let body = |name: &String| {
        let metadata = if name.starts_with("tenant-") {
            json!({ "name": name, "labels": { "tenant.cozystack.io/tenant-root": "", format!("tenant.cozystack.io/{name}"): "" } })
        } else {
            json!({
                "name": name,
                "annotations": { "helm.sh/resource-policy": "keep" },
                "labels": { "cozystack.io/system": "true", "pod-security.kubernetes.io/enforce": "privileged" },
            })
        };
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata })
    };
    let plan = |name| Planned { url: "/api/v1/namespaces".to_owned(), manager: "cozystack", body: body(name) };
    namespaces(counts).iter().map(plan).collect()
}

fn config_map(name: &str, data: &Value) -> Planned {
    let metadata = json!({ "name": name, "namespace": "cozy-system" });
    Planned {
        url: "/api/v1/namespaces/cozy-system/configmaps".to_owned(),
        manager: "kubectl-client-side-apply",
        body: json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data }),
    }
}

/// ConfigMaps and the installer: what a person looks at first on a CozyStack.
pub fn core_objects(random: &mut Random) -> Vec<Planned> {
    let cilium = "cilium:\n  bpf:\n    masquerade: false\n  cni:\n    chainingMode: ~\n";
    let image = format!("ghcr.io/cozystack/cozystack/installer:v{PLATFORM_VERSION}@sha256:{}", random.hex(64));
    let installer = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "cozystack", "namespace": "cozy-system" },
        "spec": {
            "replicas": 1,
            "selector": { "matchLabels": { "app": "cozystack" } },
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 0, "maxUnavailable": 1 } },
            "template": {
                "metadata": { "labels": { "app": "cozystack" } },
                "spec": {
                    "hostNetwork": true,
                    "serviceAccountName": "cozystack",
                    "containers": [
                        { "name": "cozystack", "image": image, "env": [
                            { "name": "KUBERNETES_SERVICE_HOST", "value": "localhost" },
                            { "name": "KUBERNETES_SERVICE_PORT", "value": "7445" },
                        ] },
                        { "name": "assets", "image": image, "command": ["/usr/bin/cozystack-assets-server"],
                          "ports": [{ "name": "http", "containerPort": 8123 }] },
                    ],
                },
            },
        },
    });
    let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "cozystack", "namespace": "cozy-system" } });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": { "name": "cozystack" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" },
        "subjects": [{ "kind": "ServiceAccount", "name": "cozystack", "namespace": "cozy-system" }],
    });
    let apply = |url: &str, body| Planned { url: url.to_owned(), manager: "kubectl-client-side-apply", body };
    vec![
        config_map(
            "cozystack",
            &json!({
                "bundle-name": "paas-full",
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
        config_map("cozystack-version", &json!({ "version": MIGRATION_COUNTER })),
        config_map("cozystack-branding", &json!({ "branding": "Example" })),
        apply("/api/v1/namespaces/cozy-system/serviceaccounts", account),
        apply("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding),
        apply("/apis/apps/v1/namespaces/cozy-system/deployments", installer),
    ]
}

/// The chart repositories, the ones that the charts of the platform come from.
pub fn repositories() -> Vec<Planned> {
    let repository = |namespace: &str, name: &str, path: &str| Planned {
        url: format!("/apis/source.toolkit.fluxcd.io/v1/namespaces/{namespace}/helmrepositories"),
        manager: "cozystack",
        body: json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1",
            "kind": "HelmRepository",
            "metadata": { "name": name, "namespace": namespace, "labels": { "cozystack.io/repository": path } },
            "spec": { "interval": "5m0s", "url": format!("http://cozystack.cozy-system.svc/repos/{path}") },
        }),
    };
    vec![
        repository("cozy-system", "cozystack-system", "system"),
        repository("cozy-public", "cozystack-apps", "apps"),
        repository("cozy-public", "cozystack-extra", "extra"),
    ]
}

/// The HelmReleases: one for each component of the platform, and one for each of the well-known tenants.
pub fn helm_releases(counts: &Counts, random: &mut Random) -> Vec<Planned> {
    let url = |namespace: &str| format!("/apis/helm.toolkit.fluxcd.io/v2/namespaces/{namespace}/helmreleases");
    let mut planned = Vec::new();
    for (namespace, name, depends_on) in releases(counts) {
        let depends_on: Vec<Value> = depends_on
            .iter()
            .filter_map(|path| path.split_once('/'))
            .map(|(namespace, name)| json!({ "name": name, "namespace": namespace }))
            .collect();
        let release = object("helm.toolkit.fluxcd.io/v2", "HelmRelease", Some(namespace), name, random);
        let release =
            labelled(release, json!({ "cozystack.io/repository": "system", "cozystack.io/system-app": "true" }));
        let remediation = json!({ "crds": "CreateReplace", "remediation": { "retries": -1 } });
        let spec = json!({
            "interval": "5m",
            "releaseName": name,
            "install": remediation,
            "upgrade": remediation,
            "dependsOn": depends_on,
            "chart": { "spec": {
                "chart": format!("cozy-{name}"),
                "reconcileStrategy": "Revision",
                "version": ">= 0.0.0-0",
                "sourceRef": { "kind": "HelmRepository", "name": "cozystack-system", "namespace": "cozy-system" },
            } },
            "values": { "component": name, "logLevel": random.text(&["info", "warning", "debug"]), "replicas": 1 },
        });
        planned.push(Planned {
            url: url(namespace),
            manager: "cozystack",
            body: with(release, json!({ "spec": spec })),
        });
    }
    for (tenant, host) in [("tenant-root", "platform.example.org"), ("tenant-foo", "foo.platform.example.org")] {
        let release = object("helm.toolkit.fluxcd.io/v2", "HelmRelease", Some("tenant-root"), tenant, random);
        let release =
            labelled(release, json!({ "cozystack.io/ui": "true", "apps.cozystack.io/application.kind": "Tenant" }));
        let spec = json!({
            "interval": "0s",
            "releaseName": tenant,
            "install": { "remediation": { "retries": -1 } },
            "upgrade": { "remediation": { "retries": -1 } },
            "chart": { "spec": {
                "chart": "tenant",
                "reconcileStrategy": "Revision",
                "version": if tenant == "tenant-foo" { "1.11.2" } else { ">= 0.0.0-0" },
                "sourceRef": { "kind": "HelmRepository", "name": "cozystack-apps", "namespace": "cozy-public" },
            } },
            "values": { "host": host, "etcd": true, "monitoring": tenant == "tenant-root", "isolated": true },
        });
        planned.push(Planned {
            url: url("tenant-root"),
            manager: "cozystack-api",
            body: with(release, json!({ "spec": spec })),
        });
    }
    planned
}
