//! The API server goes away in the middle of a restore.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;
use snapback::cluster::ClusterError;
use snapback::progress::{Progress, ProgressEvent};
use snapback::restore::{RestoreError, Wait};
use snapback::store::SnapshotTree;
use tokio::sync::Notify;

use super::site::{Site, failures};
use crate::harness::control_plane::Options;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DATABASES: &str = "/apis/db.example/v1/namespaces/default/databases";
const API_SERVER: &str = "kube-apiserver";
/// Of each kind: enough that most are still to be written when the server goes.
const OBJECTS: usize = 100;

/// Tells when so many actions are done.
struct After {
    left: AtomicU64,
    reached: Notify,
}

impl After {
    fn actions(count: u64) -> Arc<Self> {
        Arc::new(Self { left: AtomicU64::new(count), reached: Notify::new() })
    }
}

impl Progress for After {
    fn report(&self, event: ProgressEvent) {
        if let ProgressEvent::Done(_) = event
            && self.left.fetch_sub(1, Ordering::Relaxed) == 1
        {
            self.reached.notify_one();
        }
    }
}

/// Custom resources, which a starting API server does not know, and others; edited, missing and extra ones of both.
async fn accident(site: &Site, seed: usize) {
    for number in 0..OBJECTS {
        let name = format!("o{number}");
        match (number + seed) % 3 {
            0 => {
                site.patch(&format!("{MAPS}/{name}"), json!({"data": {"a": "2"}})).await;
                site.patch(&format!("{DATABASES}/{name}"), json!({"spec": {"a": 2}})).await;
            }
            1 => {
                site.delete(&format!("{MAPS}/{name}")).await;
                site.delete(&format!("{DATABASES}/{name}")).await;
            }
            _ => drop(site.post(MAPS, json!({"metadata": {"name": format!("extra{number}")}})).await),
        }
    }
}

async fn furnished() -> (Site, SnapshotTree) {
    let site = Site::start(Options::default()).await;
    site.crd("databases", "Database", "Namespaced").await;
    for number in 0..OBJECTS {
        let name = json!({"name": format!("o{number}")});
        site.post(MAPS, json!({"metadata": name, "data": {"a": "1"}})).await;
        let object = json!({"apiVersion": "db.example/v1", "kind": "Database", "metadata": name, "spec": {"a": 1}});
        site.post(DATABASES, object).await;
        site.patch(&format!("{DATABASES}/o{number}/status"), json!({"status": {"phase": "Ready"}})).await;
    }
    let wanted = site.snapshot().await;
    (site, wanted)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_goes_away_is_waited_for() {
    let (mut site, wanted) = furnished().await;

    // Killed in the middle of its answers, and started again.
    accident(&site, 0).await;
    let (live, plan) = site.plan(&wanted).await;
    let after = After::actions(40);
    let (applied, ()) = tokio::join!(site.apply(&live, &plan, &wanted, &*after), async {
        after.reached.notified().await;
        tokio::task::block_in_place(|| {
            site.control_plane().kill_server(API_SERVER);
            site.control_plane().start_server(API_SERVER);
        });
    });
    assert_eq!(failures(&applied.unwrap()), [].into());
    site.restore(&wanted, Wait::Skip).await;

    // It hangs for twenty seconds.
    accident(&site, 1).await;
    let (live, plan) = site.plan(&wanted).await;
    let after = After::actions(40);
    let (applied, ()) = tokio::join!(site.apply(&live, &plan, &wanted, &*after), async {
        after.reached.notified().await;
        tokio::task::block_in_place(|| site.control_plane().pause_server(API_SERVER));
        tokio::time::sleep(Duration::from_secs(20)).await;
        tokio::task::block_in_place(|| site.control_plane().resume_server(API_SERVER));
    });
    assert_eq!(failures(&applied.unwrap()), [].into());
    let (_, second) = site.plan(&wanted).await;
    assert!(second.is_empty(), "{:#?}", second.actions);

    // It does not come back as long as anybody would wait.
    accident(&site, 2).await;
    let (live, plan) = site.plan(&wanted).await;
    site.options.patience = Duration::from_secs(1);
    let after = After::actions(40);
    let (stopped, ()) = tokio::join!(site.apply(&live, &plan, &wanted, &*after), async {
        after.reached.notified().await;
        tokio::task::block_in_place(|| site.control_plane().stop_server(API_SERVER));
    });
    let stopped = stopped.unwrap_err();
    assert!(matches!(stopped, RestoreError::Cluster(ClusterError::Unreachable { .. })), "{stopped}");
    // Running it again finishes.
    tokio::task::block_in_place(|| site.control_plane().start_server(API_SERVER));
    site.restore(&wanted, Wait::Skip).await;
}
