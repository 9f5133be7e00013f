//! The manifest that installs or upgrades a CozyStack of 0.x: what `kubectl apply -f cozystack-installer.yaml` sends.

use serde_json::{Value, json};

use super::release::Release;

/// The namespace of the installer.
pub const NAMESPACE: &str = "cozy-system";
/// The name of its Deployment, Service, ServiceAccount and ClusterRoleBinding.
pub const NAME: &str = "cozystack";

/// The objects of a release's manifest. Only the Deployment differs from one release to the next.
pub fn manifest(release: Release) -> Vec<Value> {
    let image = release.image();
    let metadata = json!({ "name": NAME, "namespace": NAMESPACE });
    let labels = json!({ "app": NAME });
    let environment = json!([
        { "name": "KUBERNETES_SERVICE_HOST", "value": "localhost" },
        { "name": "KUBERNETES_SERVICE_PORT", "value": "7445" },
    ]);
    let not_ready = |key: &str| json!({ "key": key, "operator": "Exists", "effect": "NoSchedule" });
    vec![
        json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": NAMESPACE,
                "labels": { "cozystack.io/system": "true", "pod-security.kubernetes.io/enforce": "privileged" },
            },
        }),
        json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": { "name": NAME },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" },
            "subjects": [{ "kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE }],
        }),
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {
                "selector": labels,
                "type": "ClusterIP",
                "ports": [{ "name": "http", "port": 80, "targetPort": 8123 }],
            },
        }),
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "replicas": 1,
                "selector": { "matchLabels": labels },
                "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 0, "maxUnavailable": 1 } },
                "template": {
                    "metadata": { "labels": labels },
                    "spec": {
                        "hostNetwork": true,
                        "serviceAccountName": NAME,
                        "containers": [
                            { "name": "cozystack", "image": image, "env": environment },
                            { "name": "assets", "image": image, "command": ["/usr/bin/cozystack-assets-server"],
                              "ports": [{ "name": "http", "containerPort": 8123 }] },
                        ],
                        "tolerations": [
                            not_ready("node.kubernetes.io/not-ready"),
                            not_ready("node.cilium.io/agent-not-ready"),
                        ],
                    },
                },
            },
        }),
    ]
}
