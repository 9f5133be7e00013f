//! A restore for people and as JSON: the plan, what was done, what was proven.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use snapback::restore::{Applied, Difference, NeverRule, Operation, Outcome, Plan, Proof, Reach};
use snapback::snapshot::{ObjectPath, Selection, is_noise};
use snapback::store::decode_name;

use super::field_text::printable;
use super::output::{Output, Tone, first_of};
use super::table;

/// More lines than this of one kind are not read by anyone: dangers excepted, they are counted.
const SHOWN: usize = 40;

/// `deployments.apps tenant-a/web`, or the path for what is no object.
pub(crate) fn subject(path: &str) -> String {
    let Some(place) = ObjectPath::parse(path) else { return printable(&decode_name(path)) };
    let kind = super::scope::type_name(&place.group, &place.resource);
    let name = match &place.namespace {
        Some(namespace) => format!("{namespace}/{}", place.name),
        None => place.name,
    };
    printable(&format!("{kind} {name}"))
}

/// Prints a plan of what was selected: the counts, every dangerous line, the rest, and what is left alone with the reasons.
pub(crate) fn plan(output: &Output, plan: &Plan, selected: &Selection) {
    let counts = plan.counts();
    let words: Vec<String> = [
        (counts.create, "create"),
        (counts.update, "update"),
        (counts.convert, "convert"),
        (counts.recreate, "recreate"),
        (counts.delete, "delete"),
        (counts.release, "release"),
        (counts.readopt, "readopt"),
        (counts.skip, "skip"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, word)| format!("{word} {}", table::thousands(count as u64)))
    .collect();
    let words = if words.is_empty() { "nothing".to_owned() } else { words.join(", ") };
    output.line(&output.paint(Tone::Bold, &format!("plan: {words}")));
    for danger in &plan.dangers() {
        let line = format!("  ! {} {}", subject(&danger.path), printable(&danger.text));
        output.line(&output.paint(Tone::Red, &line));
    }
    refusals(output, plan);
    let harmless = plan.actions.iter().filter(|action| plan.danger(action).is_none());
    let lines: Vec<String> = harmless
        .map(|action| {
            let unchecked = if action.unchecked { " *" } else { "" };
            let along = if selected.includes_path(&action.path) { "" } else { along(&action.operation) };
            let line = match &action.operation {
                Operation::Create { after_gone: true } => {
                    format!("  + {} when the old one is gone", subject(&action.path))
                }
                Operation::Create { .. } => format!("  + {}", subject(&action.path)),
                Operation::Update { fields } => format!("  ~ {}: {}", subject(&action.path), field_list(fields)),
                Operation::Convert { storage } => format!(
                    "  ~ {}: all {} of its type are stored anew at {} instead of {}",
                    subject(&action.path),
                    table::count(storage.objects + storage.objects_outside, "object"),
                    storage.to,
                    storage.others().join(", ")
                ),
                Operation::Release { .. } => {
                    format!("  ~ {}: let go of an owner that is gone, until it is back", subject(&action.path))
                }
                Operation::Readopt { .. } => {
                    format!("  ~ {}: only the references to its owners, which are back", subject(&action.path))
                }
                Operation::Recreate { .. } | Operation::Delete { .. } => format!("  ! {}", subject(&action.path)),
            };
            printable(&(line + along + unchecked))
        })
        .collect();
    limited(output, &lines);
    skipped(output, plan);
    let unchecked = plan.actions.iter().filter(|action| action.unchecked).count();
    if unchecked > 0 {
        let actions = table::count(unchecked as u64, "action");
        output.line(&format!("*: no dry run could check {actions}"));
    }
    if plan.explained > 0 {
        let objects = table::count(plan.explained, "object");
        output.line(&format!("not counted: {objects} with no other difference than a cluster makes by itself"));
    }
}

/// Why a plan acts on something that was not selected.
const fn along(operation: &Operation) -> &'static str {
    match operation {
        Operation::Release { .. } | Operation::Readopt { .. } => " (not selected itself, its owner is)",
        // Nothing but the volumes of claims that come back.
        _ => " (not selected itself, but its claim, which comes back)",
    }
}

/// What would be refused as things are, by who refuses it.
fn refusals(output: &Output, plan: &Plan) {
    for (refuser, paths) in plan.refusals() {
        let more = paths.len().saturating_sub(3);
        let names: Vec<String> = paths.iter().take(3).map(|path| subject(path)).collect();
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        let line = format!("  ? {}{rest}: would be refused now, {}", names.join(", "), printable(&refuser.to_string()));
        output.line(&output.paint(Tone::Red, &line));
    }
}

/// The fields that somebody wanted, and how many others.
fn field_list(fields: &[String]) -> String {
    let mut named: Vec<String> = fields.iter().filter(|field| !is_noise(field)).cloned().collect();
    let noise = fields.len() - named.len();
    if noise > 0 {
        let and = if named.is_empty() { "" } else { "and " };
        named.push(format!("{and}{noise} of noise"));
    }
    named.join(", ")
}

/// What is left alone, by reason.
fn skipped(output: &Output, plan: &Plan) {
    let mut reasons: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for skipped in &plan.skipped {
        reasons.entry(skipped.reason.to_string()).or_default().push(subject(&skipped.path));
    }
    for (reason, subjects) in reasons {
        let more = subjects.len().saturating_sub(3);
        let names: Vec<&str> = subjects.iter().take(3).map(String::as_str).collect();
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        let line = format!("  = {}{rest}: left alone, {}", names.join(", "), printable(&reason));
        output.line(&output.paint(Tone::Dim, &line));
    }
}

fn limited(output: &Output, lines: &[String]) {
    for line in lines.iter().take(SHOWN) {
        output.line(line);
    }
    let more = lines.len().saturating_sub(SHOWN);
    if more > 0 {
        let more = table::thousands(more as u64);
        output.line(&format!("  and {more} more; the same command with --dry-run --output json prints all of them"));
    }
}

/// A plan as JSON.
pub(crate) fn plan_document(plan: &Plan, selected: &Selection) -> Value {
    let dangers = plan.dangers();
    let actions: Vec<Value> = plan
        .actions
        .iter()
        .map(|action| {
            let fields = match &action.operation {
                Operation::Update { fields } => fields.as_slice(),
                _ => &[],
            };
            let storage = match &action.operation {
                Operation::Convert { storage } => Some(storage),
                _ => None,
            };
            let own = dangers.iter().filter(|danger| danger.path == action.path);
            let danger = own.map(|danger| danger.text.clone()).reduce(|all, one| all + "; " + &one);
            json!({
                "path": action.path,
                "action": action.operation.verb(),
                "selected": selected.includes_path(&action.path),
                "fields": fields,
                "danger": danger,
                "storage": storage,
                "unchecked": action.unchecked,
                "refused": action.refused.as_ref().map(ToString::to_string),
            })
        })
        .collect();
    let skipped: Vec<Value> = plan
        .skipped
        .iter()
        .map(|skipped| json!({"path": skipped.path, "reason": skipped.reason.to_string()}))
        .collect();
    json!({
        "counts": plan.counts(),
        "actions": actions,
        "skipped": skipped,
        "explained": plan.explained,
        "finalizers": plan.finalizers,
    })
}

/// Prints what could not be done and what was proven.
pub(crate) fn proof_of(output: &Output, applied: &Applied, proof: &Proof) {
    for step in applied.failures() {
        let (word, text) = match &step.outcome {
            Outcome::Failed { problem, .. } => ("failed", problem.as_str()),
            Outcome::NotTried { because } => ("not tried", because.as_str()),
            Outcome::Done => continue,
        };
        let line = format!("  {} {} {word}: {}", step.verb, subject(&step.path), printable(text));
        output.line(&output.paint(Tone::Red, &line));
    }
    let mut classes: BTreeMap<String, (u64, String)> = BTreeMap::new();
    for allowed in proof.explained.iter().flat_map(|explained| &explained.by) {
        let name = serde_json::to_value(allowed).ok().and_then(|name| name.as_str().map(str::to_owned));
        let class = classes.entry(name.unwrap_or_default()).or_insert_with(|| (0, allowed.to_string()));
        class.0 += 1;
    }
    for (name, (count, reason)) in classes {
        let objects = table::count(count, "object");
        output.line(&output.paint(Tone::Dim, &format!("  expected in {objects}: {name} ({reason})")));
    }
    for unexplained in &proof.unexplained {
        let text = match &unexplained.difference {
            Difference::Missing => "is in the snapshot and not in the cluster".to_owned(),
            Difference::Extra => "is in the cluster and not in the snapshot".to_owned(),
            Difference::TooLarge { bytes } => {
                format!("is not as in the snapshot, where it has {} MiB, more than any object", bytes >> 20)
            }
            Difference::Fields { fields } => format!("differs in {}", field_list(fields)),
        };
        let line = format!("  unexplained: {} {}", subject(&unexplained.path), printable(&text));
        output.line(&output.paint(Tone::Red, &line));
    }
    if !proof.unlistable.is_empty() {
        output.line("  nothing is proven of what cannot be listed:");
        first_of(&proof.unlistable).iter().for_each(|line| output.line(&format!("    {}", printable(line))));
    }
    if let Some(skipped) = &proof.skipped {
        output.line(&format!("  not looked at: {}", printable(skipped)));
    }
    if proof.holds() && applied.failures().next().is_none() {
        let watched = match proof.watched_seconds {
            0 => String::new(),
            seconds => format!(", watched for {seconds} s"),
        };
        output.line(&output.paint(Tone::Green, &format!("proven: no unexplained difference{watched}")));
    } else {
        let count = table::count(proof.unexplained.len() as u64, "unexplained difference");
        output.line(&output.paint(Tone::Red, &format!("not as it was: {count}")));
    }
}

/// Prints what a restore never touches.
pub(crate) fn never_list(output: &Output, rules: &[NeverRule]) {
    if output.is_json() {
        let rules: Vec<Value> = rules
            .iter()
            .map(|rule| json!({"name": rule.name, "covers": rule.covers, "reach": reach(rule.reach), "reason": rule.reason}))
            .collect();
        output.json("restore", json!({"neverList": rules}));
        return;
    }
    let rows = rules
        .iter()
        .map(|rule| {
            vec![rule.name.to_owned(), reach(rule.reach).to_owned(), rule.covers.to_owned(), rule.reason.to_owned()]
        })
        .collect();
    output.raw(table::columns(&["RULE", "REACH", "COVERS", "REASON"], rows).as_bytes());
}

const fn reach(reach: Reach) -> &'static str {
    match reach {
        Reach::Untouched => "untouched",
        Reach::NeverDeleted => "never-deleted",
    }
}
