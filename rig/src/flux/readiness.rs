//! What must be there before helm-controller starts, and when it has done its work.

use std::path::Path;
use std::time::{Duration, Instant};

use http::Method;
use kube::Client;
use serde_json::Value;

use super::error::FluxError;
use crate::api::Api;
use crate::seed::{crds, installation};

const RELEASES: &str = "/apis/helm.toolkit.fluxcd.io/v2/helmreleases";
const CHARTS: &str = "/apis/source.toolkit.fluxcd.io/v1/helmcharts";

/// Installs the CRDs that helm-controller cannot start without, where they are missing.
///
/// # Errors
/// [`FluxError::Crds`] when they cannot be read or installed.
pub async fn install_crds(client: Client, toolchain: &Path) -> Result<(), FluxError> {
    let api = Api::new(client);
    for url in [RELEASES, CHARTS] {
        if !api.ask(Method::GET, &format!("{url}?limit=1"), None).await?.is_success() {
            let of_flux = crds::load(toolchain)?.into_iter().filter(|crd| crd.group.ends_with(".fluxcd.io")).collect();
            return Ok(installation::install(&api, of_flux).await?);
        }
    }
    Ok(())
}

/// Waits until every HelmRelease that is not suspended has been installed or upgraded and nothing is under way.
///
/// # Errors
/// [`FluxError::NotReady`] when some are not so in time.
pub async fn wait_until_reconciled(client: Client, patience: Duration) -> Result<usize, FluxError> {
    let api = Api::new(client);
    let started = Instant::now();
    loop {
        let releases = api.list(RELEASES).await?;
        let waiting: Vec<String> = releases.iter().filter_map(not_reconciled).collect();
        if waiting.is_empty() {
            return Ok(releases.len());
        }
        if started.elapsed() > patience {
            return Err(FluxError::NotReady { waiting, total: releases.len(), seconds: patience.as_secs() });
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Why a release is not at rest, if it is not. Ready turns True before the history is written and before Reconciling
/// goes away: all three count.
fn not_reconciled(release: &Value) -> Option<String> {
    let text = |pointer: &str| release.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    if release.pointer("/spec/suspend") == Some(&Value::Bool(true)) {
        return None;
    }
    let conditions = release.pointer("/status/conditions").and_then(Value::as_array);
    let find = |wanted: &str| {
        conditions.into_iter().flatten().find(|condition| condition.get("type").and_then(Value::as_str) == Some(wanted))
    };
    let ready = find("Ready");
    let is_true = ready.and_then(|ready| ready.get("status")).and_then(Value::as_str) == Some("True");
    let observed = release.pointer("/status/observedGeneration") == release.pointer("/metadata/generation");
    let deployed = text("/status/history/0/status") == "deployed";
    if is_true && observed && deployed && find("Reconciling").is_none() {
        return None;
    }
    let message = ready.and_then(|ready| ready.get("message")).and_then(Value::as_str).unwrap_or("not looked at yet");
    Some(format!("{}/{}: {message}", text("/metadata/namespace"), text("/metadata/name")))
}
