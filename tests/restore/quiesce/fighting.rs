//! A platform that undoes every edit is still while it is restored, and afterwards as it was.

use futures::TryStreamExt as _;
use serde_json::{Value, json};
use snapback::journal::Held;
use snapback::restore::Wait;
use snapback::restore::quiesce::{Holding, Started, dead_backends, find, prior, target};
use snapback::store::{Blob, FrameGroup, SnapshotTree, SnapshotWriter};

use super::{bytes, stopped};
use crate::harness::control_plane::Options;
use crate::harness::fighting::BOUND;
use crate::restore::site::Site;

const EDITED: &str = "cluster/helm.toolkit.fluxcd.io/helmreleases/cozy-cilium/cilium.json";
const FROM_THE_TOP: [&str; 7] = [
    "deployment cozy-system/cozystack",
    "deployment cozy-fluxcd/flux-operator",
    "deployment cozy-fluxcd/kustomize-controller",
    "deployment cozy-fluxcd/helm-controller",
    "deployment cozy-fluxcd/source-controller",
    "deployment cozy-fluxcd/notification-controller",
    "deployment cozy-system/cozystack-controller",
];
const CILIUM: &str = "/apis/helm.toolkit.fluxcd.io/v2/namespaces/cozy-cilium/helmreleases/cilium";

/// The same snapshot with one HelmRelease as no installer would leave it.
async fn edited(tree: &SnapshotTree) -> SnapshotTree {
    let mut writer = SnapshotWriter::scratch(None);
    let mut files = tree.walk("");
    while let Some((path, entry)) = files.try_next().await.unwrap() {
        let mut content = tree.blob(&entry.hash).await.unwrap();
        if path == EDITED {
            let mut release: Value = serde_json::from_slice(&content).unwrap();
            release["spec"]["values"]["logLevel"] = json!("trace");
            release["spec"]["suspend"] = json!(true);
            content = release.to_string().into_bytes().into();
        }
        writer.put(&path, Blob::new(content), FrameGroup::Shared).await.unwrap();
    }
    writer.finish().await.unwrap().tree()
}

impl Site {
    async fn log_level(&self) -> Value {
        self.get(CILIUM).await.unwrap()["spec"]["values"]["logLevel"].clone()
    }

    /// Process ids of the installer and of Flux.
    fn fighters(&self) -> Vec<u32> {
        tokio::task::block_in_place(|| {
            BOUND.iter().flat_map(|(_, name)| self.control_plane().processes(name)).collect()
        })
    }

    /// What the platform wrote so far.
    async fn their_writes(&self) -> Vec<String> {
        let log = tokio::task::block_in_place(|| self.control_plane().audit_log());
        let theirs =
            |user: &str| BOUND.iter().any(|bound| user == format!("system:serviceaccount:{}:{}", bound.0, bound.1));
        let theirs = log.into_iter().filter(|event| event.is_write() && theirs(&event.user));
        theirs.map(|event| format!("{} {} {}", event.user, event.verb, event.uri)).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_that_fights_is_still_while_it_is_restored_and_runs_on_as_it_was() {
    let mut site = Site::start(Options::default().fighting()).await;
    let wanted = edited(&site.snapshot().await).await;

    // Nothing is stopped: whatever is written is undone.
    let (live, plan) = site.plan(&wanted).await;
    let applied = site.apply(&live, &plan, &wanted, &snapback::progress::Silent).await.unwrap();
    assert_eq!(applied.failures().count(), 0, "{:#?}", applied.steps);
    site.until(async || site.log_level().await == "info").await;

    // From the top down.
    let before = site.snapshot().await;
    let found = find(&before, &wanted, &[]).await.unwrap();
    let names: Vec<String> = found.iter().map(|hold| hold.item.to_string()).collect();
    assert_eq!(names[..FROM_THE_TOP.len()], FROM_THE_TOP);
    assert!(names[FROM_THE_TOP.len()..].iter().all(|name| name.starts_with("cluster ")), "{names:#?}");
    let items: Vec<_> = found.into_iter().map(|hold| hold.item).collect();
    assert_eq!(dead_backends(&site.cluster, &items).await.unwrap(), []);
    let mut held = Vec::new();
    for item in items {
        let was = prior(&before, &item).await.unwrap();
        assert!(site.stop(&item, &was).await.unwrap().present, "{item}");
        held.push(stopped(item, was));
    }
    assert_eq!(site.fighters(), Vec::<u32>::new());
    let until_now = site.their_writes().await;
    assert!(!until_now.is_empty());

    // The same restore holds: nothing is unexplained, a second plan is empty, and nobody of the platform wrote anything.
    site.options.holding = Holding::new("t1", &held);
    site.restore(&wanted, Wait::Skip).await;
    assert_eq!(site.log_level().await, "trace");
    assert_eq!(site.their_writes().await, until_now);

    // From the bottom up: each is to the byte what it was, and fights on.
    for held in held.iter().rev() {
        let whole = target(&held.item, &before, Some(&wanted)).await.unwrap().unwrap();
        assert_eq!(site.start_again(&held.item, &held.was, Some(&whole)).await, Started::Exact, "{}", held.item);
        if let Held::Deployment { namespace, name } = &held.item {
            let now = site.get(&format!("/apis/apps/v1/namespaces/{namespace}/deployments/{name}")).await.unwrap();
            assert_eq!(bytes(&now), bytes(&whole), "{name}");
        }
    }
    site.until(async || site.log_level().await == "info").await;
    site.until(async || site.fighters().len() == BOUND.len()).await;
}
