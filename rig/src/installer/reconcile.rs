//! The installer's endless work, and the chart repository that its pod serves.
//!
//! As scripts/installer.sh of CozyStack 0.36 and 0.37 does it (public source): migrations, namespaces, platform, a mark on
//! the HelmRepositories that makes Flux look for new charts, every release of the platform unsuspended; then the platform
//! again and again. An error ends the script, and the kubelet starts it anew; here it begins again after a second while
//! the repository goes on being served, as the pod's second container does. Other than the real one it applies and
//! unsuspends every second, not every minute and once: who is undone within a minute is undone here within a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Method;
use jiff::Timestamp;
use kube::Client;
use serde_json::{Value, json};

use super::apply::{CONFIG_MAPS, HELM_RELEASES, HELM_REPOSITORIES, NAMESPACES, apply, name, namespace};
use super::bundle::{self, ANY_VERSION};
use super::catalog;
use super::error::InstallerError;
use super::migration::migrate;
use super::release::Release;
use crate::api::Api;
use crate::loopback;

/// Between two rounds.
const PAUSE: Duration = Duration::from_secs(1);
/// The repositories whose releases are unsuspended.
const REPOSITORIES: [(&str, &str); 3] =
    [("cozy-system", "cozystack-system"), ("cozy-public", "cozystack-extra"), ("cozy-public", "cozystack-apps")];

/// Plays the installer of a release until the process ends.
///
/// # Errors
/// [`InstallerError::Listen`] when the port is taken.
pub async fn run(client: Client, release: Release, port: u16, say: &dyn Fn(&str)) -> Result<(), InstallerError> {
    let applied = Arc::new(AtomicBool::new(false));
    let has_applied = Arc::clone(&applied);
    let find = move |path: &str| match path {
        "/readyz" => has_applied.load(Ordering::Relaxed).then(Vec::new),
        path => {
            let repository = path.strip_prefix("/repos/")?.strip_suffix("/index.yaml")?;
            catalog::REPOSITORIES.contains(&repository).then(|| catalog::index(release, repository).into_bytes())
        }
    };
    let api = Api::new(client);
    let work = async {
        loop {
            if let Err(error) = install(&api, release, &applied, say).await {
                say(&format!("error: {error}"));
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::select! {
        ended = loopback::serve(port, find) => match ended {
            Ok(never) => match never {},
            Err(source) => Err(InstallerError::Listen { port, source }),
        },
        () = work => Ok(()),
    }
}

/// One run of the script: ends only with an error.
async fn install(api: &Api, release: Release, applied: &AtomicBool, say: &dyn Fn(&str)) -> Result<(), InstallerError> {
    migrate(api, release, say).await?;
    apply_platform(api, release, say).await?;
    ask_for_new_charts(api).await?;
    loop {
        unsuspend(api, say).await?;
        if release >= Release::V0_37_2 {
            unpin(api).await?;
        }
        applied.store(true, Ordering::Relaxed);
        tokio::time::sleep(PAUSE).await;
        apply_platform(api, release, say).await?;
    }
}

async fn apply_platform(api: &Api, release: Release, say: &dyn Fn(&str)) -> Result<(), InstallerError> {
    let settings = api.demand(Method::GET, &CONFIG_MAPS.named("cozy-system", "cozystack"), None).await?.json();
    let setting = |key: &str| settings.pointer(&format!("/data/{key}")).and_then(Value::as_str).unwrap_or_default();
    if setting("bundle-name").is_empty() {
        return Err(InstallerError::NoBundle);
    }
    let disabled: Vec<&str> = setting("bundle-disable").split(',').map(str::trim).collect();
    let mut written = apply(api, NAMESPACES, &bundle::namespaces(release, &disabled)).await?;
    written += apply(api, HELM_REPOSITORIES, &bundle::repositories()).await?;
    written += apply(api, HELM_RELEASES, &bundle::helm_releases(release, &disabled)).await?;
    if written > 0 {
        say(&format!("applied {written} objects of {}", release.version()));
    }
    Ok(())
}

async fn ask_for_new_charts(api: &Api) -> Result<(), InstallerError> {
    let now =
        json!({ "metadata": { "annotations": { "reconcile.fluxcd.io/requestedAt": Timestamp::now().to_string() } } });
    for repository in api.list(&format!("{}?labelSelector=cozystack.io/repository", HELM_REPOSITORIES.all())).await? {
        let url = format!("{}?fieldManager=kubectl-annotate", HELM_REPOSITORIES.url(&repository));
        api.demand(Method::PATCH, &url, Some(&now)).await?;
    }
    Ok(())
}

async fn unsuspend(api: &Api, say: &dyn Fn(&str)) -> Result<(), InstallerError> {
    let resumed = json!({ "spec": { "suspend": null } });
    for release in api.list(&HELM_RELEASES.all()).await? {
        let source = |field: &str| {
            release.pointer(&format!("/spec/chart/spec/sourceRef/{field}")).and_then(Value::as_str).unwrap_or_default()
        };
        let suspended = release.pointer("/spec/suspend") == Some(&Value::Bool(true));
        if suspended && REPOSITORIES.contains(&(source("namespace"), source("name"))) {
            let url = format!("{}?fieldManager=flux-client-side-apply", HELM_RELEASES.url(&release));
            api.demand(Method::PATCH, &url, Some(&resumed)).await?;
            say(&format!("unsuspended {}/{}", namespace(&release), name(&release)));
        }
    }
    Ok(())
}

/// From 0.37 on no application is held at a version of its own.
async fn unpin(api: &Api) -> Result<(), InstallerError> {
    let any = json!({ "spec": { "chart": { "spec": { "version": ANY_VERSION } } } });
    for release in api.list(&format!("{}?labelSelector=cozystack.io/ui=true", HELM_RELEASES.all())).await? {
        if release.pointer("/spec/chart/spec/version").and_then(Value::as_str) != Some(ANY_VERSION) {
            let url = format!("{}?fieldManager=kubectl-patch", HELM_RELEASES.url(&release));
            api.demand(Method::PATCH, &url, Some(&any)).await?;
        }
    }
    Ok(())
}
