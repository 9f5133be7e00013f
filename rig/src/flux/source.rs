//! The stand-in for source-controller: watches HelmRepositories and HelmCharts and writes their status as Flux's
//! documented API has it: conditions Ready and ArtifactInStorage, `artifact`, `url`, `observedGeneration`.
//!
//! Invariant: an object whose status is right already is not written to, so a stand-in that starts again changes nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt as _;
use jiff::Timestamp;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams, WatchEvent, WatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};

use super::artifacts::{self, Artifact, HOST};
use super::catalog;
use super::error::FluxError;

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
pub async fn serve(client: Client, port: u16) -> Result<(), FluxError> {
    let listening = artifacts::listen(port);
    let reconciling = futures::future::join(
        keep_reconciling(client.clone(), Source::HelmRepository),
        keep_reconciling(client, Source::HelmChart),
    );
    tokio::select! {
        ended = listening => ended.map(|never| match never {}),
        _ = reconciling => Ok(()),
    }
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

/// Lists, then watches, and begins again whenever the watch ends: the API server may stop and come back.
async fn keep_reconciling(client: Client, source: Source) {
    loop {
        // What went wrong shows in the objects' status, or is over at the next try.
        let _ = reconcile_all(&client, source).await;
        tokio::time::sleep(RETRY).await;
    }
}

async fn reconcile_all(client: &Client, source: Source) -> Result<(), FluxError> {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource(source));
    let list = api.list(&ListParams::default()).await.map_err(FluxError::api("list sources"))?;
    let version = list.metadata.resource_version.unwrap_or_default();
    // Objects that wait for something else, by namespace and name.
    let mut waiting: BTreeMap<(String, String), DynamicObject> = BTreeMap::new();
    for object in list.items {
        reconcile_or_wait(client, source, object, &mut waiting).await?;
    }
    let mut events =
        api.watch(&WatchParams::default(), &version).await.map_err(FluxError::api("watch sources"))?.boxed();
    loop {
        match tokio::time::timeout(RETRY, events.next()).await {
            Ok(Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)))) => {
                reconcile_or_wait(client, source, object, &mut waiting).await?;
            }
            Ok(Some(Ok(WatchEvent::Deleted(object)))) => {
                waiting.remove(&(object.namespace().unwrap_or_default(), object.name_any()));
            }
            Ok(Some(Ok(WatchEvent::Bookmark(_)))) => {}
            Ok(Some(Ok(WatchEvent::Error(_)) | Err(_)) | None) => return Ok(()),
            Err(_) => {
                for object in std::mem::take(&mut waiting).into_values() {
                    reconcile_or_wait(client, source, object, &mut waiting).await?;
                }
            }
        }
    }
}

async fn reconcile_or_wait(
    client: &Client,
    source: Source,
    object: DynamicObject,
    waiting: &mut BTreeMap<(String, String), DynamicObject>,
) -> Result<(), FluxError> {
    let key = (object.namespace().unwrap_or_default(), object.name_any());
    waiting.remove(&key);
    if !reconcile(client, source, &object).await? {
        waiting.insert(key, object);
    }
    Ok(())
}

/// What the status of a source should say.
struct Wanted {
    artifact: Option<(Artifact, String)>,
    reason: &'static str,
    message: String,
    more: Value,
}

/// Brings one object's finalizer and status to where they should be. False when it has to be tried again.
async fn reconcile(client: &Client, source: Source, object: &DynamicObject) -> Result<bool, FluxError> {
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &resource(source));
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
        Source::HelmRepository => repository_status(&namespace, &name),
        Source::HelmChart => chart_status(client, object, &namespace, &name).await?,
    };
    let status = status_of(object, &wanted);
    if let Some(status) = status {
        patch(&api, &name, &parameters, &json!({ "status": status }), true).await?;
    }
    Ok(wanted.artifact.is_some())
}

fn repository_status(namespace: &str, name: &str) -> Wanted {
    let artifact = Artifact::of_index(namespace, name);
    let revision = artifact.digest();
    Wanted {
        message: format!("stored artifact: revision '{revision}'"),
        artifact: Some((artifact, revision)),
        reason: "Succeeded",
        more: json!({}),
    }
}

async fn chart_status(
    client: &Client,
    object: &DynamicObject,
    namespace: &str,
    name: &str,
) -> Result<Wanted, FluxError> {
    let text = |pointer: &str| object.data.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (chart, constraint, repository) = (text("/spec/chart"), text("/spec/version"), text("/spec/sourceRef/name"));
    let failed = |reason, message| Wanted { artifact: None, reason, message, more: json!({}) };
    let repositories: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), namespace, &resource(Source::HelmRepository));
    let found = repositories.get_opt(repository).await.map_err(FluxError::api("read a HelmRepository"))?;
    let index =
        found.as_ref().and_then(|found| found.data.pointer("/status/artifact/revision")).and_then(Value::as_str);
    let Some(index) = index else {
        let message = format!("failed to get source: HelmRepository '{namespace}/{repository}' has no artifact");
        return Ok(failed("SourceUnavailable", message));
    };
    let Some(version) = catalog::resolve(chart, constraint) else {
        let message = format!(
            "invalid chart reference: failed to get chart version for remote reference: no '{chart}' chart with version matching '{constraint}' found"
        );
        return Ok(failed("InvalidChartReference", message));
    };
    Ok(Wanted {
        artifact: Some((Artifact::of_chart(namespace, name, chart, version)?, version.to_owned())),
        reason: "ChartPullSucceeded",
        message: format!("pulled '{chart}' chart with version '{version}'"),
        more: json!({ "observedChartName": chart, "observedSourceArtifactRevision": index }),
    })
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
