//! Looks at every object of a type and tells what it would lose at another storage version.
//!
//! In: the live CRD, the wanted one, and the scope. Out: a [`StoragePlan`]. Writes nothing (I5). The objects are read at
//! the version that they are written in now and judged as they would be taken over without conversion: dropped is what
//! the wanted version's schema does not know. Bounded memory: a page at a time, and only what loses something is kept.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::definition::{Definition, list_url};
use super::planning::names_a_lost_version;
use super::pruning::dropped_fields;
use super::storage_plan::{ObjectLoss, StoragePlan, Unreadable};
use super::validation::judge_by_schema;
use crate::cluster::{Cluster, ClusterError, ListError, ListPage, ListReader};
use crate::restore::error::RestoreError;
use crate::restore::object;
use crate::snapshot::{ObjectPath, Selection};

/// How often a list begins anew because its revision was compacted.
const MOST_RESTARTS: u32 = 5;

/// Looks at every object of the live CRD's type.
pub(in crate::restore) async fn examine(
    cluster: &Cluster,
    live: &Value,
    wanted: &Value,
    selection: &Selection,
) -> Result<StoragePlan, RestoreError> {
    let (definition, target) = (Definition::of(live), Definition::of(wanted));
    let plan = StoragePlan {
        from: definition.may_be_stored().into_iter().collect(),
        to: target.storage().to_owned(),
        ..StoragePlan::default()
    };
    let unreadable = |plan, problem: String| {
        let lost_version = names_a_lost_version(&problem, definition.group());
        StoragePlan { unreadable: Some(Unreadable { problem, lost_version }), ..plan }
    };
    let Some(url) = list_url(live) else {
        return Ok(unreadable(plan, "no version of it is served".to_owned()));
    };
    let judging = Arc::new(Judging {
        group: definition.group().to_owned(),
        resource: definition.plural().to_owned(),
        schema: target.schema(target.storage()).cloned(),
        selection: selection.clone(),
    });
    for _ in 0..MOST_RESTARTS {
        match list(cluster, &url, &judging, plan.clone()).await {
            Ok(plan) => return Ok(plan),
            Err(ListError::Gone { .. } | ListError::OtherRevision { .. }) => {}
            Err(ListError::Cluster(ClusterError::Api(answer))) => {
                return Ok(unreadable(plan, format!("{} {}", answer.status, answer.message)));
            }
            Err(ListError::Cluster(error)) => return Err(error.into()),
        }
    }
    Ok(unreadable(plan, "its list was never whole".to_owned()))
}

async fn list(
    cluster: &Cluster,
    url: &str,
    judging: &Arc<Judging>,
    mut plan: StoragePlan,
) -> Result<StoragePlan, ListError> {
    let mut unchecked = BTreeSet::new();
    let mut reader = ListReader::latest(cluster, url.to_owned());
    while let Some(page) = reader.next().await? {
        let judging = Arc::clone(judging);
        // Megabytes of JSON are no work for the threads that serve connections.
        let judged = tokio::task::spawn_blocking(move || judging.page(&page)).await;
        let judged = judged.map_err(|error| bad_answer(url, error.to_string()))?;
        let judged = judged.map_err(|error| bad_answer(url, error.to_string()))?;
        plan.objects += judged.objects;
        plan.objects_outside += judged.objects_outside;
        plan.losses.extend(judged.losses);
        plan.losses_outside.extend(judged.losses_outside);
        unchecked.extend(judged.unchecked);
    }
    plan.unchecked = unchecked.into_iter().collect();
    Ok(plan)
}

fn bad_answer(url: &str, problem: String) -> ClusterError {
    ClusterError::BadAnswer { method: "GET".to_owned(), path: url.to_owned(), expected: "a list of objects", problem }
}

struct Judging {
    group: String,
    resource: String,
    /// `None`: the wanted version takes everything.
    schema: Option<Value>,
    selection: Selection,
}

impl Judging {
    fn page(&self, page: &ListPage) -> Result<StoragePlan, RestoreError> {
        let mut plan = StoragePlan::default();
        for item in page.items() {
            let object = object::parse(&self.resource, item.as_bytes())?;
            let path = ObjectPath {
                group: self.group.clone(),
                resource: self.resource.clone(),
                namespace: object::namespace(&object).map(str::to_owned),
                name: object::name(&object).to_owned(),
            }
            .to_tree_path();
            let inside = self.selection.includes_path(&path);
            *if inside { &mut plan.objects } else { &mut plan.objects_outside } += 1;
            let Some(schema) = &self.schema else { continue };
            let judged = judge_by_schema(&object, schema);
            plan.unchecked.extend(judged.unchecked);
            let loss = ObjectLoss { path, dropped: dropped_fields(&object, schema), broken: judged.broken };
            if !loss.dropped.is_empty() || !loss.broken.is_empty() {
                if inside { &mut plan.losses } else { &mut plan.losses_outside }.push(loss);
            }
        }
        Ok(plan)
    }
}
