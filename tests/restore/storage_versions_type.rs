//! A type that an upgrade gives a new storage version, and what is stored of it in etcd.

use std::collections::BTreeMap;

use http::Method;
use serde_json::{Value, json};
use snapback::progress::Silent;
use snapback::restore::{Plan, Proof, RestoreOptions, Unrecorded, Wait, apply, comparable_versions, plan, prove};
use snapback::snapshot::{CaptureOptions, ClusterCapture, Scope, Selection, capture_cluster};
use snapback::store::{SnapshotTree, SnapshotWriter};

use super::site::{CRDS, Site, essence};

pub(crate) const GROUP: &str = "stored.example";

/// A type of group [`GROUP`].
pub(crate) struct Type<'a> {
    pub(crate) site: &'a Site,
    pub(crate) plural: &'static str,
}

/// One version of a CRD.
pub(crate) fn version(name: &str, storage: bool, schema: &Value) -> Value {
    json!({"name": name, "served": true, "storage": storage, "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": schema}})
}

/// A schema that takes everything.
pub(crate) fn open() -> Value {
    json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// A conversion webhook that nobody answers for.
pub(crate) fn dead_webhook() -> Value {
    json!({"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"],
        "clientConfig": {"url": "https://127.0.0.1:1/convert"}}})
}

impl<'a> Type<'a> {
    /// A CRD with these versions; waits until all are served.
    pub(crate) async fn install(site: &'a Site, plural: &'static str, versions: &[Value]) -> Self {
        let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.{GROUP}"), "labels": {"a": "b"}},
            "spec": {"group": GROUP, "scope": "Namespaced", "versions": versions,
                "names": {"plural": plural, "kind": kind(plural), "singular": plural.trim_end_matches('s')}}});
        site.post(CRDS, crd).await;
        let own = Self { site, plural };
        for version in versions {
            let list = format!("/apis/{GROUP}/{}/{plural}", version["name"].as_str().unwrap());
            site.until(async || site.get(&list).await.is_some()).await;
        }
        own
    }

    pub(crate) fn url(&self) -> String {
        format!("{CRDS}/{}.{GROUP}", self.plural)
    }

    pub(crate) async fn crd(&self) -> Value {
        self.site.get(&self.url()).await.unwrap()
    }

    /// Path of its CRD inside a snapshot.
    pub(crate) fn crd_path(&self) -> String {
        format!("cluster/apiextensions.k8s.io/customresourcedefinitions/_/{}.{GROUP}.json", self.plural)
    }

    /// Path of an object inside a snapshot.
    pub(crate) fn path(&self, namespace: &str, name: &str) -> String {
        format!("cluster/{GROUP}/{}/{namespace}/{name}.json", self.plural)
    }

    pub(crate) fn object_url(&self, version: &str, namespace: &str, name: &str) -> String {
        format!("/apis/{GROUP}/{version}/namespaces/{namespace}/{}/{name}", self.plural)
    }

    pub(crate) fn object(&self, version: &str, name: &str, spec: &Value) -> Value {
        json!({"apiVersion": format!("{GROUP}/{version}"), "kind": kind(self.plural), "metadata": {"name": name},
            "spec": spec})
    }

    pub(crate) async fn post(&self, version: &str, namespace: &str, name: &str, spec: &Value) -> Value {
        let url = format!("/apis/{GROUP}/{version}/namespaces/{namespace}/{}", self.plural);
        self.site.post(&url, self.object(version, name, spec)).await
    }

    /// What an upgrade does: other versions, and how they are converted. Waits until objects are stored anew.
    pub(crate) async fn upgrade(&self, versions: &[Value], conversion: &Value) {
        let mut crd = self.crd().await;
        crd["spec"]["versions"] = json!(versions);
        crd["spec"]["conversion"] = conversion.clone();
        self.site.send(Method::PUT, &self.url(), Some(crd)).await;
        let storage = versions.iter().find(|version| version["storage"] == true).unwrap();
        let storage = storage["name"].as_str().unwrap();
        self.site
            .until(async || {
                let probe = format!("/apis/{GROUP}/{storage}/namespaces/default/{}", self.plural);
                let object = self.object(storage, "probe", &json!({}));
                let body = Some(serde_json::to_vec(&object).unwrap());
                if self.site.cluster.send(Method::POST, &probe, body).await.is_err() {
                    return false;
                }
                let stored = self.stored();
                self.site.delete(&format!("{probe}/probe")).await;
                stored.get("default/probe").is_some_and(|version| version == storage)
            })
            .await;
    }

    /// In which version each object lies in etcd, by `namespace/name`.
    pub(crate) fn stored(&self) -> BTreeMap<String, String> {
        let prefix = format!("/registry/{GROUP}/{}/", self.plural);
        let values = tokio::task::block_in_place(|| {
            self.site.control_plane().etcdctl(&["get", &prefix, "--prefix", "--print-value-only"])
        });
        let objects = serde_json::Deserializer::from_slice(&values).into_iter::<Value>().map(Result::unwrap);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        objects
            .map(|object| {
                let (namespace, name) = (text(&object["metadata"]["namespace"]), text(&object["metadata"]["name"]));
                let version = text(&object["apiVersion"]).rsplit_once('/').unwrap().1.to_owned();
                (format!("{namespace}/{name}"), version)
            })
            .collect()
    }

    /// Every object lies in etcd at this version.
    pub(crate) fn is_stored_at(&self, version: &str) -> bool {
        let stored = self.stored();
        !stored.is_empty() && stored.values().all(|found| found == version)
    }
}

fn kind(plural: &str) -> String {
    format!("Kind{plural}")
}

/// Only objects of these types and their CRDs, without some namespace's.
pub(crate) fn options(types: &[&Type<'_>], without: Option<&str>) -> RestoreOptions {
    // Globs, since a type that is gone has no name any more.
    let objects = |own: &&Type<'_>| format!("cluster/{GROUP}/{}", own.plural);
    let only: Vec<String> = types.iter().flat_map(|own| [own.crd_path(), objects(own)]).collect();
    let exclude: Vec<String> = types.iter().filter_map(|own| Some(format!("{}/{}", objects(own), without?))).collect();
    RestoreOptions::new(Selection::new(&only, &exclude, Scope::Everything).unwrap())
}

/// The cluster as it is compared with a snapshot.
pub(crate) async fn capture_beside(site: &Site, wanted: &SnapshotTree) -> (SnapshotTree, ClusterCapture) {
    let versions = comparable_versions(wanted).await.unwrap();
    let options = CaptureOptions { versions, ..CaptureOptions::default() };
    let mut writer = SnapshotWriter::scratch(Some(wanted.clone()));
    let capture = capture_cluster(&site.cluster, &options, &mut writer, &Silent).await.unwrap();
    (writer.finish().await.unwrap().tree(), capture)
}

pub(crate) async fn plan_back(site: &Site, wanted: &SnapshotTree, options: &RestoreOptions) -> (SnapshotTree, Plan) {
    let (live, _) = capture_beside(site, wanted).await;
    let plan = plan(&site.cluster, &live, wanted, options, &Silent).await.unwrap();
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan, "a plan survives being written down");
    (live, plan)
}

/// Plans and applies until nothing is left to do, and proves it. The plans, in order.
pub(crate) async fn converge(site: &Site, wanted: &SnapshotTree, options: &RestoreOptions) -> (Vec<Plan>, Proof) {
    let mut plans = Vec::new();
    loop {
        let (live, plan) = plan_back(site, wanted, options).await;
        let applied = apply(&site.cluster, &plan, &live, wanted, options, &Silent, &Unrecorded).await.unwrap();
        let failures: Vec<_> = applied.failures().collect();
        assert!(failures.is_empty(), "{failures:#?}");
        if plan.is_empty() {
            let proof = prove(&site.cluster, &applied, wanted, options, Wait::Skip, &Silent).await.unwrap();
            assert!(proof.holds(), "{:#?} {:?}", proof.unexplained, proof.unlistable);
            return (plans, proof);
        }
        plans.push(plan);
        assert!(plans.len() < 5, "it comes to no end: {plans:#?}");
    }
}

/// What of a CRD must be equal afterwards: its status is the API server's.
pub(crate) fn essence_without_status(object: &Value) -> Value {
    let mut object = essence(object);
    object.as_object_mut().unwrap().remove("status");
    let managers = object["metadata"]["managedFields"].as_array_mut().unwrap();
    managers.retain(|entry| entry["subresource"] != "status");
    object
}
