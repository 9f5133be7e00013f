//! What the account must be allowed to do for a plan, and what of that the API server denies.
//!
//! In: a plan. Out: rights, each one verb on one type, in one namespace or everywhere. Invariants: asking changes
//! nothing (I5), so the reviews carry `dryRun=All`; a right that is held everywhere is asked for once, whatever the
//! number of objects. What a review cannot tell stays untold: rights to single names do not count, and the API server
//! lets nobody write a role with more in it than the writer has.

use std::collections::BTreeSet;

use futures::{StreamExt as _, TryStreamExt as _};
use http::Method;
use serde::Deserialize;
use serde_json::json;

use crate::cluster::{Cluster, ClusterError};
use crate::journal::Held;
use crate::snapshot::{ObjectPath, at_or_below};

use super::address::{defined_type, is_namespace};
use super::controller_owned::owns_status;
use super::dry_run::DRY_RUN;
use super::error::RestoreError;
use super::plan::{Action, Operation, Plan};
use super::quiesce::held_answer_for;
use super::volumes::holds_data;

/// Where an account asks what it may do.
const REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
/// How many reviews are asked for at once.
const PARALLEL: usize = 8;

/// What is done to objects of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RightVerb {
    /// Read one.
    Get,
    /// Read all.
    List,
    /// Make one.
    Create,
    /// Change one.
    Update,
    /// Delete one.
    Delete,
}

/// The right to do something with objects of a type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// API group; empty for the core group.
    pub group: String,
    /// Plural name.
    pub resource: String,
    /// It is about the subresource `status`.
    pub of_status: bool,
    /// Where; `None` is the whole cluster, and all there is for a type without namespaces.
    pub namespace: Option<String>,
    /// What is done.
    pub verb: RightVerb,
}

impl RightVerb {
    /// As it stands in a role.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

impl Right {
    fn everywhere(&self) -> Self {
        Self { namespace: None, ..self.clone() }
    }
}

/// Everything that a plan takes.
pub fn needed_rights(plan: &Plan) -> BTreeSet<Right> {
    let parsed = plan.actions.iter().filter_map(|action| Some((action, ObjectPath::parse(&action.path)?)));
    parsed.flat_map(|(action, path)| rights_of(action, &path)).collect()
}

/// What it takes beside a plan to take off the finalizers that these, held still, would take off.
pub fn finalizer_rights(plan: &Plan, held: &[Held]) -> BTreeSet<Right> {
    let answered = plan.finalizers.iter().filter(|(finalizer, _)| held_answer_for(finalizer, held));
    let paths = answered.flat_map(|(_, paths)| paths).filter_map(|path| ObjectPath::parse(path));
    let of = |path: ObjectPath, verb| Right {
        group: path.group,
        resource: path.resource,
        of_status: false,
        namespace: path.namespace,
        verb,
    };
    paths.flat_map(|path| [of(path.clone(), RightVerb::Get), of(path, RightVerb::Update)]).collect()
}

fn rights_of(action: &Action, path: &ObjectPath) -> Vec<Right> {
    use RightVerb::{Create, Delete, Get, List, Update};
    // A conflict, the end of a delete and a CRD that is to be served are read.
    let (verbs, makes): (&[RightVerb], bool) = match &action.operation {
        Operation::Release { .. }
        | Operation::Readopt { .. }
        | Operation::Update { .. }
        | Operation::Convert { .. } => (&[Get, Update], false),
        // What is made is then changed: field managers are taken from no create.
        Operation::Create { .. } => (&[Get, Create, Update], true),
        Operation::Recreate { .. } => (&[Get, Delete, Create, Update], true),
        Operation::Delete { .. } => (&[Get, Delete], false),
    };
    let right = |verb, of_status| Right {
        group: path.group.clone(),
        resource: path.resource.clone(),
        of_status,
        namespace: namespace(path, verb),
        verb,
    };
    let mut rights: Vec<Right> = verbs.iter().map(|verb| right(*verb, false)).collect();
    if holds_data(path) && verbs.contains(&Delete) {
        // The volume is set to Retain first.
        let of_volume = |verb| Right {
            group: String::new(),
            resource: "persistentvolumes".to_owned(),
            of_status: false,
            namespace: None,
            verb,
        };
        rights.extend([Get, Update].map(of_volume));
    }
    let differs = match &action.operation {
        Operation::Update { fields } => fields.iter().any(|field| at_or_below(field, "status")),
        _ => makes,
    };
    if differs && action.address.has_status && !owns_status(path) {
        rights.push(right(Update, true));
    }
    if let Some((group, resource)) = defined_type(path).filter(|_| verbs.contains(&Update)) {
        let of_type =
            |verb| Right { group: group.clone(), resource: resource.clone(), of_status: false, namespace: None, verb };
        rights.push(of_type(List));
        if matches!(action.operation, Operation::Convert { .. }) {
            // Every object of the type is written anew, and the CRD's storedVersions are part of its status.
            rights.extend([of_type(Get), of_type(Update), right(Update, true)]);
        }
    }
    rights
}

/// Where the API server looks for the right. It takes a namespace for one of the objects in it.
fn namespace(path: &ObjectPath, verb: RightVerb) -> Option<String> {
    if is_namespace(path) && verb != RightVerb::Create { Some(path.name.clone()) } else { path.namespace.clone() }
}

/// Asks the API server which of these the account does not have: everywhere first, and only where that is denied in the
/// namespaces.
///
/// # Errors
/// There is no answer, or the account may not even ask (403 or 404).
pub async fn denied_rights(cluster: &Cluster, needed: &BTreeSet<Right>) -> Result<BTreeSet<Right>, RestoreError> {
    let denied_everywhere = denied(cluster, needed.iter().map(Right::everywhere).collect()).await?;
    let (in_namespaces, everywhere): (BTreeSet<Right>, BTreeSet<Right>) = needed
        .iter()
        .filter(|right| denied_everywhere.contains(&right.everywhere()))
        .cloned()
        .partition(|right| right.namespace.is_some());
    let mut all = denied(cluster, in_namespaces).await?;
    all.extend(everywhere);
    Ok(all)
}

async fn denied(cluster: &Cluster, rights: BTreeSet<Right>) -> Result<BTreeSet<Right>, RestoreError> {
    let answers = futures::stream::iter(rights)
        .map(|right| async move { Ok::<_, RestoreError>((is_allowed(cluster, &right).await?, right)) })
        .buffer_unordered(PARALLEL);
    answers.try_filter_map(async |(allowed, right)| Ok((!allowed).then_some(right))).try_collect().await
}

async fn is_allowed(cluster: &Cluster, right: &Right) -> Result<bool, ClusterError> {
    #[derive(Deserialize)]
    struct Review {
        status: Status,
    }
    #[derive(Deserialize)]
    struct Status {
        #[serde(default)]
        allowed: bool,
    }
    let attributes = json!({
        "group": right.group,
        "resource": right.resource,
        "subresource": if right.of_status { "status" } else { "" },
        "namespace": right.namespace.as_deref().unwrap_or_default(),
        "verb": right.verb.word(),
    });
    let body = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    });
    let answer =
        cluster.send(Method::POST, &format!("{REVIEWS}{DRY_RUN}"), Some(body.to_string().into_bytes())).await?;
    let review: Review = serde_json::from_slice(&answer).map_err(|error| ClusterError::BadAnswer {
        method: "POST".to_owned(),
        path: REVIEWS.to_owned(),
        expected: "an access review",
        problem: format!("{:?} error at line {} column {}", error.classify(), error.line(), error.column()),
    })?;
    Ok(review.status.allowed)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::{Right, finalizer_rights, needed_rights};
    use crate::journal::Held;
    use crate::restore::address::TypeAddress;
    use crate::restore::plan::{Action, Operation, Plan};
    use crate::snapshot::ObjectPath;
    use crate::store::ContentHash;

    fn action(path: &str, has_status: bool, operation: Operation) -> Action {
        let object = ObjectPath::parse(path).unwrap();
        let address = TypeAddress {
            group: object.group,
            version: "v1".to_owned(),
            resource: object.resource,
            kind: String::new(),
            namespaced: object.namespace.is_some(),
            has_status,
            custom: false,
        };
        let (needs, replaces, drops) = (Vec::new(), Vec::new(), Vec::new());
        let path = path.to_owned();
        Action {
            path,
            operation,
            address,
            wave: 0,
            bound: None,
            wanted: None,
            live: None,
            unchecked: true,
            refused: None,
            needs,
            replaces,
            drops,
        }
    }

    fn plan(actions: Vec<Action>) -> Plan {
        let hash = ContentHash::of(b"");
        let (scope, skipped, uids, tokens) = (String::new(), Vec::new(), BTreeMap::new(), BTreeMap::new());
        Plan {
            live: hash,
            wanted: hash,
            scope,
            actions,
            skipped,
            explained: 0,
            uids,
            tokens,
            finalizers: BTreeMap::new(),
        }
    }

    fn texts(rights: &BTreeSet<Right>) -> Vec<String> {
        let text = |right: &Right| {
            let status = if right.of_status { "/status" } else { "" };
            let place = right.namespace.as_deref().unwrap_or("*");
            format!("{} {}.{}{status} {place}", right.verb.word(), right.resource, right.group)
        };
        rights.iter().map(text).collect()
    }

    fn needed(actions: Vec<Action>) -> Vec<String> {
        texts(&needed_rights(&plan(actions)))
    }

    #[test]
    fn a_finalizer_is_taken_off_only_for_who_is_held_still() {
        let mut plan = plan(Vec::new());
        let release = "cluster/helm.toolkit.fluxcd.io/helmreleases/a/b.json".to_owned();
        plan.finalizers.insert("finalizers.fluxcd.io".to_owned(), vec![release]);
        plan.finalizers.insert("db.example/hold".to_owned(), vec!["cluster/db.example/databases/a/b.json".to_owned()]);
        assert!(finalizer_rights(&plan, &[]).is_empty());
        let flux = Held::Deployment { namespace: "cozy-fluxcd".to_owned(), name: "helm-controller".to_owned() };
        assert_eq!(
            texts(&finalizer_rights(&plan, &[flux])),
            ["get helmreleases.helm.toolkit.fluxcd.io a", "update helmreleases.helm.toolkit.fluxcd.io a"]
        );
    }

    #[test]
    fn each_type_and_verb_is_needed_once_and_a_status_where_it_is_written() {
        let create = || Operation::Create { after_gone: false };
        let update = |field: &str| Operation::Update { fields: vec![field.to_owned()] };
        assert_eq!(
            needed(vec![
                action("cluster/core/configmaps/a/b.json", false, create()),
                action("cluster/core/configmaps/a/c.json", false, create()),
                action("cluster/core/configmaps/b/c.json", false, Operation::Delete { objects: 0, orphan: false }),
            ]),
            [
                "get configmaps. a",
                "create configmaps. a",
                "update configmaps. a",
                "get configmaps. b",
                "delete configmaps. b"
            ]
        );
        let database = "cluster/db.example/databases/a/b.json";
        let spec = ["get databases.db.example a", "update databases.db.example a"];
        assert_eq!(needed(vec![action(database, true, update("spec.size"))]), spec);
        let status = [spec[0], spec[1], "update databases.db.example/status a"];
        assert_eq!(needed(vec![action(database, true, update("status.phase"))]), status);
        // A controller's own status is left to it.
        let deployment = action("cluster/apps/deployments/a/b.json", true, update("status.replicas"));
        assert_eq!(needed(vec![deployment]), ["get deployments.apps a", "update deployments.apps a"]);
    }

    #[test]
    fn a_namespace_lies_in_itself_and_a_crd_is_waited_for_by_a_list_of_its_type() {
        let recreate = Operation::Recreate { reason: String::new(), orphan: false };
        assert_eq!(
            needed(vec![action("cluster/core/namespaces/_/a.json", true, recreate)]),
            ["create namespaces. *", "get namespaces. a", "update namespaces. a", "delete namespaces. a"]
        );
        let crd = "cluster/apiextensions.k8s.io/customresourcedefinitions/_/databases.db.example.json";
        let names = needed(vec![action(crd, true, Operation::Create { after_gone: true })]);
        assert_eq!(names.len(), 4, "{names:?}");
        assert!(names.contains(&"list databases.db.example *".to_owned()), "{names:?}");
    }
}
