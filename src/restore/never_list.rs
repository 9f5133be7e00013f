//! The never-list: what a restore leaves alone although it differs, each with its reason.
//!
//! Closed: a kind that is not here is restored. Sources: `facts/apiserver-tried.md` (objects with a will of their own)
//! and the reconcile loops of kube-apiserver, kube-controller-manager, Cilium, LINSTOR, Cluster API and KubeVirt.
//!
//! Beyond the list that this began with: requests that would run again. Velero 1.18 works on whatever is new of theirs
//! (`pkg/controller`: each phase that is empty or `New`), never restores Backups and Restores itself, makes Backups from
//! its storage, and deletes a Restore's files with its object. cert-manager 1.21 asks the ACME server for every Order and
//! Challenge without a URL in its status (`pkg/controller/acmeorders`, `acmechallenges`), which the status only follows.

use serde_json::Value;

use crate::snapshot::ObjectPath;

use super::error::RestoreError;

/// A rule of the never-list.
#[derive(Clone, Copy, Debug)]
pub struct NeverRule {
    /// Its name, by which it can be switched off.
    pub name: &'static str,
    /// What it covers.
    pub covers: &'static str,
    /// Why.
    pub reason: &'static str,
    /// How far it goes.
    pub reach: Reach,
    matches: fn(&ObjectPath, &Value) -> bool,
}

/// How far a rule goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Never created, changed or deleted.
    Untouched,
    /// Created when missing and changed in place, but never deleted nor made anew.
    NeverDeleted,
}

impl NeverRule {
    /// This object is covered.
    pub fn matches(&self, path: &ObjectPath, object: &Value) -> bool {
        (self.matches)(path, object)
    }
}

/// Every rule, in the order in which they are printed.
pub fn never_list() -> &'static [NeverRule] {
    &RULES
}

/// The rule of that name.
pub(super) fn rule(name: &str) -> Option<&'static NeverRule> {
    RULES.iter().find(|rule| rule.name == name)
}

/// Refuses names that are those of no rule.
///
/// # Errors
/// The first of them.
pub fn check_rules(names: &[String]) -> Result<(), RestoreError> {
    match names.iter().find(|name| rule(name).is_none()) {
        Some(name) => Err(RestoreError::UnknownRule { name: name.clone() }),
        None => Ok(()),
    }
}

/// The first rule that covers the object and is not switched off.
pub(super) fn covering(path: &ObjectPath, object: &Value, forced: &[String]) -> Option<&'static NeverRule> {
    RULES.iter().find(|rule| !forced.iter().any(|name| name == rule.name) && rule.matches(path, object))
}

const fn untouched(
    name: &'static str,
    covers: &'static str,
    reason: &'static str,
    matches: fn(&ObjectPath, &Value) -> bool,
) -> NeverRule {
    NeverRule { name, covers, reason, reach: Reach::Untouched, matches }
}

const fn never_deleted(
    name: &'static str,
    covers: &'static str,
    reason: &'static str,
    matches: fn(&ObjectPath, &Value) -> bool,
) -> NeverRule {
    NeverRule { name, covers, reason, reach: Reach::NeverDeleted, matches }
}

static RULES: [NeverRule; 31] = [
    untouched("events", "Events", "they report what happened and expire by themselves", |path, _| {
        is(path, "", "events") || is(path, "events.k8s.io", "events")
    }),
    untouched("leases", "Leases", "they say who leads now, not who led then", |path, _| {
        is(path, "coordination.k8s.io", "leases") || is(path, "coordination.k8s.io", "leasecandidates")
    }),
    untouched(
        "nodes",
        "Nodes",
        "the kubelet of a machine registers it; an object brings no machine back",
        |path, _| is(path, "", "nodes"),
    ),
    untouched("csinodes", "CSINodes", "the kubelet writes them from the drivers it finds", |path, _| {
        is(path, "storage.k8s.io", "csinodes")
    }),
    untouched(
        "volumeattachments",
        "VolumeAttachments",
        "they follow the pods; writing one attaches or detaches a disk",
        |path, _| is(path, "storage.k8s.io", "volumeattachments"),
    ),
    untouched("pods", "Pods", "their controllers make them; an old one would not run again", |path, _| {
        is(path, "", "pods")
    }),
    untouched(
        "replicasets",
        "ReplicaSets with a controller",
        "their Deployment makes them from its template",
        |path, object| is(path, "apps", "replicasets") && has_controller(object),
    ),
    untouched(
        "controllerrevisions",
        "ControllerRevisions with a controller",
        "their StatefulSet or DaemonSet makes them from its template",
        |path, object| is(path, "apps", "controllerrevisions") && has_controller(object),
    ),
    untouched(
        "endpoints",
        "Endpoints and EndpointSlices that a controller made",
        "they follow the pods that are ready now",
        |path, object| match path.resource.as_str() {
            "endpoints" if path.group.is_empty() => made_endpoints(path, object),
            "endpointslices" if path.group == "discovery.k8s.io" => made_endpoints(path, object),
            _ => false,
        },
    ),
    untouched(
        "reviews",
        "TokenReviews, SubjectAccessReviews and their like",
        "they are questions, not objects",
        |path, _| matches!(path.group.as_str(), "authentication.k8s.io" | "authorization.k8s.io"),
    ),
    untouched(
        "certificatesigningrequests",
        "CertificateSigningRequests",
        "approving one again would sign another certificate",
        |path, _| is(path, "certificates.k8s.io", "certificatesigningrequests"),
    ),
    untouched(
        "kube-root-ca.crt",
        "ConfigMap kube-root-ca.crt of each namespace",
        "the controller manager writes it with the cluster's CA of today",
        |path, _| is(path, "", "configmaps") && path.name == "kube-root-ca.crt",
    ),
    untouched(
        "other-api-servers",
        "objects that another API server answers for",
        "they are views of something that is kept elsewhere",
        |path, _| {
            matches!(
                path.group.as_str(),
                "metrics.k8s.io" | "custom.metrics.k8s.io" | "external.metrics.k8s.io" | "subresources.kubevirt.io"
            ) || is(path, "", "componentstatuses")
                || path.group == "internal.apiserver.k8s.io"
        },
    ),
    untouched(
        "linstor",
        "LINSTOR internals (internal.linstor.linbit.com)",
        "they are the LINSTOR controller's database; written from outside, it loses volumes",
        |path, _| path.group == "internal.linstor.linbit.com",
    ),
    untouched(
        "cilium-state",
        "CiliumEndpoints, CiliumEndpointSlices, CiliumIdentities, CiliumNodes",
        "Cilium's agents write them from what runs on each node",
        |path, _| {
            path.group == "cilium.io"
                && matches!(
                    path.resource.as_str(),
                    "ciliumendpoints" | "ciliumendpointslices" | "ciliumidentities" | "ciliumnodes"
                )
        },
    ),
    untouched(
        "machines",
        "Machines, MachineSets with a controller and Proxmox machines",
        "an object brings no machine back, and deleting one destroys a machine",
        |path, object| match (path.group.as_str(), path.resource.as_str()) {
            ("cluster.x-k8s.io", "machines") => true,
            ("cluster.x-k8s.io", "machinesets") => has_controller(object),
            ("infrastructure.cluster.x-k8s.io", resource) => resource.ends_with("machines"),
            _ => false,
        },
    ),
    untouched(
        "virtualmachineinstances",
        "VirtualMachineInstances and their migrations",
        "they are running machines; their VirtualMachine makes them",
        |path, _| {
            path.group == "kubevirt.io"
                && path.resource.starts_with("virtualmachineinstance")
                && !path.resource.contains("preset")
        },
    ),
    untouched("finished-jobs", "Jobs that finished", "made anew they would run a second time", |path, object| {
        is(path, "batch", "jobs") && finished(object)
    }),
    untouched(
        "velero-requests",
        "Velero's DeleteBackupRequests, DownloadRequests and ServerStatusRequests",
        "made anew they would be carried out again, and one of them deletes a backup with its data",
        |path, _| {
            path.group == "velero.io"
                && matches!(
                    path.resource.as_str(),
                    "deletebackuprequests" | "downloadrequests" | "serverstatusrequests"
                )
        },
    ),
    untouched(
        "velero-runs",
        "Velero's Backups and Restores, and their PodVolumeBackups, PodVolumeRestores, DataUploads and DataDownloads",
        "one that had not begun would run again, even onto volumes; what they tell of lies in Velero's storage",
        |path, _| {
            path.group == "velero.io"
                && matches!(
                    path.resource.as_str(),
                    "backups" | "restores" | "podvolumebackups" | "podvolumerestores" | "datauploads" | "datadownloads"
                )
        },
    ),
    untouched(
        "certificate-requests",
        "cert-manager's CertificateRequests, Orders and Challenges",
        "made anew they would ask the issuer again, and ACME servers limit how often; a Certificate makes them as it needs them",
        |path, _| {
            is(path, "cert-manager.io", "certificaterequests")
                || path.group == "acme.cert-manager.io" && matches!(path.resource.as_str(), "orders" | "challenges")
        },
    ),
    untouched(
        "automanaged-apiservices",
        "APIServices of built-in types and CRDs",
        "the API server makes them from what it serves",
        |path, object| {
            is(path, "apiregistration.k8s.io", "apiservices")
                && has_label(object, "kube-aggregator.kubernetes.io/automanaged")
        },
    ),
    untouched(
        "service-kubernetes",
        "Service `kubernetes`",
        "the API server makes it within seconds, with its own address",
        |path, _| is(path, "", "services") && path.namespace.as_deref() == Some("default") && path.name == "kubernetes",
    ),
    untouched(
        "ip-allocation",
        "ServiceCIDRs and IPAddresses",
        "the API server keeps them in step with the Services",
        |path, _| path.group == "networking.k8s.io" && matches!(path.resource.as_str(), "servicecidrs" | "ipaddresses"),
    ),
    untouched(
        "mirror-state",
        "ConfigMap extension-apiserver-authentication and the legacy token tracker",
        "the API server writes them at its start",
        |path, _| {
            is(path, "", "configmaps")
                && path.namespace.as_deref() == Some("kube-system")
                && matches!(
                    path.name.as_str(),
                    "extension-apiserver-authentication" | "kube-apiserver-legacy-service-account-token-tracking"
                )
        },
    ),
    untouched(
        "cluster-trust",
        "ClusterTrustBundles of the API server's own signers",
        "the controller manager writes them with the CA of today",
        |path, _| is(path, "certificates.k8s.io", "clustertrustbundles") && path.name.starts_with("kubernetes.io:"),
    ),
    never_deleted(
        "bootstrap-rbac",
        "the roles and bindings that the API server brings",
        "the control plane itself works with them",
        |path, object| {
            path.group == "rbac.authorization.k8s.io"
                && object.pointer("/metadata/labels/kubernetes.io~1bootstrapping").and_then(Value::as_str)
                    == Some("rbac-defaults")
        },
    ),
    never_deleted(
        "flow-control",
        "FlowSchemas and PriorityLevelConfigurations that the API server brings",
        "without them it may refuse every request",
        |path, object| {
            path.group == "flowcontrol.apiserver.k8s.io"
                && object.pointer("/metadata/annotations/apf.kubernetes.io~1autoupdate-spec").is_some()
        },
    ),
    never_deleted(
        "system-priorities",
        "PriorityClasses system-cluster-critical and system-node-critical",
        "the control plane's pods name them; the API server makes them at its start",
        |path, _| is(path, "scheduling.k8s.io", "priorityclasses") && path.name.starts_with("system-"),
    ),
    never_deleted(
        "system-namespaces",
        "Namespaces kube-* and default",
        "the control plane lives in them",
        |path, _| is(path, "", "namespaces") && (path.name.starts_with("kube-") || path.name == "default"),
    ),
    never_deleted(
        "default-serviceaccounts",
        "ServiceAccount `default` of each namespace",
        "the controller manager makes it with its namespace; with a new UID its tokens end",
        |path, _| is(path, "", "serviceaccounts") && path.name == "default",
    ),
];

fn is(path: &ObjectPath, group: &str, resource: &str) -> bool {
    path.group == group && path.resource == resource
}

fn has_controller(object: &Value) -> bool {
    let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    owners.is_some_and(|owners| owners.iter().any(|owner| owner.get("controller") == Some(&Value::Bool(true))))
}

fn has_label(object: &Value, label: &str) -> bool {
    object.pointer("/metadata/labels").and_then(|labels| labels.get(label)).is_some()
}

/// A person's own Endpoints name a Service without a selector and carry none of the controllers' marks.
fn made_endpoints(path: &ObjectPath, object: &Value) -> bool {
    let annotated = |key: &str| object.pointer("/metadata/annotations").and_then(|all| all.get(key)).is_some();
    has_controller(object)
        || annotated("endpoints.kubernetes.io/last-change-trigger-time")
        || has_label(object, "endpoints.kubernetes.io/managed-by")
        || has_label(object, "endpointslice.kubernetes.io/managed-by")
        || (path.namespace.as_deref() == Some("default") && path.name == "kubernetes")
}

fn finished(job: &Value) -> bool {
    let conditions = job.pointer("/status/conditions").and_then(Value::as_array);
    conditions.is_some_and(|conditions| {
        conditions.iter().any(|condition| {
            matches!(condition.get("type").and_then(Value::as_str), Some("Complete" | "Failed"))
                && condition.get("status").and_then(Value::as_str) == Some("True")
        })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::{Reach, covering, never_list};
    use crate::snapshot::ObjectPath;

    fn rule(path: &str, object: &Value) -> Option<&'static str> {
        covering(&ObjectPath::parse(path).unwrap(), object, &[]).map(|rule| rule.name)
    }

    #[test]
    fn each_rule_has_a_name_of_its_own_and_a_reason() {
        let names: BTreeSet<&str> = never_list().iter().map(|rule| rule.name).collect();
        assert_eq!(names.len(), never_list().len());
        assert!(never_list().iter().all(|rule| !rule.reason.is_empty() && !rule.covers.is_empty()));
    }

    #[test]
    fn each_rule_covers_what_it_says_and_is_switched_off_by_its_name() {
        let owned = || json!({"metadata": {"ownerReferences": [{"controller": true}]}});
        let labelled = |label: &str| json!({"metadata": {"labels": {label: "rbac-defaults"}}});
        let done = || json!({"status": {"conditions": [{"type": "Failed", "status": "True"}]}});
        let served = json!({"metadata": {"annotations": {"apf.kubernetes.io/autoupdate-spec": "true"}}});
        let samples = [
            ("events", "core/events/a/b", json!({})),
            ("leases", "coordination.k8s.io/leases/a/b", json!({})),
            ("nodes", "core/nodes/_/b", json!({})),
            ("csinodes", "storage.k8s.io/csinodes/_/b", json!({})),
            ("volumeattachments", "storage.k8s.io/volumeattachments/_/b", json!({})),
            ("pods", "core/pods/a/b", json!({})),
            ("replicasets", "apps/replicasets/a/b", owned()),
            ("controllerrevisions", "apps/controllerrevisions/a/b", owned()),
            ("endpoints", "discovery.k8s.io/endpointslices/a/b", owned()),
            ("reviews", "authentication.k8s.io/tokenreviews/_/b", json!({})),
            ("certificatesigningrequests", "certificates.k8s.io/certificatesigningrequests/_/b", json!({})),
            ("kube-root-ca.crt", "core/configmaps/a/kube-root-ca.crt", json!({})),
            ("other-api-servers", "metrics.k8s.io/pods/a/b", json!({})),
            ("linstor", "internal.linstor.linbit.com/volumes/_/b", json!({})),
            ("cilium-state", "cilium.io/ciliumidentities/_/b", json!({})),
            ("machines", "infrastructure.cluster.x-k8s.io/proxmoxmachines/a/b", json!({})),
            ("virtualmachineinstances", "kubevirt.io/virtualmachineinstances/a/b", json!({})),
            ("finished-jobs", "batch/jobs/a/b", done()),
            ("velero-requests", "velero.io/deletebackuprequests/a/b", json!({})),
            ("velero-runs", "velero.io/datadownloads/a/b", json!({})),
            ("certificate-requests", "acme.cert-manager.io/challenges/a/b", json!({})),
            (
                "automanaged-apiservices",
                "apiregistration.k8s.io/apiservices/_/b",
                labelled("kube-aggregator.kubernetes.io/automanaged"),
            ),
            ("service-kubernetes", "core/services/default/kubernetes", json!({})),
            ("ip-allocation", "networking.k8s.io/ipaddresses/_/b", json!({})),
            ("mirror-state", "core/configmaps/kube-system/extension-apiserver-authentication", json!({})),
            ("cluster-trust", "certificates.k8s.io/clustertrustbundles/_/kubernetes.io:a", json!({})),
            ("bootstrap-rbac", "rbac.authorization.k8s.io/clusterroles/_/b", labelled("kubernetes.io/bootstrapping")),
            ("flow-control", "flowcontrol.apiserver.k8s.io/flowschemas/_/b", served),
            ("system-priorities", "scheduling.k8s.io/priorityclasses/_/system-node-critical", json!({})),
            ("system-namespaces", "core/namespaces/_/kube-system", json!({})),
            ("default-serviceaccounts", "core/serviceaccounts/a/default", json!({})),
        ];
        let named: Vec<&str> = samples.iter().map(|(rule, ..)| *rule).collect();
        assert_eq!(named, never_list().iter().map(|rule| rule.name).collect::<Vec<_>>());
        for (rule, path, object) in samples {
            let (group, rest) = path.split_once('/').unwrap();
            let (resource, rest) = rest.split_once('/').unwrap();
            let (namespace, name) = rest.split_once('/').unwrap();
            let path = ObjectPath {
                group: if group == "core" { String::new() } else { group.to_owned() },
                resource: resource.to_owned(),
                namespace: (namespace != "_").then(|| namespace.to_owned()),
                name: name.to_owned(),
            };
            assert_eq!(covering(&path, &object, &[]).map(|found| found.name), Some(rule));
            assert_eq!(covering(&path, &object, &[rule.to_owned()]).map(|found| found.name), None, "{rule}");
        }
    }

    #[test]
    fn what_a_controller_made_is_told_from_what_a_person_made() {
        let controlled = json!({"metadata": {"ownerReferences": [{"controller": true}]}});
        let owned = json!({"metadata": {"ownerReferences": [{"kind": "Database"}]}});
        for path in ["cluster/apps/replicasets/a/b.json", "cluster/apps/controllerrevisions/a/b.json"] {
            assert!(rule(path, &controlled).is_some(), "{path}");
            assert_eq!(rule(path, &owned), None, "{path}");
        }
        assert_eq!(rule("cluster/core/endpoints/a/b.json", &json!({"metadata": {}})), None);
        assert_eq!(rule("cluster/core/configmaps/a/b.json", &controlled), None);
    }

    #[test]
    fn a_running_job_is_restored_and_a_finished_one_is_not() {
        let path = "cluster/batch/jobs/a/b.json";
        assert_eq!(rule(path, &json!({"status": {"active": 1}})), None);
        let done = json!({"status": {"conditions": [{"type": "Complete", "status": "True"}]}});
        assert_eq!(rule(path, &done), Some("finished-jobs"));
        let forced = ["finished-jobs".to_owned()];
        assert!(covering(&ObjectPath::parse(path).unwrap(), &done, &forced).is_none());
    }

    #[test]
    fn what_says_how_velero_and_cert_manager_work_is_restored() {
        for path in [
            "cluster/velero.io/schedules/a/b.json",
            "cluster/velero.io/backupstoragelocations/a/b.json",
            "cluster/velero.io/volumesnapshotlocations/a/b.json",
            "cluster/velero.io/backuprepositories/a/b.json",
            "cluster/cert-manager.io/certificates/a/b.json",
            "cluster/cert-manager.io/issuers/a/b.json",
            "cluster/cert-manager.io/clusterissuers/_/b.json",
        ] {
            assert_eq!(rule(path, &json!({"status": {"phase": "New"}})), None, "{path}");
        }
    }

    #[test]
    fn the_control_planes_own_objects_are_changed_in_place_only() {
        for (path, object) in [
            ("cluster/core/namespaces/_/kube-system.json", json!({})),
            ("cluster/core/serviceaccounts/a/default.json", json!({})),
            (
                "cluster/rbac.authorization.k8s.io/clusterroles/_/view.json",
                json!({"metadata": {"labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}}}),
            ),
        ] {
            let found = covering(&ObjectPath::parse(path).unwrap(), &object, &[]).unwrap();
            assert_eq!(found.reach, Reach::NeverDeleted, "{path}");
        }
    }
}
