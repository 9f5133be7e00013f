//! The seeding itself, phase after phase; inside a phase eight objects at a time.
//!
//! ```text
//!   CRDs ─> namespaces ─> platform, configuration, access, workloads ─> custom resources + status
//!        ─> objects they own ─> edits by a second field manager ─> HelmRepositories and HelmReleases
//! ```

use std::path::PathBuf;
use std::time::Instant;

use http::Method;
use kube::Client;
use serde::Serialize;
use serde_json::json;

use super::crds::{self, Crd};
use super::error::SeedError;
use super::installation::install;
use super::planned::Planned;
use super::random::Random;
use super::resources::{self, Posted, Recipe};
use super::size::Counts;
use super::{access, configuration, controllers, platform, workloads};
use crate::api::Api;

/// What to seed.
#[derive(Debug, Clone)]
pub struct SeedOptions {
    /// About how many objects to post.
    pub size: usize,
    /// The number that everything is drawn from.
    pub seed: u64,
    /// The toolchain folder, which has the list of CRD files.
    pub toolchain: PathBuf,
}

/// What was seeded.
#[derive(Debug, Clone, Serialize)]
pub struct SeedReport {
    /// CRDs, copies under other names among them.
    pub crds: usize,
    /// How many of these are copies.
    pub copied_crds: usize,
    /// Objects posted, CRDs included.
    pub objects: usize,
    /// Custom resources among them.
    pub custom_resources: usize,
    /// HelmReleases among them.
    pub helm_releases: usize,
    /// Types without an object, since the API server refused every sample.
    pub refused_types: Vec<String>,
    /// Single custom resources that were refused for their values.
    pub refused_objects: usize,
    /// How long it took.
    pub seconds: u64,
}

/// Types whose objects a running Flux would act on: only the platform's own are made.
fn is_flux(crd: &Crd) -> bool {
    crd.group.ends_with(".fluxcd.io")
}

/// Seeds the cluster that the client talks to. `say` gets a line for each phase.
///
/// # Errors
/// [`SeedError`] when the CRDs cannot be read, the API server does not answer or refuses an object that every
/// Kubernetes takes.
pub async fn seed(client: Client, options: &SeedOptions, say: &dyn Fn(&str)) -> Result<SeedReport, SeedError> {
    let started = Instant::now();
    let api = Api::new(client);
    let random = Random::new(options.seed);
    let mut counts = Counts::of(options.size);
    let real = crds::load(&options.toolchain)?;
    let chosen = if counts.crds == 0 { crds::small(&real) } else { crds::many(&real, counts.crds) };
    counts.custom_resources = counts.custom_resources.saturating_sub(chosen.len().saturating_sub(counts.crds));

    say(&format!("{} CRDs", chosen.len()));
    install(&api, chosen.clone()).await?;

    let namespaces = platform::namespaces(&counts);
    create(&api, platform::namespace_objects(&counts)).await?;

    say("platform, configuration, access, workloads");
    let built_in = built_in_objects(&counts, &namespaces, &random);
    let touched: Vec<String> = built_in
        .iter()
        .filter(|planned| planned.url.ends_with("/configmaps"))
        .step_by(9)
        .filter_map(|planned| Some(format!("{}/{}", planned.url, planned.body.pointer("/metadata/name")?.as_str()?)))
        .collect();
    let mut objects = chosen.len() + namespaces.len() + built_in.len();
    create(&api, built_in).await?;

    say("custom resources");
    let (recipes, refused_types) = find_recipes(&api, &chosen, &namespaces, &random).await?;
    let wanted = counts.custom_resources.saturating_sub(recipes.len());
    let planned = resources::spread(&recipes, wanted, &namespaces, &mut random.part("spread"));
    let posted = api
        .each(planned, |api, planned| {
            let (recipe, random) = (recipes.get(planned.recipe).cloned(), &random);
            async move {
                match recipe {
                    Some(recipe) => resources::post(&api, &recipe, &planned, random).await,
                    None => Ok(None),
                }
            }
        })
        .await?;
    let refused_objects = posted.iter().filter(|posted| posted.is_none()).count();
    let posted: Vec<Posted> = posted.into_iter().flatten().collect();
    let custom_resources = posted.len() + recipes.len();
    objects += custom_resources;

    let owned = create_owned(&api, &posted, counts.owned, &random).await?;
    edit_again(&api, &posted, touched, &random).await?;

    say("HelmReleases");
    let releases = platform::helm_releases(&counts);
    let helm_releases = releases.len();
    let repositories = platform::repositories();
    objects += owned + helm_releases + repositories.len();
    create(&api, repositories).await?;
    create(&api, releases).await?;

    Ok(SeedReport {
        crds: chosen.len(),
        copied_crds: chosen.len().saturating_sub(real.len()),
        objects,
        custom_resources,
        helm_releases,
        refused_types,
        refused_objects,
        seconds: started.elapsed().as_secs(),
    })
}

fn built_in_objects(counts: &Counts, namespaces: &[String], random: &Random) -> Vec<Planned> {
    let part = |name: &str| random.part(name);
    let mut objects = platform::core_objects(counts);
    objects.extend(controllers::deployments());
    objects.push(platform::plans());
    objects.extend(workloads::volumes(counts.volumes, namespaces, &mut part("volumes")));
    objects.extend(configuration::config_maps(counts.config_maps, namespaces, &mut part("config-maps")));
    objects.extend(configuration::secrets(counts.secrets, namespaces, &mut part("secrets")));
    objects.extend(access::accounts(counts.accounts, namespaces, &mut part("accounts")));
    objects.extend(access::cluster_roles(counts.cluster_roles, &mut part("cluster-roles")));
    objects.extend(workloads::deployments(counts.deployments, namespaces, &mut part("deployments")));
    objects.extend(workloads::others(counts.other_workloads, namespaces, &mut part("workloads")));
    objects.extend(workloads::policies(counts.policies, namespaces, &mut part("policies")));
    objects
}

/// Creates objects, each as its field manager.
///
/// # Errors
/// [`SeedError`] when the API server does not answer or refuses one.
pub async fn create(api: &Api, planned: Vec<Planned>) -> Result<(), SeedError> {
    api.each(planned, |api, planned| async move {
        let url = format!("{}?fieldManager={}", planned.url, planned.manager);
        api.demand(Method::POST, &url, Some(&planned.body)).await
    })
    .await?;
    Ok(())
}

async fn find_recipes(
    api: &Api,
    chosen: &[Crd],
    namespaces: &[String],
    random: &Random,
) -> Result<(Vec<Recipe>, Vec<String>), SeedError> {
    let namespace = namespaces.first().cloned().unwrap_or_default();
    let types: Vec<Crd> = chosen.iter().filter(|crd| !is_flux(crd)).cloned().collect();
    let names: Vec<String> = types.iter().map(Crd::name).collect();
    let found = api
        .each(types, |api, crd| {
            let (namespace, random) = (&namespace, random);
            async move { resources::find_recipe(&api, crd, namespace, random).await }
        })
        .await?;
    let refused = names.into_iter().zip(&found).filter(|(_, recipe)| recipe.is_none()).map(|(name, _)| name).collect();
    Ok((found.into_iter().flatten().collect(), refused))
}

async fn create_owned(api: &Api, posted: &[Posted], count: usize, random: &Random) -> Result<usize, SeedError> {
    let owners: Vec<Posted> =
        posted.iter().filter(|posted| !posted.namespace.is_empty()).take(count).cloned().collect();
    let mut random = random.part("owned");
    let planned: Vec<Planned> = owners
        .iter()
        .enumerate()
        .map(|(number, owner)| {
            let (url, body) = resources::owned_object(owner, number, &mut random);
            Planned { url, manager: "cozystack-controller", body }
        })
        .collect();
    let owned = planned.len();
    create(api, planned).await?;
    Ok(owned)
}

/// A second field manager looks at some objects: a person with `kubectl edit`.
async fn edit_again(api: &Api, posted: &[Posted], mut urls: Vec<String>, random: &Random) -> Result<(), SeedError> {
    urls.extend(posted.iter().step_by(12).map(|posted| posted.url.clone()));
    let mut random = random.part("edits");
    let edits: Vec<(String, String)> = urls.into_iter().map(|url| (url, random.words(3))).collect();
    api.each(edits, |api, (url, note)| async move {
        let body = json!({ "metadata": { "annotations": { "example.org/note": note } } });
        api.demand(Method::PATCH, &format!("{url}?fieldManager=kubectl-edit"), Some(&body)).await
    })
    .await?;
    Ok(())
}
