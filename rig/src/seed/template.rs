//! Templates that hold a small CozyStack, its HelmReleases reconciled by the real helm-controller.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::flux;
use crate::templates::BuildResult;
use crate::toolchain::Toolchain;

use super::platform;
use super::run::{SeedOptions, create, seed};
use super::size::Counts;
use crate::api::Api;

/// Ten releases take about ten seconds, forty a minute; a busy machine gets a lot more.
const PATIENCE: Duration = Duration::from_secs(900);

/// The number that every template is drawn from.
const SEED: u64 = 1;

/// Seeds a fresh cluster that becomes a template.
///
/// # Errors
/// Whatever keeps the cluster from being seeded.
pub async fn fill_template(cluster: &mut Cluster, size: usize) -> BuildResult {
    let options = SeedOptions { size, seed: SEED, toolchain: Toolchain::find()?.folder().to_owned() };
    seed(cluster.client().await?, &options, &|_| ()).await?;
    // Only now: helm-controller needs the CRDs of Flux, and the releases come with the seeding.
    cluster.start(flux::SOURCE_CONTROLLER).await?;
    cluster.start(flux::HELM_CONTROLLER).await?;
    flux::wait_until_reconciled(cluster.client().await?, PATIENCE).await?;
    // Their types came with the charts.
    create(&Api::new(cluster.client().await?), platform::objects_of_own_types(&Counts::of(size))).await?;
    Ok(())
}
