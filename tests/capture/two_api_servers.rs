//! Two API servers on one etcd: a capture is one revision whichever of them answers, and a load balancer may send every
//! page of a list to another one.

use std::collections::BTreeSet;
use std::path::PathBuf;

use k8s_openapi::ByteString;
use serde_json::json;
use snapback::cluster::Cluster;

use super::taking::{connect, connect_with, create, only, take, take_after};
use super::turns::{Writer, is_one_state, prepare, turns_of};
use crate::harness::audit::AuditEvent;
use crate::harness::control_plane::{ControlPlane, Options};
use crate::harness::load_balancer::LoadBalancer;

/// Enough for several pages, whatever their limit.
const MANY: usize = 1500;
/// How many captures at most until some list's pages came from both.
const TRIES: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_capture_through_several_api_servers_is_one_state_and_complete() {
    let control_plane = ControlPlane::start(&Options::default().second_api_server());
    let first = connect(&control_plane).await;
    let second = connect_with(control_plane.second_kubeconfig()).await;
    assert_ne!(first.server(), second.server());
    prepare(&first).await;
    fill(&first).await;

    // Written through the one, captured through the other, whose caches lag behind.
    let writer = Writer::start(&first);
    let mut states = BTreeSet::new();
    for _ in 0..6 {
        let taken = take_after(&second, &only(&["*.test.snapback"]), None).await.unwrap();
        assert_eq!(taken.capture.unlistable, []);
        let turns = turns_of(&taken).await;
        assert!(is_one_state(&turns), "{turns:?} at {}", taken.capture.revision);
        states.insert(turns);
    }
    assert!(states.len() > 1, "nothing was written between two captures");

    // Through a load balancer, until the pages of some list came from both.
    let balancer = LoadBalancer::start(&[first.server(), second.server()]).await;
    let balanced = through(&control_plane, &balancer).await;
    let mut mixed = BTreeSet::new();
    for _ in 0..TRIES {
        let taken =
            take_after(&balanced, &only(&["*.test.snapback", "configmaps", "clusterroles"]), None).await.unwrap();
        assert_eq!(taken.capture.unlistable, []);
        let turns = turns_of(&taken).await;
        assert!(is_one_state(&turns), "{turns:?} at {}", taken.capture.revision);
        let many = taken.types().await.find("", "configmaps").unwrap().objects().unwrap();
        assert!(many >= MANY as u64, "{many}");
        mixed = lists_of_both(&control_plane.audit_log(), &control_plane.second_audit_log());
        if !mixed.is_empty() {
            break;
        }
    }
    println!("listed by both servers: {mixed:?}");
    assert!(!mixed.is_empty(), "no list's pages came from both servers, so this shows nothing");
    assert!(writer.stop().await > 0, "the writer did nothing");

    // One server dies in the middle: the other one goes on with the same list.
    let whole = take(&first).await.capture;
    balancer.hold_after(200_000);
    let capture = take(&balanced);
    let death = async {
        balancer.until_held().await;
        control_plane.kill_server("kube-apiserver-2");
        balancer.release();
    };
    let (through, ()) = tokio::join!(capture, death);
    assert_eq!(through.capture.unlistable, []);
    assert!(through.capture.objects >= whole.objects, "{} of {}", through.capture.objects, whole.objects);
}

/// A connection through the load balancer.
async fn through(control_plane: &ControlPlane, balancer: &LoadBalancer) -> Cluster {
    let kubeconfig: PathBuf = control_plane.changed_kubeconfig("balanced", |config| {
        config["clusters"][0]["cluster"]["server"] = balancer.url().into();
    });
    connect_with(kubeconfig).await
}

/// Several pages of ConfigMaps.
async fn fill(cluster: &Cluster) {
    let names: Vec<String> = (0..MANY).map(|n| format!("many-{n:04}")).collect();
    for some in names.chunks(16) {
        let objects = some.iter().map(|name| async move {
            create(cluster, "/api/v1/namespaces/default/configmaps", &json!({"metadata": {"name": name}})).await;
        });
        futures::future::join_all(objects).await;
    }
}

/// The lists, by path and revision, of which each server answered a page.
fn lists_of_both(first: &[AuditEvent], second: &[AuditEvent]) -> BTreeSet<(String, u64)> {
    let lists = |log: &[AuditEvent]| -> BTreeSet<(String, u64)> {
        log.iter().filter(|event| event.verb == "list" && event.code == 200).filter_map(list_of_page).collect()
    };
    lists(first).intersection(&lists(second)).cloned().collect()
}

/// The first page of a list names its revision; the others have it inside their continue token, which is JSON in base64.
fn list_of_page(page: &AuditEvent) -> Option<(String, u64)> {
    let (path, query) = page.uri.split_once('?')?;
    let value = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    if let Some(revision) = value("resourceVersion") {
        return Some((path.to_owned(), revision.parse().ok()?));
    }
    let mut token = value("continue")?.replace("%3D", "").replace('-', "+").replace('_', "/");
    while !token.len().is_multiple_of(4) {
        token.push('=');
    }
    let token: ByteString = serde_json::from_value(json!(token)).ok()?;
    let token: serde_json::Value = serde_json::from_slice(&token.0).ok()?;
    Some((path.to_owned(), token["rv"].as_u64()?))
}
