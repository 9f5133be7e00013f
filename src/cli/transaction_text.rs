//! A transaction for people and as JSON: what it will do, and what it did.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use snapback::cluster::Cluster;
use snapback::journal::{Begun, Event, OpenJournal, Outcome, Purpose};
use snapback::restore::helm::Verdict;
use snapback::restore::quiesce::{DeadBackend, Hold, Left, Role, Started, held_answer_for};
use snapback::restore::{Applied, Plan};
use snapback::rollback::{HOLD_NOTHING, Report};
use snapback::snapshot::Selection;

use super::error::{Failure, Prefix};
use super::exit::Exit;
use super::field_text::printable;
use super::helm;
use super::intended::Intended;
use super::output::{Output, Tone, first_of};
use super::plan_text::{self, subject};
use super::snapshots::{document, when};
use super::table;

/// Things of one role that a line names; more are counted.
const NAMED: usize = 3;

/// What a person should know beside the plan.
#[derive(Default)]
pub(crate) struct Preview {
    /// What is held still meanwhile.
    pub(crate) holds: Vec<Hold>,
    /// What is set aside, since nobody answers for it.
    pub(crate) dead: Vec<DeadBackend>,
    /// Objects outside the scope that changed since.
    pub(crate) outside: Vec<String>,
    /// Releases that helm-controller will not leave alone.
    pub(crate) helm: Vec<Verdict>,
    /// Types that one of both sides could not read: they are left alone.
    pub(crate) unreadable: Vec<String>,
    /// What was asked for. A plan may act on more: on the volume of a claim that comes back, say.
    pub(crate) selected: Selection,
}

/// `rollback`, `undo` or `restore`, in a sentence and as the command of a JSON document.
pub(crate) const fn purpose(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Rollback => "rollback",
        Purpose::Undo => "undo",
        Purpose::Restore => "restore",
    }
}

/// What to type to go on.
pub(crate) const fn command(meant: Purpose) -> &'static str {
    match meant {
        Purpose::Rollback => "snapback rollback",
        Purpose::Undo => "snapback undo",
        Purpose::Restore => "snapback restore",
    }
}

/// Nothing is stopped by it, and so nothing has to be started again.
pub(crate) fn holds_nothing(begun: &Begun) -> bool {
    begun.force.iter().any(|name| name == HOLD_NOTHING)
}

/// Prints what will be done.
pub(crate) fn preview(output: &Output, intended: &Intended, cluster: &Cluster, plan: &Plan, preview: &Preview) {
    let snapshot = &intended.snapshot;
    output.line(&format!(
        "{} to snapshot #{} ({}, {}) in context `{}`, scope {}",
        purpose(intended.purpose),
        snapshot.number,
        snapshot.id.short(),
        when(snapshot.body.time),
        cluster.context(),
        intended.scope,
    ));
    plan_text::plan(output, plan, &preview.selected);
    helm::show(output, &preview.helm);
    finalizers(output, plan, preview);
    if !plan.only_reports() {
        for dead in &preview.dead {
            let calls: Vec<String> = dead.calls.iter().map(ToString::to_string).collect();
            output.line(&format!("  | {} is set aside meanwhile: {}", dead.item, printable(&calls.join("; "))));
        }
        let mut roles: Vec<(Role, Vec<String>)> = Vec::new();
        for hold in &preview.holds {
            match roles.iter_mut().find(|(role, _)| *role == hold.role) {
                Some((_, items)) => items.push(hold.item.to_string()),
                None => roles.push((hold.role, vec![hold.item.to_string()])),
            }
        }
        for (role, items) in roles {
            let more = items.len().saturating_sub(NAMED);
            let names: Vec<&str> = items.iter().take(NAMED).map(String::as_str).collect();
            let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
            let names = printable(&names.join(", "));
            output.line(&format!("  | {names}{rest}: held still meanwhile, {role}"));
        }
    }
    if !preview.outside.is_empty() {
        let objects = table::count(preview.outside.len() as u64, "object");
        let names: Vec<String> = preview.outside.iter().take(NAMED).map(|path| subject(path)).collect();
        let more = if preview.outside.len() > NAMED { ", …" } else { "" };
        output.line(&format!(
            "outside the scope: {objects} changed since and will stay as now: {}{more}",
            names.join(", ")
        ));
        output.line(&format!("  (`snapback diff {} live` shows all of them)", snapshot.number));
    }
}

/// What goes only when somebody takes its finalizers off, and who.
fn finalizers(output: &Output, plan: &Plan, preview: &Preview) {
    for (finalizer, paths) in &plan.finalizers {
        let more = paths.len().saturating_sub(NAMED);
        let names: Vec<String> = paths.iter().take(NAMED).map(|path| subject(path)).collect();
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        let (names, finalizer) = (names.join(", "), printable(finalizer));
        output.line(&if held_answer_for(&finalizer, preview.holds.iter().map(|hold| &hold.item)) {
            format!("  | {names}{rest}: finalizer {finalizer} is taken off, since whoever would do so is held still")
        } else {
            format!("  ? {names}{rest}: gone only when its controller has taken finalizer {finalizer} off")
        });
    }
}

/// The same as JSON.
pub(crate) fn preview_document(intended: &Intended, cluster: &Cluster, plan: &Plan, preview: &Preview) -> Value {
    let holds: Vec<Value> = preview
        .holds
        .iter()
        .map(|hold| json!({"item": hold.item.to_string(), "reason": hold.role.to_string()}))
        .collect();
    let dead: Vec<Value> = preview
        .dead
        .iter()
        .map(|dead| {
            let calls: Vec<String> = dead.calls.iter().map(ToString::to_string).collect();
            json!({"item": dead.item.to_string(), "reason": calls.join("; ")})
        })
        .collect();
    json!({
        "snapshot": document(&intended.snapshot),
        "context": cluster.context(),
        "scope": intended.scope.to_string(),
        "plan": plan_text::plan_document(plan, &preview.selected),
        "helm": helm::document(&preview.helm),
        "heldStill": holds,
        "setAside": dead,
        "changedOutside": preview.outside.len(),
        "changedOutsidePaths": preview.outside,
        "notCompared": preview.unreadable,
    })
}

/// A reviewed plan that is another one now: what is different.
pub(crate) fn stale(reviewed: &Plan, now: &Plan) -> Failure {
    let lines = |plan: &Plan| -> BTreeSet<String> {
        plan.actions.iter().map(|action| format!("{} {}", action.operation.verb(), subject(&action.path))).collect()
    };
    let (then, now) = (lines(reviewed), lines(now));
    let mut causes: Vec<String> = now.difference(&then).map(|line| format!("new: {line}")).collect();
    causes.extend(then.difference(&now).map(|line| format!("not any more: {line}")));
    if causes.is_empty() {
        causes.push("the same objects, and other fields or other objects of the same names".to_owned());
    }
    let mut failure = Failure::new(Exit::PlanStale, "the plan does not fit the cluster any more; nothing was changed");
    failure.causes = first_of(&causes);
    failure
}

/// Prints what was done.
pub(crate) fn report(output: &Output, journal: &OpenJournal, report: &Report) {
    let state = journal.state();
    for (item, started) in &report.started {
        let text = match started {
            Started::Exact | Started::Absent => continue,
            Started::ChangedMeanwhile { fields } => {
                format!("runs again; others changed {} meanwhile, which was left", fields.join(", "))
            }
            Started::Untargeted => "runs again as it was".to_owned(),
            Started::Left(Left::HeldByOther { holder }) => format!("is held by transaction {holder}, and was left"),
            Started::Left(Left::NotHeld) => "was let go of by somebody else meanwhile, and was left".to_owned(),
            Started::Left(Left::StartedMeanwhile) => "was started by somebody else meanwhile, and was left".to_owned(),
            Started::Left(Left::Ending) => "is being deleted, and was left".to_owned(),
        };
        output.line(&output.paint(Tone::Yellow, &format!("  {item} {}", printable(&text))));
    }
    let rounds = u64::from(state.rounds());
    let writes: u64 = report.rounds.iter().map(|round| round.writes).sum();
    // The journal counts rounds over all processes, and no writes.
    let by = if state.resumed() > 0 { " by this process" } else { "" };
    output.line(&format!("{}, {}{by}", table::count(rounds, "round"), table::count(writes, "write")));
    if let Some(Outcome::Failed { reason }) = &report.outcome {
        let stopped = journal.records().iter().any(|record| matches!(record.event, Event::Stopping { .. }));
        let mut text = format!("given up: {reason}");
        text.push_str(if stopped { "; what was stopped runs again" } else { "" });
        text.push_str(match (rounds, stopped) {
            (0, false) => "; nothing was changed",
            (0, true) => ", and nothing else was changed",
            _ => "; what was done up to then stays",
        });
        output.line(&output.paint(Tone::Red, &printable(&text)));
        if let Some(before) = state.before().filter(|_| rounds > 0) {
            output.line(&format!("`snapback undo` takes it back, to snapshot {before}"));
        }
        return;
    }
    if let Some(proof) = &report.proof {
        let applied = Applied { steps: report.failures().to_vec(), writes, ..Applied::default() };
        plan_text::proof_of(output, &applied, proof);
        if !proof.holds() {
            let number = state.wanted().number;
            output.message(Prefix::Hint, &format!("`snapback diff {number} live` shows the differences"));
        }
    }
    if let Some(before) = state.before() {
        output.line(&format!("`snapback undo` goes back to snapshot {before}, what was there before"));
    }
}

/// The same as JSON, beside what was planned.
pub(crate) fn report_into(result: &mut Value, journal: &OpenJournal, report: &Report) {
    let Some(fields) = result.as_object_mut() else { return };
    let state = journal.state();
    let started: Vec<Value> = report
        .started
        .iter()
        .map(|(item, started)| {
            let how = match started {
                Started::Exact => "exact",
                Started::ChangedMeanwhile { .. } => "changed-meanwhile",
                Started::Untargeted => "as-it-was",
                Started::Left(_) => "left",
                Started::Absent => "absent",
            };
            json!({"item": item.to_string(), "how": how})
        })
        .collect();
    fields.insert("transaction".to_owned(), journal.transaction().as_str().into());
    fields.insert("wanted".to_owned(), json!({"number": state.wanted().number, "id": state.wanted().id}));
    fields.insert("rounds".to_owned(), json!(report.rounds));
    fields.insert("started".to_owned(), started.into());
    fields.insert("outcome".to_owned(), json!(report.outcome));
    let holds = report.outcome == Some(Outcome::Done {});
    fields.insert("proof".to_owned(), json!({"holds": holds, "quiet": report.quiet, "report": report.proof}));
}
