//! Custom resources that the API server accepts: for each type the fullest shape that passes its validation is found by
//! dry run, then objects of that shape are posted, and their status is written as a controller would.
//!
//! A type none of whose shapes is accepted is left out and named in the report: no object of it would be valid.

use http::Method;
use serde_json::{Map, Value, json};

use super::crds::Crd;
use super::error::SeedError;
use super::planned::{object, with};
use super::random::Random;
use super::sample::{Shape, sample};
use crate::api::Api;
use crate::installer::last_applied::with_last_applied;

/// A type with the shapes that its objects and their status take.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// The type.
    pub crd: Crd,
    /// Which fields its objects have.
    pub shape: Shape,
    /// Which fields the status has; nothing where there is none or none was accepted.
    pub status: Option<Shape>,
}

/// Fields at the top that are not a matter of the schema's sample.
const NOT_SAMPLED: &[&str] = &["apiVersion", "kind", "metadata", "status"];

/// An object of the type, or nothing when the schema wants something that cannot be made up.
fn custom_resource(crd: &Crd, shape: Shape, namespace: &str, name: &str, random: &mut Random) -> Option<Value> {
    let properties = crd.schema.get("properties").and_then(Value::as_object)?;
    let required: Vec<&str> =
        crd.schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let mut fields = Map::new();
    for (property, schema) in properties.iter().filter(|(property, _)| !NOT_SAMPLED.contains(&property.as_str())) {
        if property == "spec" || required.contains(&property.as_str()) || shape.optional_percent > 0 {
            match sample(schema, shape, random) {
                Some(value) => fields.insert(property.clone(), value),
                None if required.contains(&property.as_str()) || property == "spec" => return None,
                None => continue,
            };
        }
    }
    let namespace = crd.namespaced.then_some(namespace);
    Some(with(object(&crd.api_version(), &crd.kind, namespace, name, random), Value::Object(fields)))
}

/// Finds out what the API server accepts for a type, and leaves the first object of it behind.
///
/// # Errors
/// [`SeedError`] when the API server does not answer. Nothing when it refuses every shape.
pub async fn find_recipe(api: &Api, crd: Crd, namespace: &str, random: &Random) -> Result<Option<Recipe>, SeedError> {
    let url = crd.collection(namespace);
    let name = first_name(&crd);
    for shape in Shape::attempts() {
        let mut random = random.part(&crd.name());
        let Some(body) = custom_resource(&crd, shape, namespace, &name, &mut random) else { continue };
        let trial = api.ask(Method::POST, &format!("{url}?dryRun=All"), Some(&body)).await?;
        if !trial.is_success() {
            continue;
        }
        api.demand(Method::POST, &format!("{url}?fieldManager=helm"), Some(&body)).await?;
        let status = find_status(api, &crd, &format!("{url}/{name}"), &mut random).await?;
        return Ok(Some(Recipe { crd, shape, status }));
    }
    Ok(None)
}

fn first_name(crd: &Crd) -> String {
    format!("{}-000000", crd.kind.to_lowercase())
}

async fn find_status(api: &Api, crd: &Crd, url: &str, random: &mut Random) -> Result<Option<Shape>, SeedError> {
    let Some(schema) = crd.schema.pointer("/properties/status").filter(|_| crd.has_status) else { return Ok(None) };
    for shape in Shape::attempts().into_iter().take(5) {
        let Some(status) = sample(schema, shape, random) else { continue };
        let body = json!({ "status": status });
        let answer = api.ask(Method::PATCH, &status_url(crd, url), Some(&body)).await?;
        if answer.is_success() {
            return Ok(Some(shape));
        }
    }
    Ok(None)
}

fn status_url(crd: &Crd, url: &str) -> String {
    let controller = crd.group.split('.').next().unwrap_or_default();
    format!("{url}/status?fieldManager={controller}-controller")
}

/// One custom resource to post.
#[derive(Debug, Clone)]
pub struct PlannedResource {
    /// Where its type stands in the list of recipes.
    pub recipe: usize,
    /// The namespace, for types that have one.
    pub namespace: String,
    /// Its number among all custom resources, which is in its name too.
    pub number: usize,
}

/// Spreads objects over the types: some types have many, most have few, and every one has some.
pub fn spread(recipes: &[Recipe], count: usize, namespaces: &[String], random: &mut Random) -> Vec<PlannedResource> {
    // Every fifth type has twelve times as many objects as the others; types of the whole cluster have few.
    let weights: Vec<usize> = recipes
        .iter()
        .enumerate()
        .flat_map(|(index, recipe)| {
            let weight = if !recipe.crd.namespaced {
                1
            } else if index.is_multiple_of(5) {
                24
            } else {
                2
            };
            std::iter::repeat_n(index, weight)
        })
        .collect();
    let plan = |number: usize| {
        // The types in turn first, then by weight.
        let recipe = if number < recipes.len() { Some(number) } else { random.pick(&weights).copied() };
        let namespace = random.pick(namespaces).cloned().unwrap_or_default();
        recipe.map(|recipe| PlannedResource { recipe, namespace, number: number + 1 })
    };
    (0..count).filter_map(plan).collect()
}

/// What became of a posted custom resource.
#[derive(Debug, Clone)]
pub struct Posted {
    /// Its URL.
    pub url: String,
    /// Its namespace, empty for an object of the whole cluster.
    pub namespace: String,
    /// An owner reference to it.
    pub reference: Value,
}

/// Posts one custom resource and writes its status. Nothing when the API server refused the values that were drawn.
///
/// # Errors
/// [`SeedError`] when the API server does not answer, or refuses the status it took for another object of the type.
pub async fn post(
    api: &Api,
    recipe: &Recipe,
    planned: &PlannedResource,
    random: &Random,
) -> Result<Option<Posted>, SeedError> {
    let crd = &recipe.crd;
    let name = format!("{}-{:06}", crd.kind.to_lowercase(), planned.number);
    let mut random = random.part(&format!("{}/{name}", crd.name()));
    let Some(mut body) = custom_resource(crd, recipe.shape, &planned.namespace, &name, &mut random) else {
        return Ok(None);
    };
    let manager = if planned.number.is_multiple_of(3) {
        body = with_last_applied(body);
        "kubectl-client-side-apply"
    } else {
        random.text(&["helm", "cozystack-api", "cozystack-controller"])
    };
    let collection = crd.collection(&planned.namespace);
    let answer = api.ask(Method::POST, &format!("{collection}?fieldManager={manager}"), Some(&body)).await?;
    if !answer.is_success() {
        return Ok(None);
    }
    let uid = answer.json().pointer("/metadata/uid").cloned().unwrap_or_default();
    let url = format!("{collection}/{name}");
    // Some objects have not been looked at by their controller yet.
    if let Some(shape) = recipe.status.filter(|_| !planned.number.is_multiple_of(10))
        && let Some(status) =
            crd.schema.pointer("/properties/status").and_then(|schema| sample(schema, shape, &mut random))
    {
        api.ask(Method::PATCH, &status_url(crd, &url), Some(&json!({ "status": status }))).await?;
    }
    let reference = json!({ "apiVersion": crd.api_version(), "kind": crd.kind, "name": name, "uid": uid });
    let namespace = if crd.namespaced { planned.namespace.clone() } else { String::new() };
    Ok(Some(Posted { url, namespace, reference }))
}

/// The ConfigMap or Secret that a controller makes for a custom resource, owned by it.
pub fn owned_object(owner: &Posted, number: usize, random: &mut Random) -> (String, Value) {
    let (kind, resource) = if number % 3 == 2 { ("Secret", "secrets") } else { ("ConfigMap", "configmaps") };
    let name = format!("owned-{}-{number}", random.word());
    let mut body = object("v1", kind, Some(&owner.namespace), &name, random);
    let mut reference = owner.reference.clone();
    if let Some(reference) = reference.as_object_mut() {
        reference.insert("controller".to_owned(), json!(true));
        reference.insert("blockOwnerDeletion".to_owned(), json!(number.is_multiple_of(2)));
    }
    if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("ownerReferences".to_owned(), json!([reference]));
    }
    let data = if kind == "Secret" { "stringData" } else { "data" };
    let url = format!("/api/v1/namespaces/{}/{resource}", owner.namespace);
    (url, with(body, json!({ data: { "rendered": random.words(40), "digest": random.hex(64) } })))
}
