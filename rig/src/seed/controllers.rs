//! The Deployments of controllers that no chart of the small CozyStack makes: Flux's and Cluster API's, with the names,
//! labels and images of their own releases.

use serde_json::{Value, json};

use super::planned::Planned;

struct Controller {
    namespace: &'static str,
    name: &'static str,
    image: &'static str,
    /// Labels beside the one that the pods are chosen by.
    labels: &'static [(&'static str, &'static str)],
    /// The label that the pods are chosen by.
    chosen_by: (&'static str, &'static str),
    manager: &'static str,
}

const FLUX_LABELS: &[(&str, &str)] = &[
    ("app.kubernetes.io/instance", "cozy-fluxcd"),
    ("app.kubernetes.io/managed-by", "flux-operator"),
    ("app.kubernetes.io/part-of", "flux"),
    ("control-plane", "controller"),
    ("fluxcd.controlplane.io/name", "flux"),
    ("fluxcd.controlplane.io/namespace", "cozy-fluxcd"),
];

const fn flux(name: &'static str, image: &'static str) -> Controller {
    let (labels, chosen_by) = (FLUX_LABELS, ("app", name));
    Controller { namespace: "cozy-fluxcd", name, image, labels, chosen_by, manager: "flux-operator" }
}

const fn cluster_api(
    namespace: &'static str,
    name: &'static str,
    image: &'static str,
    labels: &'static [(&'static str, &'static str)],
) -> Controller {
    let chosen_by = ("control-plane", "controller-manager");
    Controller { namespace, name, image, labels, chosen_by, manager: "cluster-api-operator" }
}

const CONTROLLERS: &[Controller] = &[
    Controller {
        namespace: "cozy-fluxcd",
        name: "flux-operator",
        image: "ghcr.io/controlplaneio-fluxcd/flux-operator:v0.24.0",
        labels: &[("app.kubernetes.io/instance", "flux-operator"), ("app.kubernetes.io/managed-by", "Helm")],
        chosen_by: ("app.kubernetes.io/name", "flux-operator"),
        manager: "helm",
    },
    flux("source-controller", "ghcr.io/fluxcd/source-controller:v1.6.2"),
    flux("kustomize-controller", "ghcr.io/fluxcd/kustomize-controller:v1.6.1"),
    flux("helm-controller", "ghcr.io/fluxcd/helm-controller:v1.3.0"),
    flux("notification-controller", "ghcr.io/fluxcd/notification-controller:v1.6.0"),
    cluster_api(
        "cozy-cluster-api",
        "capi-controller-manager",
        "registry.k8s.io/cluster-api/cluster-api-controller:v1.10.3",
        &[("cluster.x-k8s.io/provider", "cluster-api")],
    ),
    cluster_api(
        "cozy-cluster-api",
        "capi-kubeadm-bootstrap-controller-manager",
        "registry.k8s.io/cluster-api/kubeadm-bootstrap-controller:v1.10.3",
        &[("cluster.x-k8s.io/provider", "bootstrap-kubeadm")],
    ),
    cluster_api(
        "capmox-system",
        "capmox-controller-manager",
        "ghcr.io/ionos-cloud/cluster-api-provider-proxmox:v0.7.3",
        &[("cluster.x-k8s.io/provider", "infrastructure-proxmox")],
    ),
];

/// Each controller's ServiceAccount and Deployment.
pub fn deployments() -> Vec<Planned> {
    CONTROLLERS.iter().flat_map(|controller| [account(controller), deployment(controller)]).collect()
}

fn labels(controller: &Controller) -> Value {
    let chosen_by = std::iter::once(&controller.chosen_by);
    chosen_by.chain(controller.labels).map(|(name, value)| ((*name).to_owned(), json!(value))).collect()
}

fn account(controller: &Controller) -> Planned {
    let Controller { namespace, name, manager, .. } = controller;
    let metadata = json!({ "name": name, "namespace": namespace, "labels": labels(controller) });
    Planned {
        url: format!("/api/v1/namespaces/{namespace}/serviceaccounts"),
        manager,
        body: json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata }),
    }
}

fn deployment(controller: &Controller) -> Planned {
    let Controller { namespace, name, manager, image, chosen_by, .. } = controller;
    let labels = labels(controller);
    // Two controllers of Cluster API in one namespace differ by their provider only.
    let selector = match *manager {
        "cluster-api-operator" => labels.clone(),
        _ => json!({ chosen_by.0: chosen_by.1 }),
    };
    let body = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": name, "namespace": namespace, "labels": labels },
        "spec": {
            "replicas": 1,
            "selector": { "matchLabels": selector },
            "template": {
                "metadata": { "labels": labels },
                "spec": {
                    "serviceAccountName": name,
                    "containers": [{
                        "name": "manager",
                        "image": image,
                        "args": ["--log-level=info", "--enable-leader-election"],
                        "ports": [{ "name": "http-prom", "containerPort": 8080 }, { "name": "healthz", "containerPort": 9440 }],
                        "resources": { "requests": { "cpu": "10m", "memory": "64Mi" } },
                    }],
                },
            },
        },
    });
    Planned { url: format!("/apis/apps/v1/namespaces/{namespace}/deployments"), manager, body }
}
