//! A rollback or an undo from the command line: shown, agreed to, carried out, or gone on with.
//!
//! In: which snapshot and scope are meant. Out: the report, and an exit code. Invariants: nothing is changed before the
//! plan was shown and agreed to (I5); the lease is taken before the first record (I9); a transaction that has begun is
//! finished, never turned into another one (I7).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use snapback::cluster::Cluster;
use snapback::journal::{
    Begun, Event, Held, OpenJournal, Outcome, Purpose, SnapshotName, Summary, Todo, TransactionId, TwoCopies, list,
};
use snapback::maintain::verify::verify_snapshot;
use snapback::restore::helm::judge_plan;
use snapback::restore::quiesce::{self, HELD_BY, HELD_PAUSED, HELD_REPLICAS, dead_backends, find, marked};
use snapback::restore::{
    Lease, LeaseError, LeaseOptions, Plan, Predecessor, RollbackScope, Wait, changed_outside, needed_rights, plan,
};
use snapback::rollback::{LOSE_FIELDS, Report, ReviewedPlan, Settings, abandon, agreed, drive, restore_options};
use snapback::snapshot::{Scope, Selection};
use snapback::store::SnapshotTree;

use super::arguments::ConsentArguments;
use super::consent;
use super::error::{Failure, Prefix};
use super::exit::Exit;
use super::helm;
use super::intended::Intended;
use super::live::Origin;
use super::progress::Shown;
use super::restore_failure::restore_failure;
use super::rights;
use super::scope::type_name;
use super::session::{Opened, Session};
use super::snapshots::document;
use super::state;
use super::taking::{PARALLEL, request_before, take};
use super::transaction_text::{self as text, Preview};
use super::unfinished::{beginning, journal_failure, not_finished, rollback_failure};
use super::version::TOOL;

/// How long one thing may take to stop, to be deleted or to be accepted.
const PATIENCE: Duration = Duration::from_secs(240);

/// The repository, the cluster, and where this machine keeps its journals.
pub(crate) struct Site<'a> {
    session: &'a Session<'a>,
    pub(crate) opened: Opened,
    cluster: Cluster,
    pub(crate) identity: String,
    pub(crate) folder: PathBuf,
}

impl<'a> Site<'a> {
    /// Opens both.
    pub(crate) async fn open(session: &'a Session<'a>) -> Result<Self, Failure> {
        let opened = session.open_to_add().await?;
        let cluster = session.connect().await?;
        let identity = cluster.identity().await?;
        let folder = state::place("journals", opened.repository.id()).ok_or_else(|| {
            Failure::new(Exit::Usage, "there is no home folder to keep the journal in")
                .hint("set XDG_STATE_HOME to a folder that outlives this process")
        })?;
        Ok(Self { session, opened, cluster, identity, folder })
    }

    /// Every transaction that the repository or this machine knows of, oldest first.
    pub(crate) async fn summaries(&self) -> Result<Vec<Summary>, Failure> {
        let backend = self.opened.repository.backend();
        list(&self.folder, &**backend).await.map_err(|error| journal_failure(&error))
    }

    /// The transaction of this cluster that has to be finished first, if there is one.
    pub(crate) async fn unfinished(&self) -> Result<Option<Summary>, Failure> {
        Ok(self.summaries().await?.into_iter().find(|summary| summary.may_be_unfinished(&self.identity)))
    }

    /// Goes on with what was interrupted: it was agreed to then.
    pub(crate) async fn go_on(
        &self,
        unfinished: &Summary,
        purpose: Purpose,
        named: bool,
        consent: &ConsentArguments,
    ) -> Result<Exit, Failure> {
        let transaction = &unfinished.transaction;
        let begun = beginning(unfinished)?;
        let what = text::purpose(begun.purpose);
        let command = text::command(begun.purpose);
        if begun.purpose != purpose || named || consent.dry_run {
            return Err(not_finished(self.session, transaction, &begun));
        }
        let described = format!("{what} to snapshot {} (transaction {transaction})", begun.wanted);
        self.session.output.message(Prefix::Note, &format!("going on with the {described}"));
        let store = TwoCopies::new(&self.folder, Arc::clone(self.opened.repository.backend()), transaction.clone());
        let journal = OpenJournal::resume(Box::new(store), TOOL, &holder()).await;
        let journal = journal.map_err(|error| journal_failure(&error))?;
        // Who has the lock of the copy on this machine knows that the process that wrote it is dead.
        let predecessor = if unfinished.local > 0 { Predecessor::Dead } else { Predecessor::Unknown };
        let lease = self.lease(transaction, predecessor).await?;
        self.carry_out(journal, lease, consent, &format!("{command}{}", self.session.place_options()), json!({})).await
    }

    /// Verifies, plans, shows, asks, and carries out.
    pub(crate) async fn begin(
        &self,
        intended: &Intended,
        consent: &ConsentArguments,
        plan_out: Option<&Path>,
    ) -> Result<Exit, Failure> {
        let (session, output) = (self.session, self.session.output);
        self.check(intended).await?;
        let (plan, preview, unreadable) = self.preview(intended).await?;
        if let Some(reviewed) = &intended.reviewed
            && agreed(&reviewed.plan) != agreed(&plan)
        {
            return Err(text::stale(&reviewed.plan, &plan).hint("make a new plan with --plan-out, and read it"));
        }
        if !output.is_json() {
            text::preview(output, intended, &self.cluster, &plan, &preview);
        }
        let held = preview.dead.iter().map(|dead| &dead.item).chain(preview.holds.iter().map(|hold| &hold.item));
        let mut needed = needed_rights(&plan);
        needed.extend(quiesce::needed_rights(held, &LeaseOptions::default()));
        let missing = rights::missing(output, &self.cluster, &needed).await?;
        let mut result = text::preview_document(intended, &self.cluster, &plan, &preview);
        if let Some(fields) = result.as_object_mut() {
            fields.insert("dryRun".to_owned(), (consent.dry_run || plan_out.is_some()).into());
            fields.insert("notCompared".to_owned(), unreadable.clone().into());
            fields.insert("missingRights".to_owned(), rights::document(&missing));
        }
        let said = if let Some(path) = plan_out {
            rights::warn(output, &self.cluster, &missing);
            write_plan(path, &self.reviewed(intended, plan.clone()))?;
            let path = super::advice::shell_word(&path.to_string_lossy());
            Some(format!("the plan was written; `snapback rollback --plan {path}` does it, nothing was changed"))
        } else if plan.only_reports() {
            let alone = plan.out_of_reach();
            Some(match (alone, unreadable.is_empty()) {
                (0, true) => "nothing to do: everything in this scope is as it was".to_owned(),
                (0, false) => "nothing to do in what could be read".to_owned(),
                (count, _) => format!("nothing can be done: {count} that differ are left alone (the lines with `=`)"),
            })
        } else if consent.dry_run {
            rights::warn(output, &self.cluster, &missing);
            if !consent.allow_helm_upgrade {
                helm::warn(output, &preview.helm);
            }
            Some("dry run: nothing was changed".to_owned())
        } else {
            None
        };
        if let Some(said) = said {
            if output.is_json() {
                output.json(text::purpose(intended.purpose), result);
            } else {
                output.line(&said);
            }
            let whole = unreadable.is_empty() && plan.out_of_reach() == 0;
            return Ok(if whole { Exit::Done } else { Exit::Partial });
        }
        if !missing.is_empty() {
            return Err(rights::refusal(&self.cluster, &missing));
        }
        let command = format!("{}{}", intended.command, session.place_options());
        if !consent.allow_helm_upgrade {
            helm::refuse(&preview.helm, false, &command)?;
        }
        if !consent.yes {
            let what = format!("the {}", text::purpose(intended.purpose));
            consent::ask(session, &what, "carry it out? a snapshot of what is there now is taken first", &command)
                .await?;
        }
        let mut force = intended.force.clone();
        if !intended.agrees_to(LOSE_FIELDS) {
            consent::ask_for_losses(session, &plan, consent.yes, &command).await?;
            if plan.conversions().any(|(_, storage)| storage.needs_its_own_consent()) {
                force.push(LOSE_FIELDS.to_owned());
            }
        }
        // The plan is to be read before, not after.
        output.finish()?;
        // Who said yes to a plan said yes to that one; `--yes` is for whatever there is to do.
        let bound = (intended.reviewed.is_some() || !consent.yes) && unreadable.is_empty();
        let reviewed = bound.then(|| agreed(&plan));
        let (journal, lease) = self.decide(intended, force, reviewed).await?;
        let again = format!("{}{}", text::command(intended.purpose), session.place_options());
        self.carry_out(journal, lease, consent, &again, result).await
    }

    /// A snapshot that cannot be relied on, or is not of this cluster, is no way back.
    async fn check(&self, intended: &Intended) -> Result<(), Failure> {
        let snapshot = &intended.snapshot;
        let number = snapshot.number;
        if snapshot.body.cluster != self.identity {
            let text = format!(
                "snapshot #{number} is of another cluster (context `{}`), not of `{}`",
                snapshot.body.context,
                self.cluster.context()
            );
            return Err(Failure::new(Exit::Refused, text).hint("name the right cluster with --context"));
        }
        // What could not be read when an undo's snapshot was taken is left alone by the rounds.
        if intended.purpose == Purpose::Rollback && !(snapshot.body.complete && snapshot.body.scope.is_empty()) {
            let text = format!("snapshot #{number} does not hold the whole cluster, so nothing says what the rest was");
            return Err(
                Failure::new(Exit::Refused, text).hint(format!("`snapback restore {number}` puts back what it holds"))
            );
        }
        let shown = Shown::new(self.session.output);
        let report = verify_snapshot(Arc::clone(self.opened.repository.backend()), number, &shown).await?;
        drop(shown);
        if let Some(damage) = report.damage.first() {
            let text = format!("snapshot #{number} is damaged; nothing was changed");
            let mut failure = Failure::new(Exit::Damaged, text).hint("`snapback verify` says what that costs");
            failure.causes.push(format!("{}: {}", damage.file, damage.what));
            return Err(failure.hint("`snapback snapshots` lists what else there is"));
        }
        Ok(())
    }

    /// What would be done, and what a person should know before.
    async fn preview(&self, intended: &Intended) -> Result<(Plan, Preview, Vec<String>), Failure> {
        let session = self.session;
        let wanted = self.opened.repository.tree(&intended.snapshot).await?;
        let everything = Selection::everything();
        let live = session.capture_live(&self.cluster, everything, false, Some(wanted.clone())).await?;
        let unreadable: Vec<String> = match &live.origin {
            Origin::Live { capture, .. } => {
                capture.unlistable.iter().map(|found| type_name(&found.group, &found.resource)).collect()
            }
            Origin::Stored(_) => Vec::new(),
        };
        if !unreadable.is_empty() {
            let text = "left alone, because the cluster could not be read";
            session.output.message_with_list(Prefix::Warning, text, &unreadable);
        }
        if let RollbackScope::Namespace(name) = &intended.scope {
            let place = format!("cluster/core/namespaces/_/{name}.json");
            if live.tree.entry(&place).await?.is_none() && wanted.entry(&place).await?.is_none() {
                let text = format!(
                    "there is no namespace `{name}`, neither in snapshot #{} nor in the cluster",
                    intended.snapshot.number
                );
                return Err(Failure::new(Exit::Usage, text).hint("`kubectl get namespaces` lists those of the cluster"));
            }
        }
        let scope = intended.scope.selection(&live.tree, &wanted).await.map_err(restore_failure)?;
        let outside = changed_outside(&live.tree, &wanted, &scope).await.map_err(restore_failure)?;
        let holds = find(&live.tree, &wanted, &self.named()?).await.map_err(restore_failure)?;
        let items: Vec<_> = holds.iter().map(|hold| hold.item.clone()).collect();
        refuse_marks(&live.tree, &wanted, &items, intended.snapshot.number).await?;
        let dead = dead_backends(&self.cluster, &items).await.map_err(restore_failure)?;
        let readable = Selection::new(&[], &unreadable, Scope::Everything)?;
        let options = restore_options(scope.within(readable), &intended.force);
        let shown = Shown::new(session.output);
        let plan = plan(&self.cluster, &live.tree, &wanted, &options, &shown).await.map_err(restore_failure)?;
        drop(shown);
        let helm = judge_plan(&live.tree, &wanted, &plan).await.map_err(restore_failure)?;
        Ok((plan, Preview { holds, dead, outside, helm }, unreadable))
    }

    /// What the configuration names to be held still.
    fn named(&self) -> Result<Vec<Held>, Failure> {
        let named = self.session.config.rollback.hold.iter().map(|text| text.parse::<Held>());
        named
            .collect::<Result<_, _>>()
            .map_err(|error| Failure::of(Exit::Usage, &error).hint("it stands in `rollback.hold` of the configuration"))
    }

    fn reviewed(&self, intended: &Intended, plan: Plan) -> ReviewedPlan {
        let wanted = SnapshotName { number: intended.snapshot.number, id: intended.snapshot.id };
        ReviewedPlan::new(self.identity.clone(), wanted, intended.scope.to_string(), intended.force.clone(), plan)
    }

    /// Takes the lease and writes the first record: from then on it is decided.
    async fn decide(
        &self,
        intended: &Intended,
        force: Vec<String>,
        reviewed: Option<snapback::store::ContentHash>,
    ) -> Result<(OpenJournal, Lease), Failure> {
        let transaction = TransactionId::new(jiff::Timestamp::now())?;
        let lease = self.lease(&transaction, Predecessor::Unknown).await?;
        // Somebody may have begun one while the plan was read.
        if let Some(other) = self.unfinished().await? {
            release(self.session, lease).await;
            let text = format!("transaction {} was begun on this cluster meanwhile", other.transaction);
            return Err(Failure::new(Exit::Held, text).hint("run the command again"));
        }
        let begun = Begun {
            purpose: intended.purpose,
            cluster: self.identity.clone(),
            wanted: SnapshotName { number: intended.snapshot.number, id: intended.snapshot.id },
            scope: intended.scope.to_string(),
            force,
            reviewed,
            tool: TOOL.to_owned(),
            holder: holder(),
        };
        let store = TwoCopies::new(&self.folder, Arc::clone(self.opened.repository.backend()), transaction);
        let journal = OpenJournal::begin(Box::new(store), begun).await.map_err(|error| journal_failure(&error))?;
        Ok((journal, lease))
    }

    async fn lease(&self, transaction: &TransactionId, predecessor: Predecessor) -> Result<Lease, Failure> {
        let options = LeaseOptions { predecessor, ..LeaseOptions::default() };
        Lease::acquire(&self.cluster, transaction.as_str(), &options).await.map_err(|error| match error {
            LeaseError::Cluster(error) => error.into(),
            error => Failure::of(Exit::Held, &error)
                .hint("wait until it has ended; a process that died gives the lease up within a minute"),
        })
    }

    /// Saves what is there now, unless that was done, and drives the transaction to its end.
    async fn carry_out(
        &self,
        mut journal: OpenJournal,
        lease: Lease,
        consent: &ConsentArguments,
        again: &str,
        mut result: Value,
    ) -> Result<Exit, Failure> {
        let (session, output) = (self.session, self.session.output);
        let purpose = journal.state().begun().purpose;
        let what = text::purpose(purpose);
        let cluster = self.cluster.gated(Arc::new(lease.guard()));
        if journal.state().todo() == Todo::Save {
            match take(session, &self.opened, &cluster, &request_before()?).await {
                Ok(taken) => {
                    let before = SnapshotName { number: taken.snapshot.number, id: taken.snapshot.id };
                    output.progress_line(&format!("what is there now is snapshot {before}"));
                    let saved = journal.append(Event::Saved { before }).await;
                    saved.map_err(|error| journal_failure(&error))?;
                    if let Some(fields) = result.as_object_mut() {
                        fields.insert("before".to_owned(), document(&taken.snapshot));
                    }
                }
                Err(failure) => {
                    abandon(&mut journal).await.map_err(|error| rollback_failure(error, again))?;
                    release(session, lease).await;
                    return Err(failure);
                }
            }
        }
        session.interrupt.writing(
            format!("interrupted in the middle of the {what}; what was stopped is still stopped"),
            format!("`{again}` goes on with it"),
        );
        let wait = if consent.no_wait { Wait::Skip } else { Wait::Full };
        let settings = Settings { extra: self.named()?, patience: PATIENCE, wait, parallel: PARALLEL };
        let shown = Shown::new(output);
        let driven = drive(&self.opened.repository, &cluster, &mut journal, &settings, &shown).await;
        drop(shown);
        let report = driven.map_err(|error| rollback_failure(error, again))?;
        session.interrupt.harmless();
        if journal.catch_up().await.is_err() {
            let text =
                "the end of the journal is on this machine only; the next command completes the repository's copy";
            output.message(Prefix::Warning, text);
        }
        release(session, lease).await;
        if output.is_json() {
            text::report_into(&mut result, &journal, &report);
            output.json(text::purpose(purpose), result);
        } else {
            text::report(output, &journal, &report);
        }
        exit(purpose, &report)
    }
}

/// What is held now belongs to nobody that this repository knows of, since nothing is unfinished here; and a snapshot of
/// what was held is no state to go back to.
async fn refuse_marks(live: &SnapshotTree, wanted: &SnapshotTree, items: &[Held], number: u64) -> Result<(), Failure> {
    if let Some((item, holder)) = marked(wanted, items).await.map_err(restore_failure)?.into_iter().next() {
        let text = format!("snapshot #{number} was taken while transaction {holder} held {item} still");
        return Err(Failure::new(Exit::Refused, text)
            .hint("it is no state to go back to: `snapback snapshots` lists the others"));
    }
    let marks = marked(live, items).await.map_err(restore_failure)?;
    let Some((item, holder)) = marks.first() else { return Ok(()) };
    let text =
        format!("{item} is held still by transaction {holder}, which is not an unfinished one of this repository");
    let mut failure = Failure::new(Exit::Held, text)
        .hint("if it is that of another repository or of a copy of this one, finish it there with `snapback rollback`");
    let place = item.object_path();
    let namespace = place.namespace.map(|name| format!(" -n {name}")).unwrap_or_default();
    failure = failure.hint(format!(
        "if nobody works on it any more, put it back by hand (`{HELD_REPLICAS}` or `{HELD_PAUSED}` on it says what it was), \
         then `kubectl annotate {}.{} {}{namespace} {HELD_BY}- {HELD_REPLICAS}- {HELD_PAUSED}-`",
        place.resource, place.group, place.name
    ));
    Err(failure)
}

fn exit(purpose: Purpose, report: &Report) -> Result<Exit, Failure> {
    Ok(match &report.outcome {
        Some(Outcome::Done {}) => Exit::Done,
        Some(Outcome::Failed { reason: snapback::journal::Reason::PlanStale {} }) => {
            let what = text::purpose(purpose);
            let text = format!("the cluster moved while you were reading the plan of the {what}; nothing was changed");
            return Err(Failure::new(Exit::PlanStale, text).hint("run the command again and read the new plan"));
        }
        _ => Exit::Failed,
    })
}

/// Gives the lease back. One that is lost runs out by itself.
async fn release(session: &Session<'_>, lease: Lease) {
    if let Err(error) = lease.release().await {
        session.output.message(Prefix::Note, &format!("the lease was not given back: {error}"));
    }
}

/// Who, for people who find the journal: the machine and the process.
fn holder() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{} (process {})", host.trim(), std::process::id())
}

fn write_plan(path: &Path, plan: &ReviewedPlan) -> Result<(), Failure> {
    let failed = |error: &dyn std::error::Error| {
        Failure::new(Exit::Failed, format!("cannot write the plan `{}`", path.display())).caused_by(error)
    };
    let bytes = plan.to_bytes().map_err(|error| failed(&error))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(|error| failed(&error))?;
    std::io::Write::write_all(&mut file, &bytes).map_err(|error| failed(&error))?;
    file.persist_noclobber(path).map_err(|error| failed(&error.error))?;
    Ok(())
}
