//! A conversion through two API servers on one etcd, one of which learns of everything late.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use serde_json::json;
use snapback::cluster::{Cluster, ConnectOptions};
use snapback::progress::Silent;
use snapback::restore::{Conversion, RestoreOptions, StorageStep};
use snapback::snapshot::Selection;

use super::site::Site;
use super::storage_versions_type::{GROUP, Type, open, version};
use crate::harness::control_plane::Options;
use crate::harness::load_balancer::LoadBalancer;

#[tokio::test(flavor = "multi_thread")]
async fn no_object_is_left_behind_through_an_api_server_that_lags() {
    let site = Site::start(Options::default().second_api_server()).await;
    let connect = async |kubeconfig| {
        Cluster::connect(&ConnectOptions { kubeconfig: Some(kubeconfig), context: None }).await.unwrap()
    };
    let second = connect(site.control_plane().second_kubeconfig()).await;
    let balancer = LoadBalancer::start(&[site.cluster.server(), second.server()]).await;
    let balanced = connect(site.control_plane().changed_kubeconfig("balanced", |config| {
        config["clusters"][0]["cluster"]["server"] = balancer.url().into();
    }))
    .await;
    let own = Type::install(&site, "laggards", &[version("v1alpha1", true, &open())]).await;
    let wanted = own.crd().await;
    own.upgrade(&[version("v1alpha1", false, &open()), version("v1", true, &open())], &json!({"strategy": "None"}))
        .await;
    let list = format!("/apis/{GROUP}/v1/namespaces/default/laggards");
    site.until(async || second.get(&list).await.is_ok()).await;
    for number in 0..40 {
        own.post("v1", "default", &format!("first-{number}"), &json!({"size": 1})).await;
    }

    let options = RestoreOptions::new(Selection::everything());
    let mut through_first = Conversion::new(&site.cluster, wanted.clone(), vec![own.crd().await], &options);
    let mut through_both = Conversion::new(&balanced, wanted.clone(), Vec::new(), &options);
    // The second server sleeps while the union takes the CRD's place, and wakes up with what it knew before.
    tokio::task::block_in_place(|| site.control_plane().pause_server("kube-apiserver-2"));
    let step = through_first.next_step().await.unwrap().unwrap();
    assert_eq!(step, StorageStep::Union);
    through_first.take(step, &Silent).await.unwrap();

    // Somebody goes on writing through it.
    let (stop, made) = (AtomicBool::new(false), AtomicU32::new(0));
    let writer = async {
        for number in 0.. {
            let body = Some(serde_json::to_vec(&own.object("v1", &format!("late-{number}"), &json!({}))).unwrap());
            // Refused once the version is gone.
            let posted = second.send(http::Method::POST, &list, body).await.is_ok();
            made.fetch_add(u32::from(posted), Ordering::Relaxed);
            if stop.load(Ordering::Relaxed) {
                break;
            }
        }
    };
    let wake = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        // Written by now through the first server, and the second one would write the next at the newer version.
        let early = own.stored();
        tokio::task::block_in_place(|| site.control_plane().resume_server("kube-apiserver-2"));
        assert!(early.values().all(|version| version == "v1"), "written before every server has the union: {early:?}");
    };
    let convert = async {
        let mut steps = Vec::new();
        while let Some(step) = through_both.next_step().await.unwrap() {
            steps.push(step);
            through_both.take(step, &Silent).await.unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        steps
    };
    let (steps, (), ()) = tokio::join!(convert, wake, writer);
    // In one go: nothing that was proven turned out to be wrong.
    assert_eq!(steps, [StorageStep::Rewrite, StorageStep::Narrow, StorageStep::Finish, StorageStep::Prove]);
    assert!(made.load(Ordering::Relaxed) > 0, "nothing was written through the second server");
    assert!(own.is_stored_at("v1alpha1"), "{:?}", own.stored());
    assert_eq!(own.crd().await["spec"], wanted["spec"]);
    let old = format!("/apis/{GROUP}/v1alpha1/laggards");
    for cluster in [&site.cluster, &second] {
        let bytes = cluster.get(&old).await.unwrap();
        let objects: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(objects["items"].as_array().unwrap().len(), own.stored().len());
    }
}
