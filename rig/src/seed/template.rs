//! Templates that hold a small CozyStack.

use crate::cluster::Cluster;
use crate::templates::BuildResult;
use crate::toolchain::Toolchain;

use super::run::{SeedOptions, seed};

/// The number that every template is drawn from.
const SEED: u64 = 1;

/// Seeds a fresh cluster that becomes a template.
///
/// # Errors
/// Whatever keeps the cluster from being seeded.
pub async fn fill_template(cluster: &mut Cluster, size: usize) -> BuildResult {
    let options = SeedOptions { size, seed: SEED, toolchain: Toolchain::find()?.folder().to_owned() };
    seed(cluster.client().await?, &options, &|_| ()).await?;
    Ok(())
}
