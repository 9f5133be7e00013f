//! API servers that start, die and come back while they are captured: never a complete capture that is not.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use snapback::cluster::{Cluster, ConnectOptions};
use snapback::progress::{Progress, ProgressEvent, Silent};
use snapback::snapshot::{CaptureError, CaptureOptions, ClusterCapture, capture_cluster};
use snapback::store::SnapshotWriter;

use super::taking::{connect, crd, create, create_crd, take};
use crate::harness::control_plane::{ControlPlane, Options};
use crate::harness::load_balancer::LoadBalancer;
use crate::harness::sample::soak;
use crate::harness::snapback::Snapback;

const API_SERVER: &str = "kube-apiserver";

async fn capture(cluster: &Cluster, progress: &dyn Progress) -> Result<ClusterCapture, CaptureError> {
    let mut writer = SnapshotWriter::scratch(None);
    capture_cluster(cluster, &CaptureOptions::default(), &mut writer, progress).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_starting_api_server_never_gives_a_complete_capture_that_is_not() {
    let control_plane = ControlPlane::start(&Options::default());
    let cluster = connect(&control_plane).await;
    // Types that a starting server is late with.
    let definitions: Vec<_> = (0..20).map(|n| crd(&format!("late{n:02}s"), &["v1"])).collect();
    futures::future::join_all(definitions.iter().map(|definition| create_crd(&cluster, definition))).await;
    for n in 0..20 {
        let object =
            json!({"apiVersion": "test.snapback/v1", "kind": format!("Kindlate{n:02}s"), "metadata": {"name": "a"}});
        create(&cluster, &format!("/apis/test.snapback/v1/namespaces/default/late{n:02}s"), &object).await;
    }
    let whole = take(&cluster).await.capture;
    let (mut early, mut complete) = (0, 0);
    for _ in 0..if soak() { 10 } else { 1 } {
        control_plane.stop_server(API_SERVER);
        let started = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                control_plane.start_server(API_SERVER);
                started.store(true, Ordering::Relaxed);
            });
            tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current().block_on(async {
                    loop {
                        let last = started.load(Ordering::Relaxed);
                        early += usize::from(!last);
                        // A new connection each time: one that had an answer waits for the server to come back.
                        let options = ConnectOptions { kubeconfig: Some(control_plane.kubeconfig()), context: None };
                        let cluster = Cluster::connect(&options).await.unwrap();
                        match capture(&cluster, &Silent).await {
                            Ok(capture) if capture.unlistable.is_empty() => {
                                complete += 1;
                                assert!(capture.objects >= whole.objects, "{} of {}", capture.objects, whole.objects);
                                assert!(capture.types >= whole.types, "{} of {}", capture.types, whole.types);
                            }
                            _ => {}
                        }
                        if last {
                            return;
                        }
                    }
                });
            });
        });
    }
    assert!(early > 0 && complete > 0, "{early} begun early, {complete} complete: this shows nothing");
}

/// Kills the API server as soon as the first objects are there, and starts it again.
struct Assassin<'a> {
    control_plane: &'a ControlPlane,
    done: AtomicBool,
}

impl Progress for Assassin<'_> {
    fn report(&self, event: ProgressEvent) {
        if matches!(event, ProgressEvent::Done(_)) && !self.done.swap(true, Ordering::Relaxed) {
            self.control_plane.kill_server(API_SERVER);
            self.control_plane.start_server(API_SERVER);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_api_server_that_dies_in_the_middle_is_an_error_and_one_that_comes_back_is_not() {
    let control_plane = ControlPlane::start(&Options::default());
    let cluster = connect(&control_plane).await;
    let whole = take(&cluster).await.capture;

    let back = Assassin { control_plane: &control_plane, done: AtomicBool::new(false) };
    let through = capture(&cluster, &back).await.unwrap();
    assert!(back.done.load(Ordering::Relaxed));
    assert_eq!(through.unlistable, []);
    assert!(through.objects >= whole.objects, "{} of {}", through.objects, whole.objects);

    // The real command, with the line held up while the server is killed, so that it dies in the middle for certain.
    let line = LoadBalancer::start(&[control_plane.server()]).await;
    let kubeconfig = control_plane.changed_kubeconfig("line", |config| {
        config["clusters"][0]["cluster"]["server"] = line.url().into();
    });
    let snapback = Snapback::new().with_kubeconfig(&kubeconfig).hiding(line.url(), "SERVER");
    snapback.ok(&["init"]);
    snapback.ok(&["backup"]);
    let bytes = line.passed();
    line.hold_after(bytes * 6 / 10);
    let child = snapback.command(&["backup"]).spawn().unwrap();
    line.until_held().await;
    control_plane.kill_server(API_SERVER);
    line.release();
    let run = snapback.take(tokio::task::block_in_place(|| child.wait_with_output()).unwrap());
    assert_eq!(run.code, 1, "{}", run.all());
    assert!(run.stderr.contains("error: the API server SERVER cannot be reached: "), "{}", run.all());
    assert!(run.stderr.contains("hint: "), "{}", run.all());
    assert_eq!(snapback.json(&["snapshots"])["snapshots"].as_array().unwrap().len(), 1);
    assert_eq!(snapback.json(&["verify"])["sound"], true);
    assert_eq!(std::fs::read_dir(snapback.repository().join("tmp")).unwrap().count(), 0);
}
