//! CRDs into a cluster, until their types are served.

use std::time::{Duration, Instant};

use http::Method;

use super::crds::Crd;
use super::error::SeedError;
use crate::api::{Api, ApiError};

/// How long a CRD may take until its type is served: far above the 2 s measured for one, since 200 come at once.
const SERVED_WITHIN: Duration = Duration::from_secs(180);
/// The answer to a CRD that is there already, as those of Flux are where helm-controller runs.
const CONFLICT: u16 = 409;

/// Posts the CRDs and waits until objects of each can be listed at its stored version. One that exists is left alone.
///
/// # Errors
/// [`SeedError`] when the API server does not answer, refuses a CRD or does not serve it in time.
pub async fn install(api: &Api, crds: Vec<Crd>) -> Result<(), SeedError> {
    let url = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions?fieldManager=helm";
    let served =
        crds.iter().map(|crd| format!("/apis/{}/{}?limit=1", crd.api_version(), crd.plural)).collect::<Vec<_>>();
    api.each(crds, |api, crd| async move {
        let answer = api.ask(Method::POST, url, Some(&crd.body)).await?;
        if answer.is_success() || answer.status == CONFLICT {
            return Ok(());
        }
        let (status, message) = (answer.status, answer.message());
        Err(ApiError::Refused { method: Method::POST, url: url.to_owned(), status, message })
    })
    .await?;
    let started = Instant::now();
    for url in served {
        while !api.ask(Method::GET, &url, None).await?.is_success() {
            if started.elapsed() > SERVED_WITHIN {
                let what = format!("`{url}` is not served");
                return Err(SeedError::Timeout { what, seconds: SERVED_WITHIN.as_secs() });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}
