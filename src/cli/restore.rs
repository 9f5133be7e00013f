//! `snapback restore SNAPSHOT`: plan, ask, back up what is there now, apply, prove.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use snapback::cluster::Cluster;
use snapback::restore::helm::judge_plan;
use snapback::restore::{
    AddedTypes, Plan, RestoreOptions, StoragePlan, Wait, apply, comparable_versions, needed_rights, never_list, plan,
    prove,
};
use snapback::snapshot::{Scope, Selection};
use snapback::store::{Snapshot, SnapshotTree};

use super::advice::shell_word;
use super::arguments::RestoreArguments;
use super::consent;
use super::error::{Failure, Prefix};
use super::exit::Exit;
use super::helm;
use super::live::{Origin, Side};
use super::plan_text;
use super::progress::Shown;
use super::restore_failure::restore_failure;
use super::rights;
use super::scope;
use super::session::{Opened, Session};
use super::snapshot_name::{BEFORE_RESTORE, SnapshotName};
use super::snapshots::{document, when};
use super::table;
use super::taking::{request_before, take};
use super::unfinished::refuse_unfinished;

/// Restores, or shows what a restore would do.
pub(crate) async fn run(session: &Session<'_>, arguments: &RestoreArguments) -> Result<Exit, Failure> {
    let Some(name) = arguments.snapshot.as_deref().filter(|_| !arguments.never_list) else {
        plan_text::never_list(session.output, never_list());
        return Ok(Exit::Done);
    };
    let opened = session.open().await?;
    let snapshot = session.stored(&opened, &SnapshotName::parse(name)?).await?;
    let cluster = session.connect().await?;
    check_cluster(session, arguments, &snapshot, &cluster).await?;
    if !arguments.dry_run {
        refuse_unfinished(session, &opened, &cluster).await?;
    }
    let wanted =
        Side { tree: opened.repository.tree(&snapshot).await?, origin: Origin::Stored(Box::new(snapshot.clone())) };
    let live = session.capture_live(&cluster, Selection::everything(), false, Some(wanted.tree.clone())).await?;
    let (selected, unreadable) = selection(session, &wanted, &live).await?;
    let mut options = RestoreOptions::new(selected);
    options.force_kinds.clone_from(&arguments.force);
    if arguments.delete_added_types {
        options.added_types = AddedTypes::Delete;
    }
    let shown = Shown::new(session.output);
    let first = plan(&cluster, &live.tree, &wanted.tree, &options, &shown).await.map_err(restore_failure)?;
    drop(shown);
    let verdicts = judge_plan(&live.tree, &wanted.tree, &first).await.map_err(restore_failure)?;

    let all_readable = unreadable.is_empty();
    let output = session.output;
    if !output.is_json() {
        output.line(&format!(
            "restore of snapshot #{} ({}, {}) to context `{}`",
            snapshot.number,
            snapshot.id.short(),
            when(snapshot.body.time),
            cluster.context()
        ));
        plan_text::plan(output, &first);
        helm::show(output, &verdicts);
    }
    let missing = rights::missing(output, &cluster, &needed_rights(&first)).await?;
    let mut result = json!({
        "snapshot": document(&snapshot),
        "context": cluster.context(),
        "dryRun": arguments.dry_run,
        "notCompared": unreadable,
        "plan": plan_text::plan_document(&first),
        "helm": helm::document(&verdicts),
        "missingRights": rights::document(&missing),
    });
    if arguments.dry_run || first.is_empty() {
        rights::warn(output, &cluster, &missing);
        if !arguments.allow_helm_upgrade {
            helm::warn(output, &verdicts);
        }
        if output.is_json() {
            output.json("restore", result);
        } else {
            output.line(&match (first.is_empty(), first.out_of_reach()) {
                (false, _) => "dry run: nothing was changed".to_owned(),
                (true, 0) if all_readable => "nothing to do: the cluster is as it was".to_owned(),
                (true, 0) => "nothing to do in what could be read".to_owned(),
                (true, 1) => "nothing can be done: 1 object that differs is left alone (the line with `=`)".to_owned(),
                (true, count) => {
                    format!("nothing can be done: {count} objects that differ are left alone (the lines with `=`)")
                }
            });
        }
        let whole = all_readable && first.out_of_reach() == 0;
        return Ok(if whole { Exit::Done } else { Exit::Partial });
    }
    if !missing.is_empty() {
        return Err(rights::refusal(&cluster, &missing));
    }
    if !arguments.allow_helm_upgrade {
        helm::refuse(&verdicts, is_part(session), &command(session, arguments, name))?;
    }
    if !arguments.yes {
        let question = "restore it so? a snapshot of what is there now is taken first";
        consent::ask(session, "a restore", question, &command(session, arguments, name)).await?;
    }
    if !arguments.lose_fields {
        consent::ask_for_losses(session, &first, arguments.yes, &command(session, arguments, name)).await?;
    }
    let exit =
        carry_out(session, arguments, &Work { opened, cluster, snapshot, wanted, options, first }, &mut result).await?;
    if output.is_json() {
        output.json("restore", result);
    }
    Ok(exit)
}

/// All that the changing part of a restore needs.
struct Work {
    opened: Opened,
    cluster: Cluster,
    snapshot: Snapshot,
    wanted: Side,
    options: RestoreOptions,
    first: Plan,
}

async fn carry_out(
    session: &Session<'_>,
    arguments: &RestoreArguments,
    work: &Work,
    result: &mut Value,
) -> Result<Exit, Failure> {
    let Work { opened, cluster, snapshot, wanted, options, first } = work;
    let output = session.output;
    // The plan is to be read before, not after.
    output.finish()?;
    let before = take(session, opened, cluster, &request_before()?).await?.snapshot;
    output.progress_line(&format!("what is there now is snapshot #{} ({BEFORE_RESTORE})", before.number));
    let live = as_wanted(session, cluster, &wanted.tree, opened.repository.tree(&before).await?).await?;
    let shown = Shown::new(output);
    // The plan that was shown is bound to what was there then; this one to what was just backed up.
    let second = plan(cluster, &live, &wanted.tree, options, &shown).await.map_err(restore_failure)?;
    let reviewed = arguments.lose_fields || beyond(&second, first) == 0;
    if (!arguments.yes && outline(&second) != outline(first)) || !reviewed {
        return Err(Failure::new(
            Exit::PlanStale,
            "the cluster moved while you were reading the plan; nothing was changed",
        )
        .hint(format!("run `{}` again and read the new plan", command(session, arguments, snapshot.number))));
    }
    if !arguments.allow_helm_upgrade && second.live != first.live {
        let verdicts = judge_plan(&live, &wanted.tree, &second).await.map_err(restore_failure)?;
        helm::refuse(&verdicts, is_part(session), &command(session, arguments, snapshot.number))?;
    }
    let more = needed_rights(&second).difference(&needed_rights(first)).cloned().collect();
    let missing = rights::missing(output, cluster, &more).await?;
    if !missing.is_empty() {
        return Err(rights::refusal(cluster, &missing));
    }
    session.interrupt.writing(
        "interrupted in the middle of a restore; some objects are back and others are not",
        format!(
            "`{}` goes on, `{}` goes back to what was there before",
            command(session, arguments, snapshot.number),
            command(session, arguments, before.number)
        ),
    );
    let applied = apply(cluster, &second, &live, &wanted.tree, options, &shown).await.map_err(restore_failure)?;
    let wait = if arguments.no_wait { Wait::Skip } else { Wait::Full };
    let proof = prove(cluster, &applied, &wanted.tree, options, wait, &shown).await.map_err(restore_failure)?;
    drop(shown);
    session.interrupt.committed(before.number);

    let proven = proof.holds() && applied.failures().next().is_none();
    let later = second.compared_later();
    if let Some(fields) = result.as_object_mut() {
        fields.insert("before".to_owned(), document(&before));
        fields.insert("applied".to_owned(), plan_text::applied_document(&applied));
        fields.insert("proof".to_owned(), json!({"holds": proven, "report": proof}));
    }
    if !output.is_json() {
        plan_text::outcome(output, &applied, &proof);
    }
    if later > 0 {
        let text = format!(
            "{} could be read at the snapshot's version only now, and their objects are not compared yet",
            table::count(later as u64, "type")
        );
        output.message(Prefix::Warning, &text);
        let again = command(session, arguments, snapshot.number);
        output.message(Prefix::Hint, &format!("`{again}` brings them back too"));
        return Ok(if applied.failures().next().is_none() { Exit::Partial } else { Exit::Failed });
    }
    if proven {
        return Ok(Exit::Done);
    }
    if !output.is_json() {
        output.message(
            Prefix::Hint,
            &format!(
                "`snapback diff {} live` shows the differences, `{}` goes back to what was there before",
                snapshot.number,
                command(session, arguments, before.number)
            ),
        );
    }
    Ok(Exit::Failed)
}

/// What is there now, read at the versions that the snapshot has its types at. A backup has each type as it is stored,
/// which loses nothing; where the two differ the cluster is read once more, or every object would seem to.
async fn as_wanted(
    session: &Session<'_>,
    cluster: &Cluster,
    wanted: &SnapshotTree,
    backup: SnapshotTree,
) -> Result<SnapshotTree, Failure> {
    let versions = comparable_versions(wanted).await.map_err(restore_failure)?;
    let stored = comparable_versions(&backup).await.map_err(restore_failure)?;
    if stored.iter().all(|(of, version)| versions.get(of).is_none_or(|wanted| wanted == version)) {
        return Ok(backup);
    }
    Ok(session.capture_live(cluster, Selection::everything(), false, Some(wanted.clone())).await?.tree)
}

/// The restore of a snapshot as it can be typed, from the same place and of the same part as this one: without the
/// patterns a hint would put back far more than was meant.
fn command(session: &Session<'_>, arguments: &RestoreArguments, snapshot: impl std::fmt::Display) -> String {
    let mut line = format!("snapback restore {}{}", shell_word(&snapshot.to_string()), session.place_options());
    let everywhere = session.everywhere;
    for (option, values) in [("only", &everywhere.only), ("exclude", &everywhere.exclude), ("force", &arguments.force)]
    {
        values.iter().for_each(|value| line.push_str(&format!(" --{option} {}", shell_word(value))));
    }
    for (option, given) in [
        ("lose-fields", arguments.lose_fields),
        ("delete-added-types", arguments.delete_added_types),
        ("from-another-cluster", arguments.from_another_cluster),
        ("allow-helm-upgrade", arguments.allow_helm_upgrade),
    ] {
        if given {
            line.push_str(&format!(" --{option}"));
        }
    }
    line
}

/// Less than the snapshot holds was asked for.
fn is_part(session: &Session<'_>) -> bool {
    !session.everywhere.only.is_empty() || !session.everywhere.exclude.is_empty()
}

/// What a plan does, without what it is bound to.
fn outline(plan: &Plan) -> Vec<(&str, &'static str)> {
    plan.actions.iter().map(|action| (action.path.as_str(), action.operation.verb())).collect()
}

/// How many objects that are no part of what is restored lose something which nobody said yes to.
fn beyond(second: &Plan, first: &Plan) -> usize {
    let nothing = StoragePlan::default();
    let seen: BTreeMap<&str, &StoragePlan> = first.conversions().collect();
    let unseen = |(crd, storage): (&str, &StoragePlan)| {
        let reviewed = seen.get(crd).copied().unwrap_or(&nothing);
        let blind =
            storage.needs_its_own_consent() && storage.unreadable.is_some() && !reviewed.needs_its_own_consent();
        storage.beyond(reviewed).count() + usize::from(blind)
    };
    second.conversions().map(unseen).sum()
}

/// Another cluster's objects would be put over this one's.
async fn check_cluster(
    session: &Session<'_>,
    arguments: &RestoreArguments,
    snapshot: &Snapshot,
    cluster: &Cluster,
) -> Result<(), Failure> {
    if snapshot.body.cluster.is_empty() {
        return Err(Failure::new(Exit::Refused, format!("snapshot #{} holds no cluster", snapshot.number))
            .hint("`snapback snapshots` lists those that do"));
    }
    if snapshot.body.cluster == cluster.identity().await? {
        return Ok(());
    }
    let text = format!(
        "snapshot #{} is of another cluster (context `{}`), not of `{}`",
        snapshot.number,
        snapshot.body.context,
        cluster.context()
    );
    if arguments.from_another_cluster {
        session.output.message(Prefix::Warning, &text);
        return Ok(());
    }
    Err(Failure::new(Exit::Refused, text)
        .hint("name the right cluster with --context, or say --from-another-cluster when that is what you want"))
}

/// What is restored: what the user asked for, of what the snapshot was taken of, of what both sides could read. An
/// object that could not be read is not one that is not there. Gives the types that could not be read, too.
async fn selection(session: &Session<'_>, wanted: &Side, live: &Side) -> Result<(Selection, Vec<String>), Failure> {
    let comparison = session.comparison(wanted, live).await?;
    let unreadable = comparison.left_out();
    comparison.warn(session.output, "left alone, because the snapshot or the cluster could not be read");
    let Origin::Stored(snapshot) = &wanted.origin else { return Ok((comparison.selection, unreadable)) };
    let readable = Selection::new(&[], &unreadable, Scope::Everything)?;
    Ok((comparison.selection.within(scope::selection(&snapshot.body.scope)?).within(readable), unreadable))
}
