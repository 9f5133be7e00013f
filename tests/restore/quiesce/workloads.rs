//! Deployments: stopped, put back, hanging, changed by others, and started again and again.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use snapback::journal::Prior;
use snapback::progress::Silent;
use snapback::restore::quiesce::{
    HELD_BY, HELD_REPLICAS, Left, Quiesce, QuiesceError, Role, Started, Stopped, find, prior,
};

use super::{PATIENCE, bytes, deployment};
use crate::restore::site::Site;

pub(super) const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/cozy-system/deployments";
const PODS: &str = "/api/v1/namespaces/cozy-system/pods";
/// What every Deployment here is before.
pub(super) const TWO: Prior = Prior::Replicas(Some(2));

fn url(name: &str) -> String {
    format!("{DEPLOYMENTS}/{name}")
}

impl Site {
    /// A Deployment that several hands wrote, with its pods.
    pub(super) async fn installer(&self, name: &str) -> Value {
        let labels = json!({"app": name});
        let template = json!({"metadata": {"labels": labels},
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "main", "image": "example.org/x:1"}]}});
        let manifest = json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": name, "namespace": "cozy-system", "annotations": {"note": "kept"}},
            "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}});
        tokio::task::block_in_place(|| self.control_plane().apply(&manifest.to_string()));
        self.patch(&url(name), json!({"metadata": {"labels": {"by": "another-hand"}}})).await;
        self.until(async || self.get(&url(name)).await.unwrap()["status"]["readyReplicas"] == 2).await;
        self.get(&url(name)).await.unwrap()
    }

    pub(super) async fn pods_of(&self, name: &str) -> Vec<Value> {
        let list = self.get(&format!("{PODS}?labelSelector=app%3D{name}")).await.unwrap();
        list["items"].as_array().unwrap().clone()
    }

    async fn stop_deployment(&self, name: &str) {
        self.stop(&deployment(name), &TWO).await.unwrap();
    }

    async fn start_deployment(&self, name: &str, target: Option<&Value>) -> Started {
        self.start_again(&deployment(name), &TWO, target).await
    }

    pub(super) async fn a_deployment_is_stopped_and_put_back(&self) {
        let before = self.installer("cozystack").await;
        let autoscaler = json!({"metadata": {"name": "grows"}, "spec": {"maxReplicas": 4,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "cozystack"}}});
        self.post("/apis/autoscaling/v2/namespaces/cozy-system/horizontalpodautoscalers", autoscaler).await;
        let tree = self.snapshot().await;
        let found = find(&tree, &tree, &[]).await.unwrap();
        let item = deployment("cozystack");
        assert_eq!(found.iter().map(|hold| (&hold.item, hold.role)).collect::<Vec<_>>(), [(&item, Role::Installer)]);
        assert_eq!(prior(&tree, &item).await.unwrap(), TWO);
        let nowhere = deployment("nowhere");
        assert_eq!(prior(&tree, &nowhere).await.unwrap(), Prior::Absent);
        assert_eq!(self.stop(&nowhere, &Prior::Absent).await.unwrap(), Stopped::default());

        // Somebody scaled it since the snapshot: what counts is the snapshot.
        self.patch(&url("cozystack"), json!({"spec": {"replicas": 3}})).await;
        let stopped = self.stop(&item, &TWO).await.unwrap();
        assert_eq!((stopped.present, stopped.autoscalers), (true, vec!["grows".to_owned()]));
        assert!(self.pods_of("cozystack").await.is_empty());
        let held = self.get(&url("cozystack")).await.unwrap();
        assert_eq!(held["spec"]["replicas"], 0);
        let marks = &held["metadata"]["annotations"];
        assert_eq!((&marks[HELD_BY], &marks[HELD_REPLICAS]), (&json!("t1"), &json!("2")));

        // Once more changes nothing, and nobody else has a say.
        let writes = self.our_writes().await.len();
        self.stop(&item, &TWO).await.unwrap();
        let refused = self.hand("t2").stop(&item, &TWO).await.unwrap_err();
        assert_eq!(refused.to_string(), "`deployment cozy-system/cozystack` is held by another transaction, `t1`");
        let left = self.hand("t2").start(&item, &TWO, Some(&before)).await.unwrap();
        assert_eq!(left, Started::Left(Left::HeldByOther { holder: "t1".to_owned() }));
        assert_eq!(self.our_writes().await.len(), writes);

        // It takes no more rights than it says.
        let account = self.holder_of("starter", std::slice::from_ref(&item)).await;
        let modest = Quiesce { cluster: &account, ..self.hand("t1") };
        modest.stop(&item, &TWO).await.unwrap();
        assert_eq!(modest.start(&item, &TWO, Some(&before)).await.unwrap(), Started::Exact);
        self.until(async || self.get(&url("cozystack")).await.unwrap()["status"]["readyReplicas"] == 2).await;
        assert_eq!(bytes(&self.get(&url("cozystack")).await.unwrap()), bytes(&before));
        let writes = self.our_writes().await.len();
        assert_eq!(self.start_deployment("cozystack", Some(&before)).await, Started::Exact);
        assert_eq!(self.our_writes().await.len(), writes, "once more changes nothing");

        // Killed between two writes of putting back: all is there but the field managers.
        self.stop_deployment("cozystack").await;
        let mut half = before.clone();
        half["metadata"]["resourceVersion"] =
            self.get(&url("cozystack")).await.unwrap()["metadata"]["resourceVersion"].clone();
        half["metadata"]["managedFields"] = json!([{}]);
        self.send(Method::PUT, &url("cozystack"), Some(half)).await;
        assert_eq!(self.start_deployment("cozystack", Some(&before)).await, Started::Exact);
        assert_eq!(bytes(&self.get(&url("cozystack")).await.unwrap()), bytes(&before));
    }

    pub(super) async fn what_hangs_is_named_and_a_killed_stop_goes_on(&self) {
        let before = self.installer("hangs").await;
        let pod = self.pods_of("hangs").await[0]["metadata"]["name"].as_str().unwrap().to_owned();
        let pod_url = format!("{PODS}/{pod}");
        self.patch(&pod_url, json!({"metadata": {"finalizers": ["example.org/hold"]}})).await;

        // Killed as soon as it is marked.
        let killed = {
            let cluster = self.cluster.clone();
            tokio::spawn(async move {
                let hand = Quiesce { cluster: &cluster, transaction: "t1", patience: PATIENCE, progress: &Silent };
                hand.stop(&deployment("hangs"), &TWO).await
            })
        };
        self.until(async || self.get(&url("hangs")).await.unwrap()["spec"]["replicas"] == 0).await;
        killed.abort();
        self.until(async || self.pods_of("hangs").await.len() == 1).await;
        let impatient = Quiesce { patience: Duration::ZERO, ..self.hand("t1") };
        let waited = impatient.stop(&deployment("hangs"), &TWO).await.unwrap_err().to_string();
        assert!(
            waited.starts_with("`deployment cozy-system/hangs` is scaled to 0 and does not come to rest"),
            "{waited}"
        );
        assert!(waited.contains(&format!("pod {pod} on node ")), "{waited}");
        assert!(
            waited.contains("being deleted since") && waited.contains("held by finalizer example.org/hold"),
            "{waited}"
        );

        self.patch(&pod_url, json!({"metadata": {"finalizers": null}})).await;
        self.stop_deployment("hangs").await;
        assert_eq!(self.get(&url("hangs")).await.unwrap()["metadata"]["annotations"][HELD_REPLICAS], "2");
        assert_eq!(self.start_deployment("hangs", Some(&before)).await, Started::Exact);
        assert_eq!(bytes(&self.get(&url("hangs")).await.unwrap()), bytes(&before));
    }

    pub(super) async fn what_others_did_meanwhile_stays(&self) {
        let before = self.installer("shared").await;
        self.stop_deployment("shared").await;
        self.patch(&url("shared"), json!({"spec": {"replicas": 5}})).await;
        let started = self.start_deployment("shared", Some(&before)).await;
        assert_eq!(started, Started::Left(Left::StartedMeanwhile));
        let after = self.get(&url("shared")).await.unwrap();
        assert_eq!((&after["spec"]["replicas"], &after["metadata"]["annotations"][HELD_BY]), (&json!(5), &Value::Null));
        assert_eq!(self.start_deployment("shared", Some(&before)).await, Started::Left(Left::NotHeld));

        self.stop_deployment("shared").await;
        let image =
            json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "example.org/x:2"}]}}}});
        let body = Some(image.to_string().into_bytes());
        let patch = "application/strategic-merge-patch+json";
        self.cluster.send_as(Method::PATCH, &url("shared"), patch, body).await.unwrap();
        let fields = vec!["spec.template.spec.containers[main].image".to_owned()];
        let started = self.start_deployment("shared", Some(&before)).await;
        assert_eq!(started, Started::ChangedMeanwhile { fields });
        let after = self.get(&url("shared")).await.unwrap();
        assert_eq!(after["spec"]["replicas"], 2);
        assert_eq!(after["spec"]["template"]["spec"]["containers"][0]["image"], "example.org/x:2");
        assert_eq!(after["metadata"]["annotations"][HELD_BY], Value::Null);

        // No snapshot has it: it runs again as it was, or as its marks say.
        for was in [TWO, Prior::Absent] {
            self.stop(&deployment("shared"), &was).await.unwrap();
            assert_eq!(self.start_again(&deployment("shared"), &was, None).await, Started::Untargeted);
            let now = self.get(&url("shared")).await.unwrap();
            assert_eq!((&now["spec"], &now["metadata"]["annotations"][HELD_BY]), (&after["spec"], &Value::Null));
        }
        // What went is nobody's to start.
        self.stop_deployment("shared").await;
        self.remove(&url("shared")).await;
        assert_eq!(self.start_deployment("shared", Some(&before)).await, Started::Absent);
    }

    pub(super) async fn what_is_started_again_and_again_is_given_up(&self) {
        self.installer("stubborn").await;
        let starter = {
            let cluster = self.cluster.clone();
            tokio::spawn(async move {
                loop {
                    // Only what is stopped is started, so that it can never be at rest.
                    let patch = json!([{"op": "test", "path": "/spec/replicas", "value": 0},
                        {"op": "replace", "path": "/spec/replicas", "value": 1}]);
                    let body = Some(patch.to_string().into_bytes());
                    let started = format!("{}?fieldManager=the-installer", url("stubborn"));
                    drop(cluster.send_as(Method::PATCH, &started, "application/json-patch+json", body).await);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            })
        };
        let refused = self.stop(&deployment("stubborn"), &TWO).await.unwrap_err();
        starter.abort();
        assert!(matches!(&refused, QuiesceError::Resists { .. }), "{refused}");
        let text = refused.to_string();
        assert!(text.contains("is started again as often as it is stopped, by the-installer"), "{text}");
        self.remove(&url("stubborn")).await;
    }
}
