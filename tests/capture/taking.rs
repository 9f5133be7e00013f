//! Taking captures and looking into them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use futures::TryStreamExt as _;
use http::Method;
use serde_json::{Value, json};
use snapback::cluster::{Cluster, ConnectOptions};
use snapback::progress::Silent;
use snapback::snapshot::{
    CaptureError, CaptureOptions, ClusterCapture, Scope, Selection, TYPES_PATH, TypesDocument, capture_cluster,
};
use snapback::store::{SnapshotTree, SnapshotWriter};

use crate::harness::control_plane::ControlPlane;

/// A capture that was never committed.
pub(super) struct Taken {
    pub(super) capture: ClusterCapture,
    pub(super) tree: SnapshotTree,
}

/// Connects with a kubeconfig.
pub(super) async fn connect_with(kubeconfig: PathBuf) -> Cluster {
    Cluster::connect(&ConnectOptions { kubeconfig: Some(kubeconfig), context: None }).await.unwrap()
}

/// Connects as the administrator.
pub(super) async fn connect(control_plane: &ControlPlane) -> Cluster {
    connect_with(control_plane.kubeconfig()).await
}

/// Options for some patterns.
pub(super) fn only(patterns: &[&str]) -> CaptureOptions {
    let patterns: Vec<String> = patterns.iter().map(|text| (*text).to_owned()).collect();
    let selection = Selection::new(&patterns, &[], Scope::Everything).unwrap();
    CaptureOptions { selection, ..CaptureOptions::default() }
}

/// Takes a capture, compared with `base`.
pub(super) async fn take_after(
    cluster: &Cluster,
    options: &CaptureOptions,
    base: Option<SnapshotTree>,
) -> Result<Taken, CaptureError> {
    let mut writer = SnapshotWriter::scratch(base);
    let capture = capture_cluster(cluster, options, &mut writer, &Silent).await?;
    Ok(Taken { capture, tree: writer.finish().await.unwrap().tree() })
}

/// Takes a capture of everything.
pub(super) async fn take(cluster: &Cluster) -> Taken {
    take_after(cluster, &CaptureOptions::default(), None).await.unwrap()
}

impl Taken {
    /// Every file with its bytes.
    pub(super) async fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        for (path, entry) in self.tree.walk("").try_collect::<Vec<_>>().await.unwrap() {
            files.insert(path, self.tree.blob(&entry.hash).await.unwrap().to_vec());
        }
        files
    }

    /// An object.
    pub(super) async fn object(&self, path: &str) -> Option<Value> {
        Some(serde_json::from_slice(&self.tree.read(path).await.unwrap()?).unwrap())
    }

    /// An object's bytes as text.
    pub(super) async fn text(&self, path: &str) -> String {
        String::from_utf8(self.tree.read(path).await.unwrap().unwrap().to_vec()).unwrap()
    }

    /// The list of types.
    pub(super) async fn types(&self) -> TypesDocument {
        TypesDocument::parse(&self.tree.read(TYPES_PATH).await.unwrap().unwrap()).unwrap()
    }

    /// What the capture says of a type that is missing.
    pub(super) fn missing(&self, resource: &str) -> Option<(u16, &str)> {
        let mut missing = self.capture.unlistable.iter();
        missing.find(|missing| missing.resource == resource).map(|missing| (missing.status, missing.reason.as_str()))
    }
}

/// Creates an object through the API.
pub(super) async fn create(cluster: &Cluster, url: &str, object: &Value) {
    let body = Some(serde_json::to_vec(object).unwrap());
    cluster.send(Method::POST, url, body).await.unwrap_or_else(|error| panic!("{url}: {error}"));
}

/// A CRD of group `test.snapback`, with whatever schema, at these versions (the first one is stored).
pub(super) fn crd(plural: &str, versions: &[&str]) -> Value {
    let versions: Vec<Value> = versions
        .iter()
        .enumerate()
        .map(|(index, name)| {
            json!({
                "name": name, "served": true, "storage": index == 0,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            })
        })
        .collect();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.test.snapback")},
        "spec": {
            "group": "test.snapback", "scope": "Namespaced", "versions": versions,
            "names": {"plural": plural, "singular": plural.trim_end_matches('s'), "kind": format!("Kind{plural}")},
        },
    })
}

/// Creates a CRD and waits until its objects can be listed and discovery has it.
pub(super) async fn create_crd(cluster: &Cluster, definition: &Value) {
    create(cluster, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition).await;
    let plural = definition["spec"]["names"]["plural"].as_str().unwrap();
    for version in definition["spec"]["versions"].as_array().unwrap() {
        let version = version["name"].as_str().unwrap();
        wait_until(async || {
            cluster.get(&format!("/apis/test.snapback/{version}/{plural}")).await.is_ok()
                && snapback::cluster::DiscoveryDocuments::read(cluster).await.unwrap().serves(
                    "test.snapback",
                    version,
                    plural,
                )
        })
        .await;
    }
}

/// Waits for what becomes true soon.
pub(super) async fn wait_until(mut look: impl AsyncFnMut() -> bool) {
    let end = tokio::time::Instant::now() + Duration::from_secs(60);
    while !look().await {
        assert!(tokio::time::Instant::now() < end, "it never became true");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
