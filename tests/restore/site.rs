//! A cluster that has accidents and is put back.

use std::collections::BTreeMap;

use http::Method;
use serde_json::{Value, json};
use snapback::cluster::{Cluster, ConnectOptions};
use snapback::progress::{Progress, Silent};
use snapback::restore::{
    Applied, Operation, Outcome, Plan, Proof, RestoreError, RestoreOptions, Unrecorded, Wait, apply, plan, prove,
};
use snapback::snapshot::{CaptureOptions, Scope, Selection, capture_cluster};
use snapback::store::{SnapshotTree, SnapshotWriter};

use crate::harness::control_plane::{ControlPlane, Options};

/// A control plane, a connection to it, and what of it is restored.
pub(crate) struct Site {
    control_plane: Plane,
    pub(crate) cluster: Cluster,
    pub(crate) options: RestoreOptions,
}

enum Plane {
    Own(Box<ControlPlane>),
    Shared(&'static ControlPlane),
}

/// A plan carried out and proven.
pub(crate) struct Restored {
    pub(crate) plan: Plan,
    pub(crate) applied: Applied,
    pub(crate) proof: Proof,
}

impl Site {
    pub(crate) async fn start(options: Options) -> Self {
        let control_plane = tokio::task::spawn_blocking(move || ControlPlane::start(&options)).await.unwrap();
        Self::on(Plane::Own(Box::new(control_plane))).await
    }

    /// On the control plane that tests share, without controllers: only a namespace of its own is restored.
    pub(crate) async fn in_namespace(name: &str) -> Self {
        let control_plane = tokio::task::spawn_blocking(ControlPlane::shared).await.unwrap();
        let mut site = Self::on(Plane::Shared(control_plane)).await;
        site.only(&[&format!("namespaces/{name}"), &format!("cluster/*/*/{name}/**")]);
        site.post("/api/v1/namespaces", json!({"metadata": {"name": name}})).await;
        site
    }

    async fn on(control_plane: Plane) -> Self {
        let kubeconfig = match &control_plane {
            Plane::Own(own) => own.kubeconfig(),
            Plane::Shared(shared) => shared.kubeconfig(),
        };
        let connect = ConnectOptions { kubeconfig: Some(kubeconfig), context: None };
        let cluster = Cluster::connect(&connect).await.unwrap();
        Self { control_plane, cluster, options: RestoreOptions::new(Selection::everything()) }
    }

    pub(crate) fn control_plane(&self) -> &ControlPlane {
        match &self.control_plane {
            Plane::Own(own) => own,
            Plane::Shared(shared) => shared,
        }
    }

    /// From now on only this is restored.
    pub(crate) fn only(&mut self, patterns: &[&str]) {
        let only: Vec<String> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        self.options.selection = Selection::new(&only, &[], Scope::Everything).unwrap();
    }

    /// Everything, as it is now.
    pub(crate) async fn snapshot(&self) -> SnapshotTree {
        self.capture(None).await
    }

    pub(crate) async fn capture(&self, base: Option<SnapshotTree>) -> SnapshotTree {
        let mut writer = SnapshotWriter::scratch(base);
        let capture = capture_cluster(&self.cluster, &CaptureOptions::default(), &mut writer, &Silent).await.unwrap();
        assert!(capture.unlistable.is_empty(), "{:?}", capture.unlistable);
        writer.finish().await.unwrap().tree()
    }

    /// A snapshot with two ConfigMaps, of which one is then edited and one deleted, while a third is added.
    pub(crate) async fn snapshot_and_changes(&self, maps: &str) -> SnapshotTree {
        for name in ["edited", "deleted"] {
            self.post(maps, json!({"metadata": {"name": name}, "data": {"a": "1"}})).await;
        }
        let wanted = self.snapshot().await;
        self.patch(&format!("{maps}/edited"), json!({"data": {"a": "2"}})).await;
        self.delete(&format!("{maps}/deleted")).await;
        self.post(maps, json!({"metadata": {"name": "added"}})).await;
        wanted
    }

    /// The way back, not taken.
    pub(crate) async fn plan(&self, wanted: &SnapshotTree) -> (SnapshotTree, Plan) {
        let live = self.capture(Some(wanted.clone())).await;
        let plan = plan(&self.cluster, &live, wanted, &self.options, &Silent).await.unwrap();
        // A plan is a value: it survives being written down.
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
        (live, plan)
    }

    /// The way back, taken and proven, whatever comes of it.
    pub(crate) async fn try_restore(&self, wanted: &SnapshotTree, wait: Wait) -> Restored {
        let (live, plan) = self.plan(wanted).await;
        let applied = self.apply(&live, &plan, wanted, &Silent).await.unwrap();
        let proof = prove(&self.cluster, &applied, wanted, &self.options, wait, &Silent).await.unwrap();
        Restored { plan, applied, proof }
    }

    /// A plan carried out, and nothing else.
    pub(crate) async fn apply(
        &self,
        live: &SnapshotTree,
        plan: &Plan,
        wanted: &SnapshotTree,
        progress: &dyn Progress,
    ) -> Result<Applied, RestoreError> {
        apply(&self.cluster, plan, live, wanted, &self.options, progress, &Unrecorded).await
    }

    /// The way back: nothing fails, nothing is unexplained, and a second plan is empty (I6).
    pub(crate) async fn restore(&self, wanted: &SnapshotTree, wait: Wait) -> Restored {
        let restored = self.try_restore(wanted, wait).await;
        let failures: Vec<_> = restored.applied.failures().collect();
        assert!(failures.is_empty(), "{failures:#?}");
        assert!(restored.proof.holds(), "{:#?}", restored.proof.unexplained);
        let (_, second) = self.plan(wanted).await;
        assert!(second.is_empty(), "a second plan finds {:#?}", second.actions);
        restored
    }

    pub(crate) async fn get(&self, url: &str) -> Option<Value> {
        match self.cluster.get(url).await {
            Ok(bytes) => Some(serde_json::from_slice(&bytes).unwrap()),
            Err(error) if error.status() == Some(404) => None,
            Err(error) => panic!("{url}: {error}"),
        }
    }

    pub(crate) async fn post(&self, url: &str, object: Value) -> Value {
        self.send(Method::POST, url, Some(object)).await
    }

    pub(crate) async fn delete(&self, url: &str) {
        self.send(Method::DELETE, url, None).await;
    }

    /// Deletes it and waits until it is gone.
    pub(crate) async fn remove(&self, url: &str) {
        self.delete(url).await;
        self.until(async || self.get(url).await.is_none()).await;
    }

    /// A merge patch.
    pub(crate) async fn patch(&self, url: &str, patch: Value) -> Value {
        let body = Some(serde_json::to_vec(&patch).unwrap());
        let answer = self.cluster.send_as(Method::PATCH, url, "application/merge-patch+json", body).await;
        serde_json::from_slice(&answer.unwrap_or_else(|error| panic!("{url}: {error}"))).unwrap()
    }

    pub(crate) async fn send(&self, method: Method, url: &str, object: Option<Value>) -> Value {
        let body = object.map(|object| serde_json::to_vec(&object).unwrap());
        let answer = self.cluster.send(method, url, body).await;
        serde_json::from_slice(&answer.unwrap_or_else(|error| panic!("{url}: {error}"))).unwrap()
    }

    pub(crate) async fn namespace(&self, name: &str) {
        self.post("/api/v1/namespaces", json!({"metadata": {"name": name}})).await;
        let account = format!("/api/v1/namespaces/{name}/serviceaccounts/default");
        self.until(async || self.get(&account).await.is_some()).await;
    }

    pub(crate) async fn until(&self, mut look: impl AsyncFnMut() -> bool) {
        let end = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
        while !look().await {
            assert!(tokio::time::Instant::now() < end, "it never became true");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// A CRD `<plural>.db.example` with a status, and waits until it is served.
    pub(crate) async fn crd(&self, plural: &str, kind: &str, scope: &str) {
        let loose = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let schema = json!({"type": "object", "properties": {"spec": loose, "status": loose}});
        let version = json!({"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
            "schema": {"openAPIV3Schema": schema}});
        let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.db.example")},
            "spec": {"group": "db.example", "scope": scope, "versions": [version],
                "names": {"plural": plural, "kind": kind, "singular": kind.to_lowercase()}}});
        self.post(CRDS, crd).await;
        let list = format!("/apis/db.example/v1/{plural}");
        self.until(async || self.get(&list).await.is_some()).await;
    }

    /// Writes so far by snapback's own client: kwok renews its nodes' Leases as the same user.
    pub(crate) async fn our_writes(&self) -> Vec<(String, String)> {
        let log = tokio::task::block_in_place(|| self.control_plane().audit_log());
        let ours = log.into_iter().filter(|event| event.is_write() && event.is_ours());
        ours.map(|event| (event.verb, event.uri.split('?').next().unwrap().to_owned())).collect()
    }
}

pub(crate) const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// `verb path` of every action, in order.
pub(crate) fn actions(plan: &Plan) -> Vec<String> {
    plan.actions.iter().map(|action| format!("{} {}", action.operation.verb(), action.path)).collect()
}

/// What went wrong with each action that did not end well, by its path: who refused it, or this program's words.
pub(crate) fn failures(applied: &Applied) -> BTreeMap<String, String> {
    let text = |outcome: &Outcome| match outcome {
        Outcome::Failed { by: Some(by), .. } => by.to_string(),
        Outcome::Failed { problem, by: None } => problem.clone(),
        Outcome::NotTried { because } => format!("not tried: {because}"),
        Outcome::Done => String::new(),
    };
    applied.failures().map(|step| (step.path.clone(), text(&step.outcome))).collect()
}

/// The fields that an update of this path changes.
pub(crate) fn fields<'a>(plan: &'a Plan, path: &str) -> &'a [String] {
    plan.actions
        .iter()
        .find_map(|action| match &action.operation {
            Operation::Update { fields } if action.path == path => Some(fields.as_slice()),
            _ => None,
        })
        .unwrap_or_default()
}

/// What of an object must be equal after a restore, status and field managers included.
pub(crate) fn essence(object: &Value) -> Value {
    let mut object = object.clone();
    for key in ["uid", "resourceVersion", "creationTimestamp", "generation"] {
        object["metadata"].as_object_mut().unwrap().remove(key);
    }
    object
}
