//! Workloads of the platform and the tenants: Deployments with Services, StatefulSets, DaemonSets, Jobs, CronJobs,
//! volumes with claims, and the policies around them.

use serde_json::{Value, json};

use super::planned::{Planned, object, with};
use super::random::Random;
use crate::installer::Release;
use crate::installer::last_applied::with_last_applied;

fn pod_template(name: &str, restart: &str, random: &mut Random) -> Value {
    let environment: Vec<Value> = (0..random.between(2, 8))
        .map(|number| json!({ "name": format!("{}_{number}", random.word().to_uppercase()), "value": random.words(2) }))
        .collect();
    json!({
        "metadata": { "labels": { "app": name, "policy.cozystack.io/allow-to-apiserver": "true" } },
        "spec": {
            "restartPolicy": restart,
            "containers": [{
                "name": "main",
                "image": format!("ghcr.io/cozystack/cozystack/{}:v{}@sha256:{}", random.word(), Release::SEEDED.version(), random.hex(64)),
                "args": [format!("--{}={}", random.word(), random.word()), "--leader-elect"],
                "env": environment,
                "ports": [{ "name": "metrics", "containerPort": 8080 }],
                "resources": { "requests": { "cpu": "10m", "memory": "64Mi" }, "limits": { "memory": format!("{}Mi", 64 * random.between(1, 8)) } },
                "volumeMounts": [{ "name": "scratch", "mountPath": "/tmp" }],
            }],
            "volumes": [{ "name": "scratch", "emptyDir": {} }],
        },
    })
}

fn place(namespaces: &[String], random: &mut Random, number: usize) -> (String, String) {
    let namespace = random.pick(namespaces).cloned().unwrap_or_default();
    (namespace, format!("{}-{}-{number}", random.word(), random.word()))
}

/// Deployments, every one with a Service. One in eight runs a pod; the others are scaled to zero, which leaves most of
/// a large cluster to objects that do not move.
pub fn deployments(count: usize, namespaces: &[String], random: &mut Random) -> Vec<Planned> {
    let mut planned = Vec::with_capacity(2 * count);
    for number in 0..count {
        let (namespace, name) = place(namespaces, random, number);
        let spec = json!({ "spec": {
            "replicas": usize::from(number.is_multiple_of(8)),
            "selector": { "matchLabels": { "app": name } },
            "template": pod_template(&name, "Always", random),
        } });
        let mut deployment = with(object("apps/v1", "Deployment", Some(&namespace), &name, random), spec);
        if number.is_multiple_of(4) {
            deployment = with_last_applied(deployment);
        }
        let spec = json!({ "spec": {
            "selector": { "app": name },
            "ports": [{ "name": "metrics", "port": 8080, "targetPort": "metrics" }],
            "type": if number % 10 == 9 { "NodePort" } else { "ClusterIP" },
        } });
        let service = with(object("v1", "Service", Some(&namespace), &name, random), spec);
        planned.push(Planned {
            url: format!("/apis/apps/v1/namespaces/{namespace}/deployments"),
            manager: "helm",
            body: deployment,
        });
        planned.push(Planned {
            url: format!("/api/v1/namespaces/{namespace}/services"),
            manager: "helm",
            body: service,
        });
    }
    planned
}

/// StatefulSets, DaemonSets, Jobs and CronJobs in turn.
pub fn others(count: usize, namespaces: &[String], random: &mut Random) -> Vec<Planned> {
    let plan = |number: usize| {
        let (namespace, name) = place(namespaces, random, number);
        let selector = json!({ "matchLabels": { "app": name } });
        let (group, resource, kind, spec) = match number % 4 {
            0 => (
                "apps",
                "statefulsets",
                "StatefulSet",
                json!({
                    "replicas": usize::from(number.is_multiple_of(16)),
                    "serviceName": name,
                    "selector": selector,
                    "template": pod_template(&name, "Always", random),
                }),
            ),
            // A label that no node has: the DaemonSet stays without pods.
            1 => {
                let mut template = pod_template(&name, "Always", random);
                if let Some(spec) = template.get_mut("spec").and_then(Value::as_object_mut) {
                    spec.insert("nodeSelector".to_owned(), json!({ "node.example.org/gpu": "true" }));
                }
                ("apps", "daemonsets", "DaemonSet", json!({ "selector": selector, "template": template }))
            }
            2 => {
                ("batch", "jobs", "Job", json!({ "backoffLimit": 1, "template": pod_template(&name, "Never", random) }))
            }
            _ => (
                "batch",
                "cronjobs",
                "CronJob",
                json!({
                    "schedule": format!("{} {} * * *", random.below(60), random.below(24)),
                    "suspend": true,
                    "jobTemplate": { "spec": { "template": pod_template(&name, "OnFailure", random) } },
                }),
            ),
        };
        let body = with(object(&format!("{group}/v1"), kind, Some(&namespace), &name, random), json!({ "spec": spec }));
        Planned { url: format!("/apis/{group}/v1/namespaces/{namespace}/{resource}"), manager: "helm", body }
    };
    (0..count).map(plan).collect()
}

/// PersistentVolumes of the storage class `replicated`, each with the claim that holds it.
pub fn volumes(count: usize, namespaces: &[String], random: &mut Random) -> Vec<Planned> {
    let class = json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": { "name": "replicated", "annotations": { "storageclass.kubernetes.io/is-default-class": "true" } },
        "provisioner": "linstor.csi.linbit.com",
        "parameters": { "linstor.csi.linbit.com/storagePool": "data", "linstor.csi.linbit.com/autoPlace": "3" },
        "volumeBindingMode": "Immediate",
        "allowVolumeExpansion": true,
    });
    let mut planned = vec![Planned {
        url: "/apis/storage.k8s.io/v1/storageclasses".to_owned(),
        manager: "kubectl-create",
        body: class,
    }];
    for number in 0..count {
        let (namespace, claim) = place(namespaces, random, number);
        let name =
            format!("pvc-{}-{}-4{}-8{}-{}", random.hex(8), random.hex(4), random.hex(3), random.hex(3), random.hex(12));
        let (size, modes) = (format!("{}Gi", random.between(1, 200)), json!(["ReadWriteOnce"]));
        let volume = json!({ "spec": {
            "accessModes": modes,
            "capacity": { "storage": size },
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": "replicated",
            "claimRef": { "apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": claim, "namespace": namespace },
            "csi": { "driver": "linstor.csi.linbit.com", "volumeHandle": name, "fsType": "ext4" },
        } });
        let request = json!({ "spec": {
            "accessModes": modes,
            "resources": { "requests": { "storage": size } },
            "storageClassName": "replicated",
            "volumeName": name,
        } });
        let volume = with(object("v1", "PersistentVolume", None, &name, random), volume);
        let request = with(object("v1", "PersistentVolumeClaim", Some(&namespace), &claim, random), request);
        planned.push(Planned { url: "/api/v1/persistentvolumes".to_owned(), manager: "linstor-csi", body: volume });
        planned.push(Planned {
            url: format!("/api/v1/namespaces/{namespace}/persistentvolumeclaims"),
            manager: "helm",
            body: request,
        });
    }
    planned
}

/// NetworkPolicies, PodDisruptionBudgets and Ingresses in turn.
pub fn policies(count: usize, namespaces: &[String], random: &mut Random) -> Vec<Planned> {
    let plan = |number: usize| {
        let (namespace, name) = place(namespaces, random, number);
        let selector = json!({ "matchLabels": { "app": random.word() } });
        let (group, resource, kind, spec) = match number % 4 {
            0 | 1 => (
                "networking.k8s.io",
                "networkpolicies",
                "NetworkPolicy",
                json!({
                    "podSelector": selector,
                    "policyTypes": ["Ingress", "Egress"],
                    "ingress": [{ "from": [{ "namespaceSelector": { "matchLabels": { "tenant.cozystack.io/tenant-root": "" } } }],
                                  "ports": [{ "protocol": "TCP", "port": random.between(1024, 9999) }] }],
                    "egress": [{ "to": [{ "ipBlock": { "cidr": "0.0.0.0/0", "except": [format!("10.{}.0.0/16", random.below(256))] } }] }],
                }),
            ),
            2 => (
                "policy",
                "poddisruptionbudgets",
                "PodDisruptionBudget",
                json!({ "minAvailable": 1, "selector": selector }),
            ),
            _ => (
                "networking.k8s.io",
                "ingresses",
                "Ingress",
                json!({
                    "ingressClassName": "tenant-root",
                    "tls": [{ "hosts": [format!("{name}.platform.example.org")], "secretName": format!("{name}-tls") }],
                    "rules": [{ "host": format!("{name}.platform.example.org"), "http": { "paths": [
                        { "path": "/", "pathType": "Prefix", "backend": { "service": { "name": name, "port": { "number": 80 } } } },
                    ] } }],
                }),
            ),
        };
        let body = with(object(&format!("{group}/v1"), kind, Some(&namespace), &name, random), json!({ "spec": spec }));
        Planned { url: format!("/apis/{group}/v1/namespaces/{namespace}/{resource}"), manager: "helm", body }
    };
    (0..count).map(plan).collect()
}
