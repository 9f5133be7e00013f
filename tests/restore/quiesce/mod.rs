//! What would undo a restore is stopped and set aside, and put back, on control planes whose controllers run.

mod backends;
mod clusters;
mod fighting;

mod plan;
mod workloads;

use std::time::Duration;

use serde_json::{Value, json};
use snapback::cluster::{Cluster, ConnectOptions};
use snapback::journal::{Grip, Held, HeldItem, Prior};
use snapback::progress::Silent;
use snapback::restore::quiesce::{Quiesce, QuiesceError, Started, Stopped, needed_rights, prior};
use snapback::restore::{LeaseOptions, denied_rights};

use super::site::{Site, essence};
use crate::harness::control_plane::Options;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A Deployment beside the installer's.
fn deployment(name: &str) -> Held {
    Held::Deployment { namespace: "cozy-system".to_owned(), name: name.to_owned() }
}

/// As the journal has it once it was stopped.
fn stopped(item: Held, was: Prior) -> HeldItem {
    HeldItem { item, was, grip: Grip::Stopped }
}

impl Site {
    /// The hand of a transaction.
    fn hand<'a>(&'a self, transaction: &'a str) -> Quiesce<'a> {
        Quiesce { cluster: &self.cluster, transaction, patience: PATIENCE, progress: &Silent }
    }

    /// A connection that may do what holding these takes, and nothing else.
    async fn holder_of(&self, user: &str, items: &[Held]) -> Cluster {
        let rights = needed_rights(items, &LeaseOptions::default());
        let rules: Vec<Value> = rights
            .iter()
            .map(|right| json!({"apiGroups": [right.group], "resources": [right.resource], "verbs": [right.verb.word()]}))
            .collect();
        let rbac = |resource: &str| format!("/apis/rbac.authorization.k8s.io/v1/{resource}");
        self.post(&rbac("clusterroles"), json!({"metadata": {"name": user}, "rules": rules})).await;
        let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": user});
        let subjects = json!([{"kind": "User", "name": user}]);
        let binding = json!({"metadata": {"name": user}, "subjects": subjects, "roleRef": role});
        self.post(&rbac("clusterrolebindings"), binding).await;
        let kubeconfig = tokio::task::block_in_place(|| self.control_plane().kubeconfig_for(user, None));
        let cluster = Cluster::connect(&ConnectOptions { kubeconfig: Some(kubeconfig), context: None }).await.unwrap();
        self.until(async || denied_rights(&cluster, &rights).await.is_ok_and(|denied| denied.is_empty())).await;
        cluster
    }

    /// What the journal would say of it, from a snapshot of now.
    async fn prior(&self, item: &Held) -> Prior {
        prior(&self.snapshot().await, item).await.unwrap()
    }

    async fn stop(&self, item: &Held, was: &Prior) -> Result<Stopped, QuiesceError> {
        self.hand("t1").stop(item, was).await
    }

    async fn start_again(&self, item: &Held, was: &Prior, target: Option<&Value>) -> Started {
        self.hand("t1").start(item, was, target).await.unwrap()
    }
}

/// Everything of a Deployment that its controller does not write.
fn bytes(deployment: &Value) -> String {
    let mut deployment = essence(deployment);
    deployment.as_object_mut().unwrap().remove("status");
    let annotations = deployment["metadata"]["annotations"].as_object_mut().unwrap();
    annotations.remove("deployment.kubernetes.io/revision");
    let managers = deployment["metadata"]["managedFields"].as_array_mut().unwrap();
    managers.retain(|entry| entry["manager"] != "kube-controller-manager");
    deployment.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn workloads_are_stopped_and_put_back_to_the_byte_and_only_by_who_stopped_them() {
    let site = Site::start(Options::default().controllers()).await;
    site.namespace("cozy-system").await;
    site.a_deployment_is_stopped_and_put_back().await;
    site.what_hangs_is_named_and_a_killed_stop_goes_on().await;
    site.what_others_did_meanwhile_stays().await;
    site.what_is_started_again_and_again_is_given_up().await;
    site.what_is_held_stays_held_through_a_restore_and_ends_exactly().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_backend_answers_for_is_set_aside_and_clusters_are_paused() {
    let site = Site::start(Options::default().controllers()).await;
    site.namespace("hooks").await;
    site.a_webhook_with_a_dead_backend_is_set_aside_and_put_back().await;
    site.an_api_service_with_a_dead_backend_keeps_no_namespace_while_it_is_set_aside().await;
    site.a_cluster_is_paused_where_it_is_stored_and_put_back_as_it_was().await;
}
