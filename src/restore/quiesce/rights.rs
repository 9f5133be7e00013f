//! What the account must be allowed to do in order to hold things still, and to put them back.
//!
//! In: what will be held, and where the lease is. Out: rights, as for a plan. Pure. They are asked for before the first
//! change: a right that is found missing half-way leaves a platform half stopped.

use std::collections::BTreeSet;

use crate::journal::Held;

use super::super::lease::LeaseOptions;
use super::super::rights::{Right, RightVerb};

/// What the lease takes.
pub fn lease_rights(lease: &LeaseOptions) -> BTreeSet<Right> {
    use RightVerb::{Create, Delete, Get, Update};
    let leases = right("coordination.k8s.io", "leases", Some(&lease.namespace));
    [Get, Create, Update, Delete].map(&leases).into()
}

/// Everything that holding these takes, and looking for dead backends, and the lease.
pub fn needed_rights<'a>(items: impl IntoIterator<Item = &'a Held>, lease: &LeaseOptions) -> BTreeSet<Right> {
    use RightVerb::{Create, Delete, Get, List, Update};
    let mut rights = lease_rights(lease);
    for resource in ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"] {
        rights.insert(right("admissionregistration.k8s.io", resource, None)(List));
    }
    rights.insert(right("apiregistration.k8s.io", "apiservices", None)(List));
    rights.insert(right("", "services", None)(Get));
    rights.insert(right("discovery.k8s.io", "endpointslices", None)(List));
    for item in items {
        let path = item.object_path();
        let namespace = path.namespace.as_deref();
        let own = right(&path.group, &path.resource, namespace);
        match item {
            Held::Deployment { .. } | Held::StatefulSet { .. } => {
                rights.extend([Get, Update].map(own));
                rights.insert(right("", "pods", namespace)(List));
                rights.insert(right("apps", "replicasets", namespace)(List));
                rights.insert(right("autoscaling", "horizontalpodautoscalers", namespace)(List));
            }
            Held::ClusterApi { .. } => {
                rights.extend([Get, Update].map(own));
                rights.insert(right("apiextensions.k8s.io", "customresourcedefinitions", None)(Get));
            }
            // One that comes back set aside goes again when the snapshot is not reached.
            Held::MutatingWebhook { .. } | Held::ValidatingWebhook { .. } => {
                rights.extend([Get, Update, Delete].map(own));
            }
            Held::ApiService { .. } => rights.extend([Get, Create, Update, Delete].map(own)),
        }
    }
    rights
}

fn right(group: &str, resource: &str, namespace: Option<&str>) -> impl Fn(RightVerb) -> Right {
    let right = Right {
        group: group.to_owned(),
        resource: resource.to_owned(),
        of_status: false,
        namespace: namespace.map(str::to_owned),
        verb: RightVerb::Get,
    };
    move |verb| Right { verb, ..right.clone() }
}
