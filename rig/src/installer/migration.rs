//! The migrations between two releases, by their counter in the ConfigMap `cozystack-version`.
//!
//! Done as scripts/migrations/20 of CozyStack 0.37.2 does it (public source): it deletes the HelmReleases cozystack-api,
//! cozystack-controller and dashboard and waits until each is gone, which needs a living helm-controller; deletes the
//! CRD of the resource definitions with all its objects; annotates what lies in tenants' namespaces, release secrets of
//! Helm included; and stamps the counter last, so that a migration that was cut off runs again from its beginning. Left
//! out: its pauses, and its installing charts with Helm by hand, which the platform's apply does right after.
//! Added: the storage version of one type moves, and half of its objects are written anew.

use std::time::Duration;

use http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::apply::{CONFIG_MAPS, DEFINITIONS, HELM_RELEASES, apply, name, namespace};
use super::bundle::{STAMP, STAMP_NAMESPACE, stamp};
use super::definitions::{PLANS, PLANS_GROUP, RESOURCE_DEFINITIONS, plans};
use super::error::InstallerError;
use super::last_applied::MANAGER;
use super::release::Release;
use crate::api::{Api, ApiError};

/// `kubectl delete` waits for ever; so does this.
const LOOK: Duration = Duration::from_millis(100);
/// The types of which every object in a tenant's namespace is annotated.
const ANNOTATED: [&str; 5] = [
    "/api/v1/pods",
    "/api/v1/services",
    "/api/v1/persistentvolumeclaims",
    "/api/v1/secrets",
    "/apis/networking.k8s.io/v1/ingresses",
];

/// Runs what is missing up to the release's counter. A cluster without a counter is taken for a fresh one and stamped.
///
/// # Errors
/// [`InstallerError::NoMigration`] when the cluster is at a counter that this release does not know, as one that was
/// upgraded further; or when the API server refuses something.
pub async fn migrate(api: &Api, release: Release, say: &dyn Fn(&str)) -> Result<(), InstallerError> {
    loop {
        let stamp = api.ask(Method::GET, &CONFIG_MAPS.named(STAMP_NAMESPACE, STAMP), None).await?;
        if stamp.status == 404 {
            return Ok(put_stamp(api, release.counter()).await?);
        }
        let found = stamp.json().pointer("/data/version").and_then(Value::as_str).unwrap_or_default().to_owned();
        if found == release.counter().to_string() {
            return Ok(());
        }
        say(&format!("run migration: {found} --> {}", release.counter()));
        match (found.as_str(), release) {
            ("20", Release::V0_37_2) => twenty(api).await?,
            _ => return Err(InstallerError::NoMigration { number: found, version: release.version() }),
        }
    }
}

/// Writes the counter as `kubectl apply` does.
async fn put_stamp(api: &Api, counter: u32) -> Result<(), ApiError> {
    apply(api, CONFIG_MAPS, &[stamp(counter)]).await.map(drop)
}

async fn twenty(api: &Api) -> Result<(), InstallerError> {
    for (namespace, name) in
        [("cozy-system", "cozystack-api"), ("cozy-system", "cozystack-controller"), ("cozy-dashboard", "dashboard")]
    {
        delete(api, &HELM_RELEASES.named(namespace, name)).await?;
    }
    delete(api, &format!("{}/{RESOURCE_DEFINITIONS}", DEFINITIONS.all())).await?;
    move_storage_version(api).await?;
    annotate_tenants(api).await?;
    Ok(put_stamp(api, 21).await?)
}

/// Deletes an object and waits until it is gone.
async fn delete(api: &Api, url: &str) -> Result<(), ApiError> {
    let answer = api.ask(Method::DELETE, url, None).await?;
    if !answer.is_success() && answer.status != 404 {
        let (status, message) = (answer.status, answer.message());
        return Err(ApiError::Refused { method: Method::DELETE, url: url.to_owned(), status, message });
    }
    while api.ask(Method::GET, url, None).await?.status != 404 {
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Plans are stored at v1 from here on; every second one is written at once, the others when somebody touches them.
async fn move_storage_version(api: &Api) -> Result<(), InstallerError> {
    let crd = format!("{}/{PLANS}?fieldManager={MANAGER}", DEFINITIONS.all());
    let wanted = plans(Release::V0_37_2);
    if api.ask(Method::PATCH, &crd, Some(&wanted)).await?.status == 404 {
        api.demand(Method::POST, &format!("{}?fieldManager={MANAGER}", DEFINITIONS.all()), Some(&wanted)).await?;
    }
    let all = format!("/apis/{PLANS_GROUP}/v1/plans");
    while !api.ask(Method::GET, &all, None).await?.is_success() {
        tokio::time::sleep(LOOK).await;
    }
    for plan in api.list(&all).await?.iter().step_by(2) {
        let url = format!("/apis/{PLANS_GROUP}/v1/namespaces/{}/plans/{}", namespace(plan), name(plan));
        let retention = json!({ "spec": { "retention": "30d" } });
        api.demand(Method::PATCH, &format!("{url}?fieldManager=migration"), Some(&retention)).await?;
    }
    Ok(())
}

async fn annotate_tenants(api: &Api) -> Result<(), ApiError> {
    let mark = json!({ "metadata": { "annotations": { "migration.cozystack.io": Timestamp::now().to_string() } } });
    for collection in ANNOTATED {
        let (base, plural) = collection.rsplit_once('/').unwrap_or_default();
        let of_tenants =
            api.list(collection).await?.into_iter().filter(|object| namespace(object).starts_with("tenant-"));
        let urls: Vec<String> = of_tenants
            .map(|object| format!("{base}/namespaces/{}/{plural}/{}", namespace(&object), name(&object)))
            .collect();
        // What cannot be annotated is passed over, as in the script.
        api.each(urls, |api, url| {
            let mark = &mark;
            async move { api.ask(Method::PATCH, &format!("{url}?fieldManager=kubectl-annotate"), Some(mark)).await }
        })
        .await?;
    }
    Ok(())
}
