//! Cluster API's `Cluster` objects are paused and put back.

use serde_json::{Value, json};
use snapback::journal::{Held, Prior};
use snapback::restore::quiesce::{Started, prior};

use crate::restore::site::{CRDS, Site, essence};

const CLUSTERS: &str = "/apis/cluster.x-k8s.io/v1beta1/namespaces/tenant-a/clusters";

impl Site {
    pub(super) async fn a_cluster_is_paused_where_it_is_stored_and_put_back_as_it_was(&self) {
        self.namespace("tenant-a").await;
        let item = |name: &str| Held::ClusterApi { namespace: "tenant-a".to_owned(), name: name.to_owned() };
        assert_eq!(self.prior(&item("a")).await, Prior::Absent, "no such type");
        assert!(!self.stop(&item("a"), &Prior::Absent).await.unwrap().present);

        let loose = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let schema = json!({"type": "object", "properties": {"spec": loose, "status": loose}});
        let version = |name: &str, storage: bool| {
            json!({"name": name, "served": true, "storage": storage, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": schema}})
        };
        // Stored at a version that is not the preferred one.
        let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "clusters.cluster.x-k8s.io",
                "annotations": {"api-approved.kubernetes.io": "unapproved, a stand-in"}},
            "spec": {"group": "cluster.x-k8s.io", "scope": "Namespaced",
                "versions": [version("v1beta1", true), version("v1beta2", false)],
                "names": {"plural": "clusters", "kind": "Cluster", "singular": "cluster"}}});
        self.post(CRDS, crd).await;
        self.until(async || self.get(CLUSTERS).await.is_some()).await;
        let mut before = Vec::new();
        for (name, spec) in
            [("unset", json!({"a": 1})), ("running", json!({"paused": false})), ("paused", json!({"paused": true}))]
        {
            let object = json!({"apiVersion": "cluster.x-k8s.io/v1beta1", "kind": "Cluster", "metadata": {"name": name},
                "spec": spec});
            self.post(CLUSTERS, object).await;
            before.push((name, self.get(&format!("{CLUSTERS}/{name}")).await.unwrap()));
        }
        let tree = self.snapshot().await;
        for (name, paused, mark) in
            [("unset", None, "unset"), ("running", Some(false), "false"), ("paused", Some(true), "true")]
        {
            assert_eq!(prior(&tree, &item(name)).await.unwrap(), Prior::Paused(paused));
            let stopped = self.stop(&item(name), &Prior::Paused(paused)).await.unwrap();
            assert!(stopped.present && !stopped.unconfirmed, "one that never says anything is believed");
            let held = self.get(&format!("{CLUSTERS}/{name}")).await.unwrap();
            assert_eq!(
                (&held["spec"]["paused"], &held["metadata"]["annotations"]["snapback.io/held-paused"]),
                (&json!(true), &json!(mark))
            );
        }
        for (name, before) in &before {
            let was = prior(&tree, &item(name)).await.unwrap();
            let started = self.start_again(&item(name), &was, Some(before)).await;
            assert_eq!(started, Started::Exact);
            assert_eq!(essence(&self.get(&format!("{CLUSTERS}/{name}")).await.unwrap()), essence(before));
        }

        // Its CRD went back to another version meanwhile, and it did not.
        let url = format!("{CLUSTERS}/running");
        let was = Prior::Paused(Some(false));
        self.stop(&item("running"), &was).await.unwrap();
        let mut newer = self.get(&url).await.unwrap();
        newer["apiVersion"] = json!("cluster.x-k8s.io/v2");
        assert_eq!(self.start_again(&item("running"), &was, Some(&newer)).await, Started::Untargeted);
        let after = self.get(&url).await.unwrap();
        assert_eq!((&after["spec"], after["metadata"].get("annotations")), (&json!({"paused": false}), None));

        // A controller that speaks is waited for.
        let status = |status: &str| json!({"status": {"conditions": [{"type": "Paused", "status": status}]}});
        self.patch(&format!("{url}/status"), status("False")).await;
        let (stopping, controller) = tokio::join!(async { self.stop(&item("running"), &was).await.unwrap() }, async {
            self.until(async || self.get(&url).await.unwrap()["spec"]["paused"] == true).await;
            self.patch(&format!("{url}/status"), status("True")).await
        });
        assert!(!stopping.unconfirmed, "it was seen that the controller noticed");
        let noticed: &Value = &controller["status"]["conditions"][0]["status"];
        assert_eq!(noticed, "True");
    }
}
