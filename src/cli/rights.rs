//! Whether the account may do what a restore's plan takes, and what to say when it may not.
//!
//! In: a plan. Out: the rights that are missing, as lines, as JSON, as an error with the rules that would give them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use snapback::cluster::{Cluster, ClusterError};
use snapback::restore::{RestoreError, Right, denied_rights};

use super::error::{Failure, Prefix};
use super::exit::Exit;
use super::output::{Output, first_of};
use super::restore_failure::restore_failure;
use super::scope;

/// Namespaces that a line names; more are counted.
const NAMED: usize = 3;

/// What of this the account may not do. Who may not even ask is told so, and let go on.
pub(crate) async fn missing(
    output: &Output,
    cluster: &Cluster,
    needed: &BTreeSet<Right>,
) -> Result<Vec<Right>, Failure> {
    match denied_rights(cluster, needed).await {
        Ok(denied) => Ok(denied.into_iter().collect()),
        Err(RestoreError::Cluster(ClusterError::Api(answer))) if matches!(answer.status, 403 | 404) => {
            let text = format!("whether the account may do all this cannot be told: {answer}");
            output.message(Prefix::Warning, &text);
            Ok(Vec::new())
        }
        Err(error) => Err(restore_failure(error)),
    }
}

/// Says what a restore would be refused for.
pub(crate) fn warn(output: &Output, cluster: &Cluster, missing: &[Right]) {
    if !missing.is_empty() {
        output.message_with_list(Prefix::Warning, &head(cluster), &lines(missing));
    }
}

/// The refusal, before anything is changed.
pub(crate) fn refusal(cluster: &Cluster, missing: &[Right]) -> Failure {
    let mut failure = Failure::new(Exit::Refused, format!("{}; nothing was changed", head(cluster)));
    failure.causes = first_of(&lines(missing));
    if let Some(right) = missing.first() {
        let status = if right.of_status { " --subresource=status" } else { "" };
        let place = match &right.namespace {
            Some(namespace) => format!("-n {namespace}"),
            None => "--all-namespaces".to_owned(),
        };
        let kind = scope::type_name(&right.group, &right.resource);
        let question = format!("kubectl auth can-i {} {kind}{status} {place}", right.verb.word());
        failure = failure.hint(format!("`{question}` asks the same"));
    }
    failure = failure.hint("a ClusterRole with these rules, bound to the account, is enough for this plan:");
    for rule in first_of(&rules(missing)) {
        failure = failure.hint(rule);
    }
    failure
}

/// As JSON.
pub(crate) fn document(missing: &[Right]) -> Value {
    missing
        .iter()
        .map(|right| {
            json!({
                "verb": right.verb.word(),
                "group": right.group,
                "resource": right.resource,
                "subresource": if right.of_status { "status" } else { "" },
                "namespace": right.namespace,
            })
        })
        .collect()
}

fn head(cluster: &Cluster) -> String {
    format!("the account of context `{}` may not do all that this takes", cluster.context())
}

/// `update` on `configmaps`, `databases.db.example/status`.
fn resource(right: &Right) -> String {
    if right.of_status { format!("{}/status", right.resource) } else { right.resource.clone() }
}

/// What is missing, a line a type: `may not create, update configmaps in tenant-a`.
fn lines(missing: &[Right]) -> Vec<String> {
    let mut places: BTreeMap<(String, Option<&str>), Vec<&str>> = BTreeMap::new();
    for right in missing {
        let status = if right.of_status { "/status" } else { "" };
        let kind = format!("{}{status}", scope::type_name(&right.group, &right.resource));
        places.entry((kind, right.namespace.as_deref())).or_default().push(right.verb.word());
    }
    let mut types: BTreeMap<(String, Vec<&str>), Vec<&str>> = BTreeMap::new();
    for ((kind, namespace), verbs) in places {
        types.entry((kind, verbs)).or_default().extend(namespace);
    }
    let line = |((kind, verbs), namespaces): ((String, Vec<&str>), Vec<&str>)| {
        let named = namespaces.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
        let place = match namespaces.len() {
            0 => String::new(),
            1..=NAMED => format!(" in {named}"),
            count => format!(" in {named} and {} more namespaces", count - NAMED),
        };
        format!("may not {} {kind}{place}", verbs.join(", "))
    };
    types.into_iter().map(line).collect()
}

/// The rules of a role that has it all.
fn rules(missing: &[Right]) -> Vec<String> {
    let mut verbs: BTreeMap<(&str, String), BTreeSet<&str>> = BTreeMap::new();
    for right in missing {
        verbs.entry((right.group.as_str(), resource(right))).or_default().insert(right.verb.word());
    }
    let mut rules: BTreeMap<(&str, BTreeSet<&str>), Vec<String>> = BTreeMap::new();
    for ((group, resource), verbs) in verbs {
        rules.entry((group, verbs)).or_default().push(resource);
    }
    let rule = |((group, verbs), resources): ((&str, BTreeSet<&str>), Vec<String>)| {
        let verbs: Vec<&str> = verbs.into_iter().collect();
        format!("- {{apiGroups: [\"{group}\"], resources: [{}], verbs: [{}]}}", resources.join(", "), verbs.join(", "))
    };
    rules.into_iter().map(rule).collect()
}

#[cfg(test)]
mod tests {
    use snapback::restore::RightVerb;

    use super::*;

    fn right(verb: RightVerb, group: &str, resource: &str, of_status: bool, namespace: Option<&str>) -> Right {
        let (group, resource) = (group.to_owned(), resource.to_owned());
        Right { group, resource, of_status, namespace: namespace.map(str::to_owned), verb }
    }

    #[test]
    fn what_is_missing_is_said_a_line_a_type_and_given_by_a_rule_a_group() {
        let mut missing = vec![
            right(RightVerb::Create, "", "namespaces", false, None),
            right(RightVerb::Update, "db.example", "databases", true, Some("a")),
        ];
        for namespace in ["a", "b", "c", "d", "e"] {
            missing.push(right(RightVerb::Create, "", "configmaps", false, Some(namespace)));
            missing.push(right(RightVerb::Update, "", "configmaps", false, Some(namespace)));
        }
        assert_eq!(
            lines(&missing),
            [
                "may not create, update configmaps in a, b, c and 2 more namespaces",
                "may not update databases.db.example/status in a",
                "may not create namespaces",
            ]
        );
        assert_eq!(
            rules(&missing),
            [
                r#"- {apiGroups: [""], resources: [namespaces], verbs: [create]}"#,
                r#"- {apiGroups: [""], resources: [configmaps], verbs: [create, update]}"#,
                r#"- {apiGroups: ["db.example"], resources: [databases/status], verbs: [update]}"#,
            ]
        );
    }
}
