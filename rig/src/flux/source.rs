//! The stand-in for source-controller: watches HelmRepositories and HelmCharts and writes their status as Flux's
//! documented API has it: conditions Ready and ArtifactInStorage, `artifact`, `url`, `observedGeneration`.
//!
//! An index is fetched when a HelmRepository changes (an annotation that asks for it included) and when the stand-in
//! starts, not at intervals; while nobody serves it, the artifact that is there stays.
//! Invariant: an object whose status is right already is not written to, so a stand-in that starts again changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use jiff::Timestamp;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams, WatchEvent, WatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::artifacts::{self, Artifact, HOST};
use super::error::FluxError;
use super::index::RepositoryServer;
use crate::installer::catalog;
use crate::loopback;

/// The field manager of Flux's source-controller.
const MANAGER: &str = "source-controller";
const FINALIZER: &str = "finalizers.fluxcd.io";
/// How often an object is tried again that cannot be reconciled yet.
const RETRY: Duration = Duration::from_secs(1);

/// The two kinds that are reconciled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    HelmRepository,
    HelmChart,
}

/// Serves archives and reconciles sources until the process ends.
///
/// # Errors
/// [`FluxError::Listen`] when the port is taken.
pub async fn serve(client: Client, server: RepositoryServer, port: u16) -> Result<(), FluxError> {
    let controller = Controller { client, server, new_index: Arc::default() };
    let reconciling = futures::future::join(
        controller.keep_reconciling(Source::HelmRepository),
        controller.keep_reconciling(Source::HelmChart),
    );
    tokio::select! {
        ended = loopback::serve(port, artifacts::find) => match ended {
            Ok(never) => match never {},
            Err(source) => Err(FluxError::Listen { port, source }),
        },
        _ = reconciling => Ok(()),
    }
}

struct Controller {
    client: Client,
    server: RepositoryServer,
    /// A HelmRepository has another index: every HelmChart is to be looked at.
    new_index: Arc<Notify>,
}

fn resource(source: Source) -> ApiResource {
    let kind = match source {
        Source::HelmRepository => "HelmRepository",
        Source::HelmChart => "HelmChart",
    };
    let plural = match source {
        Source::HelmRepository => "helmrepositories",
        Source::HelmChart => "helmcharts",
    };
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("source.toolkit.fluxcd.io", "v1", kind), plural)
}

/// What the status of a source should say.
struct Wanted {
    artifact: Option<(Artifact, String)>,
    reason: &'static str,
    message: String,
    more: Value,
}

impl Controller {
    /// Lists, then watches, and begins again whenever the watch ends: the API server may stop and come back.
    async fn keep_reconciling(&self, source: Source) {
        loop {
            // What went wrong shows in the objects' status, or is over at the next try.
            let pause = self.reconcile_all(source).await.is_err();
            if pause {
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    async fn reconcile_all(&self, source: Source) -> Result<(), FluxError> {
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource(source));
        let list = api.list(&ListParams::default()).await.map_err(FluxError::api("list sources"))?;
        let version = list.metadata.resource_version.unwrap_or_default();
        // Objects that wait for something else, by namespace and name.
        let mut waiting: BTreeMap<(String, String), DynamicObject> = BTreeMap::new();
        for object in list.items {
            self.reconcile_or_wait(source, object, &mut waiting).await?;
        }
        let mut events =
            api.watch(&WatchParams::default(), &version).await.map_err(FluxError::api("watch sources"))?.boxed();
        let mut tick = tokio::time::interval(RETRY);
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object))) => {
                        self.reconcile_or_wait(source, object, &mut waiting).await?;
                    }
                    Some(Ok(WatchEvent::Deleted(object))) => {
                        waiting.remove(&(object.namespace().unwrap_or_default(), object.name_any()));
                    }
                    Some(Ok(WatchEvent::Bookmark(_))) => {}
                    Some(Ok(WatchEvent::Error(_)) | Err(_)) | None => {
                        tokio::time::sleep(RETRY).await;
                        return Ok(());
                    }
                },
                // The list comes first again.
                () = self.new_index.notified(), if source == Source::HelmChart => return Ok(()),
                _ = tick.tick() => {
                    for object in std::mem::take(&mut waiting).into_values() {
                        self.reconcile_or_wait(source, object, &mut waiting).await?;
                    }
                }
            }
        }
    }

    async fn reconcile_or_wait(
        &self,
        source: Source,
        object: DynamicObject,
        waiting: &mut BTreeMap<(String, String), DynamicObject>,
    ) -> Result<(), FluxError> {
        let key = (object.namespace().unwrap_or_default(), object.name_any());
        waiting.remove(&key);
        if !self.reconcile(source, &object).await? {
            waiting.insert(key, object);
        }
        Ok(())
    }

    /// Brings one object's finalizer and status to where they should be. False when it has to be tried again.
    async fn reconcile(&self, source: Source, object: &DynamicObject) -> Result<bool, FluxError> {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &namespace, &resource(source));
        let finalizers = object.finalizers();
        let has_finalizer = finalizers.iter().any(|finalizer| finalizer == FINALIZER);
        let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        if object.metadata.deletion_timestamp.is_some() {
            if has_finalizer {
                let others: Vec<&String> = finalizers.iter().filter(|finalizer| *finalizer != FINALIZER).collect();
                patch(&api, &name, &parameters, &json!({ "metadata": { "finalizers": others } }), false).await?;
            }
            return Ok(true);
        }
        if object.data.pointer("/spec/suspend") == Some(&Value::Bool(true)) {
            return Ok(true);
        }
        if !has_finalizer {
            let mut all: Vec<&str> = finalizers.iter().map(String::as_str).collect();
            all.push(FINALIZER);
            // The change comes back as an event, with which the status is looked at.
            patch(&api, &name, &parameters, &json!({ "metadata": { "finalizers": all } }), false).await?;
            return Ok(true);
        }
        let wanted = match source {
            Source::HelmRepository => self.repository_status(object, &namespace, &name).await,
            Source::HelmChart => self.chart_status(object, &namespace, &name).await?,
        };
        let Some(wanted) = wanted else { return Ok(false) };
        if let Some(status) = status_of(object, &wanted) {
            patch(&api, &name, &parameters, &json!({ "status": status }), true).await?;
            if source == Source::HelmRepository {
                self.new_index.notify_one();
            }
        }
        Ok(wanted.artifact.is_some())
    }

    async fn repository_status(&self, object: &DynamicObject, namespace: &str, name: &str) -> Option<Wanted> {
        let url = object.data.pointer("/spec/url").and_then(Value::as_str).unwrap_or_default();
        let index = match self.server.index(url).await {
            Ok(index) => index,
            Err(_) if object.data.pointer("/status/artifact").is_some() => return None,
            Err(reason) => {
                let message = format!("failed to fetch Helm repository index: {reason}");
                return Some(Wanted { artifact: None, reason: "IndexationFailed", message, more: json!({}) });
            }
        };
        let artifact = Artifact::of_index(namespace, name, index);
        let revision = artifact.digest();
        Some(Wanted {
            message: format!("stored artifact: revision '{revision}'"),
            artifact: Some((artifact, revision)),
            reason: "Succeeded",
            more: json!({}),
        })
    }

    async fn chart_status(
        &self,
        object: &DynamicObject,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Wanted>, FluxError> {
        let text = |pointer: &str| object.data.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (chart, constraint, repository) =
            (text("/spec/chart"), text("/spec/version"), text("/spec/sourceRef/name"));
        let failed = |reason, message| Some(Wanted { artifact: None, reason, message, more: json!({}) });
        let repositories: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), namespace, &resource(Source::HelmRepository));
        let found = repositories.get_opt(repository).await.map_err(FluxError::api("read a HelmRepository"))?;
        let index =
            found.as_ref().and_then(|found| found.data.pointer("/status/artifact/revision")).and_then(Value::as_str);
        let Some((index, (release, repository))) = index.and_then(|index| Some((index, artifacts::indexed(index)?)))
        else {
            let message = format!("failed to get source: HelmRepository '{namespace}/{repository}' has no artifact");
            return Ok(failed("SourceUnavailable", message));
        };
        let Some(version) = catalog::resolve(release, repository, chart, constraint) else {
            let message = format!(
                "invalid chart reference: failed to get chart version for remote reference: no '{chart}' chart with version matching '{constraint}' found"
            );
            return Ok(failed("InvalidChartReference", message));
        };
        let pulled = object.data.pointer("/status/artifact/revision").and_then(Value::as_str) == Some(version);
        let url = found.as_ref().and_then(|found| found.data.pointer("/spec/url")).and_then(Value::as_str);
        if !pulled && !self.server.still_has(url.unwrap_or_default(), index).await {
            let message = format!(
                "chart pull error: failed to download chart for remote reference: {chart}-{version}.tgz: 404 Not Found"
            );
            return Ok(failed("ChartPullError", message));
        }
        Ok(Some(Wanted {
            artifact: Some((Artifact::of_chart(namespace, name, chart, version)?, version.to_owned())),
            reason: "ChartPullSucceeded",
            message: format!("pulled '{chart}' chart with version '{version}'"),
            more: json!({ "observedChartName": chart, "observedSourceArtifactRevision": index }),
        }))
    }
}

/// The status to write, or nothing when it is so already.
fn status_of(object: &DynamicObject, wanted: &Wanted) -> Option<Value> {
    let now = object.data.get("status").cloned().unwrap_or_default();
    let generation = object.metadata.generation.unwrap_or_default();
    let mut status = wanted.more.clone();
    let fields = status.as_object_mut()?;
    fields.insert("observedGeneration".to_owned(), json!(generation));
    let mut conditions = vec![condition(&now, "Ready", wanted, generation)];
    if let Some((artifact, revision)) = &wanted.artifact {
        let url = format!("{HOST}/{}", artifact.path);
        let digest = artifact.digest();
        let known = now.get("artifact").filter(|known| {
            known.get("digest").and_then(Value::as_str) == Some(&digest)
                && known.get("revision").and_then(Value::as_str) == Some(revision)
        });
        let stored =
            known.and_then(|known| known.get("lastUpdateTime")).cloned().unwrap_or_else(|| json!(this_second()));
        fields.insert("url".to_owned(), json!(url));
        fields.insert(
            "artifact".to_owned(),
            json!({
                "digest": digest,
                "lastUpdateTime": stored,
                "path": artifact.path,
                "revision": revision,
                "size": artifact.content.len(),
                "url": url,
            }),
        );
        conditions.push(condition(&now, "ArtifactInStorage", wanted, generation));
    }
    fields.insert("conditions".to_owned(), json!(conditions));
    if let Some(requested) = object.annotations().get("reconcile.fluxcd.io/requestedAt") {
        fields.insert("lastHandledReconcileAt".to_owned(), json!(requested));
    }
    let differs = fields.iter().any(|(name, value)| now.get(name) != Some(value));
    differs.then_some(status)
}

/// A condition; its time of transition stays while its status does.
fn condition(now: &Value, kind: &str, wanted: &Wanted, generation: i64) -> Value {
    let status = if wanted.artifact.is_some() { "True" } else { "False" };
    let before = now
        .get("conditions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .find(|condition| condition.get("type").and_then(Value::as_str) == Some(kind))
        .filter(|condition| condition.get("status").and_then(Value::as_str) == Some(status));
    let since =
        before.and_then(|before| before.get("lastTransitionTime")).cloned().unwrap_or_else(|| json!(this_second()));
    json!({
        "lastTransitionTime": since,
        "message": wanted.message,
        "observedGeneration": generation,
        "reason": wanted.reason,
        "status": status,
        "type": kind,
    })
}

/// Kubernetes writes times without fractions.
fn this_second() -> String {
    Timestamp::from_second(Timestamp::now().as_second()).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

async fn patch(
    api: &Api<DynamicObject>,
    name: &str,
    parameters: &PatchParams,
    body: &Value,
    is_status: bool,
) -> Result<(), FluxError> {
    let patch = Patch::Merge(body);
    let done = if is_status {
        api.patch_status(name, parameters, &patch).await
    } else {
        api.patch(name, parameters, &patch).await
    };
    match done {
        Ok(_) => Ok(()),
        // It was deleted in between.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(source) => Err(FluxError::Api { action: format!("patch `{name}`"), source: Box::new(source) }),
    }
}
