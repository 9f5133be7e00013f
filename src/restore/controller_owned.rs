//! Which status, and which fields outside of it, belong to a controller of the control plane.
//!
//! Source: the controllers of kube-controller-manager and kube-apiserver, and `facts/apiserver-tried.md` ("write no
//! status for PV, PVC, Namespace, CRD and workloads"). A custom resource's status belongs to whoever wrote it last and
//! is restored; the controllers that would fight are held still meanwhile ([`super::quiesce`]).

use crate::snapshot::ObjectPath;

/// Names under which the control plane's own controllers write.
pub(super) const CONTROLLERS: [&str; 5] = [
    "clusterrole-aggregation-controller",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "pv-protection-controller",
];

/// The counter of a Deployment's ReplicaSets.
pub(super) const DEPLOYMENT_REVISION: &str = "deployment.kubernetes.io/revision";
/// The counter of a DaemonSet's templates.
pub(super) const DAEMON_SET_GENERATION: &str = "deprecated.daemonset.template.generation";

/// A controller of the control plane writes this type's status.
pub(super) fn owns_status(path: &ObjectPath) -> bool {
    match (path.group.as_str(), path.resource.as_str()) {
        (
            "",
            "namespaces"
            | "nodes"
            | "persistentvolumes"
            | "persistentvolumeclaims"
            | "pods"
            | "replicationcontrollers"
            | "resourcequotas",
        )
        | ("policy", "poddisruptionbudgets")
        | ("networking.k8s.io", "servicecidrs")
        // Cluster API builds it anew from what it finds, which is its contract, and does so whenever a pause ends.
        | ("cluster.x-k8s.io", "clusters") => true,
        (
            "apps"
            | "batch"
            | "autoscaling"
            | "apiextensions.k8s.io"
            | "apiregistration.k8s.io"
            | "certificates.k8s.io"
            | "flowcontrol.apiserver.k8s.io"
            | "resource.k8s.io"
            | "storagemigration.k8s.io",
            _,
        ) => true,
        ("admissionregistration.k8s.io", resource) => resource.ends_with("admissionpolicies"),
        _ => false,
    }
}

/// Annotations that a controller counts in.
pub(super) fn counters(path: &ObjectPath) -> &'static [&'static str] {
    match (path.group.as_str(), path.resource.as_str()) {
        ("apps", "deployments") => &[DEPLOYMENT_REVISION],
        ("apps", "daemonsets") => &[DAEMON_SET_GENERATION],
        _ => &[],
    }
}
