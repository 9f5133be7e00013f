//! `snapback backup`: takes a snapshot of the cluster and of every configured source.

use std::path::{PathBuf, absolute};

use serde_json::{Value, json};
use snapback::snapshot::{Scope, Selection};
use snapback::source::etcd::EtcdSource;
use snapback::source::{Sources, Wanted};
use snapback::store::{Snapshot, SourceRecord, SourceState};

use super::advice::shell_word;
use super::arguments::{BackupArguments, ScopeName};
use super::copy::Other;
use super::error::{Failure, Prefix};
use super::exit::Exit;
use super::output::Tone;
use super::scope;
use super::session::{Opened, Session};
use super::snapshot_name::check_label;
use super::snapshots::document;
use super::table;
use super::taking::{CLUSTER, Request, Taken, take, unlistable_lines};
use super::unfinished::refuse_unfinished;

/// Takes it and says what is in it.
pub(crate) async fn run(session: &Session<'_>, arguments: &BackupArguments) -> Result<Exit, Failure> {
    if let Some(label) = &arguments.label {
        check_label(label)?;
    }
    let selection = selection(session, arguments.scope)?;
    let sources = session.config.sources()?;
    let opened = session.open_to_add().await?;
    let cluster = session.connect().await?;
    let identity = cluster.identity().await?;
    // What is held still then would be held in the snapshot, too.
    refuse_unfinished(session, &opened, &cluster, &identity).await?;
    let (sources, left_out) = choose(arguments, &selection, sources, &opened, &identity)?;
    let request = Request {
        label: arguments.label.clone().unwrap_or_default(),
        selection,
        with_events: arguments.events || session.config.capture.events,
        sources,
        left_out,
    };
    // Before anything is taken: a place that is not there is better known now than at the end.
    let mut others = Vec::new();
    for place in &arguments.also {
        others.push((place, Other::open(session, place, &opened.repository).await));
    }
    let taken = take(session, &opened, &cluster, &request).await?;
    let (also, missed) = copy_also(session, &opened, &taken.snapshot, others).await;
    report(session, &taken, &also);
    if taken.snapshot.body.complete && !request.selection.is_everything() {
        let tree = opened.repository.tree(&taken.snapshot).await?;
        // A type that only the snapshot before this one knew is not in this one's list; the backup is good anyway.
        let selection = scope::resolve(request.selection.clone(), &[&tree]).await.unwrap_or(request.selection);
        scope::warn_unmatched(session.output, &selection, &[&tree]).await?;
    }
    if missed {
        return Ok(Exit::NotAlso);
    }
    Ok(if taken.snapshot.body.complete { Exit::Done } else { Exit::Partial })
}

/// Puts the snapshot into the other repositories. It is safe in its own whatever happens here; a place that does not get
/// it is told aloud.
async fn copy_also(
    session: &Session<'_>,
    opened: &Opened,
    snapshot: &Snapshot,
    others: Vec<(&PathBuf, Result<Other, Failure>)>,
) -> (Vec<Value>, bool) {
    let (output, mut documents, mut missed) = (session.output, Vec::new(), false);
    for (place, other) in others {
        let copied = match other {
            Ok(other) => other.take(session, &opened.repository, snapshot).await,
            Err(failure) => Err(failure),
        };
        let place = place.to_string_lossy();
        match copied {
            Ok(copied) => {
                let (number, sent) = (copied.snapshot.number, table::bytes(copied.bytes));
                output.progress_line(&format!("it is #{number} in {place} too, {sent} sent"));
                documents.push(json!({"place": place, "there": number, "packs": copied.packs, "bytes": copied.bytes}));
            }
            Err(failure) => {
                missed = true;
                let text = format!("snapshot #{} is not in `{place}`: {}", snapshot.number, failure.text);
                output.message(Prefix::Error, &text);
                failure.causes.iter().for_each(|cause| output.message(Prefix::CausedBy, cause));
                let again = format!(
                    "it is safe in its own repository; `snapback copy {} --to {}{}` sends it once more",
                    snapshot.number,
                    shell_word(&place),
                    session.place_options()
                );
                failure.hints.iter().for_each(|hint| output.message(Prefix::Hint, hint));
                output.message(Prefix::Hint, &again);
                documents.push(json!({"place": place, "error": failure.text, "causes": failure.causes}));
            }
        }
    }
    (documents, missed)
}

/// What the options, or else the configuration, select.
fn selection(session: &Session<'_>, scope: ScopeName) -> Result<Selection, Failure> {
    let capture = &session.config.capture;
    let given = !session.everywhere.only.is_empty() || !session.everywhere.exclude.is_empty();
    let (only, exclude) =
        if given { (&session.everywhere.only, &session.everywhere.exclude) } else { (&capture.only, &capture.exclude) };
    let scope = match scope {
        ScopeName::Everything => Scope::Everything,
        ScopeName::Plan => Scope::Plan,
    };
    Ok(Selection::new(only, exclude, scope)?)
}

/// The sources that are taken now, and what is left out of them with the reason.
fn choose(
    arguments: &BackupArguments,
    selection: &Selection,
    mut sources: Sources,
    opened: &Opened,
    cluster: &str,
) -> Result<(Sources, Vec<SourceRecord>), Failure> {
    let mut left_out = Vec::new();
    if let Some(file) = &arguments.etcd_snapshot {
        let path = absolute(file)
            .map_err(|error| Failure::new(Exit::Usage, format!("`{}` is no path", file.display())).caused_by(&error))?;
        // Named by hand, it is wanted: a backup without it would not be the one that was asked for.
        sources.etcd = Some(Wanted { source: EtcdSource::File { path, allow_unhashed: false }, required: true });
    } else {
        left_out.extend(sources.postpone_etcd(opened.history.snapshots(), cluster, jiff::Timestamp::now()));
    }
    let unselected = |name: &str| SourceRecord {
        name: name.to_owned(),
        state: SourceState::Unconfigured,
        detail: "not selected".to_owned(),
    };
    if sources.etcd.is_some() && !selection.includes_path("etcd/snapshot.db") {
        sources.etcd = None;
        left_out.push(unselected("etcd"));
    }
    if sources.proxmox.is_some() && !selection.includes_path("proxmox/cluster/backup.json") {
        sources.proxmox = None;
        left_out.push(unselected("proxmox"));
    }
    sources.files.retain(|folder| {
        let name = format!("files/{}", folder.source.label);
        let selected = selection.includes_path(&format!("{name}/file"));
        if !selected {
            left_out.push(unselected(&name));
        }
        selected
    });
    Ok((sources, left_out))
}

fn report(session: &Session<'_>, taken: &Taken, also: &[Value]) {
    let output = session.output;
    let snapshot = &taken.snapshot;
    let body = &snapshot.body;
    for source in &body.sources {
        let (name, detail) = (&source.name, &source.detail);
        match source.state {
            SourceState::Complete => {}
            SourceState::Unconfigured => output.progress_line(&format!("{name} is not in it: {detail}")),
            SourceState::Partial if name == CLUSTER => {
                let missing = unlistable_lines(&taken.capture);
                let types = table::count(missing.len() as u64, "type");
                output.message_with_list(Prefix::Warning, &format!("{name} is partial, without {types}"), &missing);
            }
            SourceState::Partial => output.message(Prefix::Warning, &format!("{name} is partial: {detail}")),
            SourceState::Missing => output.message(Prefix::Warning, &format!("{name} is missing: {detail}")),
        }
    }
    if output.is_json() {
        output.json("backup", summary(taken, also));
        return;
    }
    let state =
        if body.complete { output.paint(Tone::Green, "complete") } else { output.paint(Tone::Yellow, "partial") };
    let label = if body.label.is_empty() { String::new() } else { format!(" {}", body.label) };
    output.line(&format!("snapshot #{} ({}){label} is {state}", snapshot.number, snapshot.id.short()));
    if !output.is_quiet() {
        output.line(&format!(
            "{} of {} at revision {}, {} in all, {} new, {:.1} s",
            table::count(body.objects, "object"),
            table::count(body.types, "type"),
            body.revision,
            table::bytes(body.bytes),
            table::bytes(taken.new_bytes),
            taken.seconds,
        ));
    }
}

fn summary(taken: &Taken, also: &[Value]) -> Value {
    let capture = &taken.capture;
    let unlistable: Vec<Value> = capture
        .unlistable
        .iter()
        .map(|found| {
            json!({"group": found.group, "resource": found.resource, "verb": found.verb, "status": found.status, "reason": found.reason})
        })
        .collect();
    let skipped: Vec<Value> = capture
        .skipped
        .iter()
        .map(|found| json!({"group": found.group, "resource": found.resource, "reason": found.reason}))
        .collect();
    json!({
        "snapshot": document(&taken.snapshot),
        "newBytes": taken.new_bytes,
        "seconds": taken.seconds,
        "attempts": capture.attempts,
        "unlistable": unlistable,
        "skipped": skipped,
        "also": also,
    })
}
