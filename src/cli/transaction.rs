//! A transaction from the command line: shown, agreed to, carried out, or gone on with.
//!
//! In: which snapshot and scope are meant. Out: the report, and an exit code. Invariants: nothing is changed before the
//! plan was shown and agreed to (I5); the lease is taken before the first record (I9); a transaction that has begun is
//! finished or given up, never turned into another one (I7).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use snapback::journal::{
    Begun, Event, OpenJournal, Outcome, Phase, Purpose, Reason, SnapshotName, Summary, Todo, TransactionId, TwoCopies,
};
use snapback::restore::{
    Lease, LeaseOptions, Plan, Predecessor, RollbackScope, Wait, finalizer_rights, needed_rights, quiesce,
};
use snapback::rollback::{HOLD_NOTHING, LOSE_FIELDS, Report, ReviewedPlan, Settings, abandon, agreed, drive};
use snapback::store::ContentHash;

use super::arguments::ConsentArguments;
use super::consent;
use super::error::{Failure, Prefix};
use super::exit::Exit;
use super::helm;
use super::intended::Intended;
use super::progress::Shown;
use super::rights;
use super::site::Site;
use super::snapshots::document;
use super::taking::{PARALLEL, request_before, take, unlistable_lines};
use super::transaction_text as text;
use super::unfinished::{beginning, complete, journal_failure, not_finished, rollback_failure};
use super::version::TOOL;

/// How long one thing may take to stop, to be deleted or to be accepted.
const PATIENCE: Duration = Duration::from_secs(240);

impl Site<'_> {
    /// Goes on with what was interrupted: it was agreed to then. Whoever names something else means something else.
    pub(crate) async fn go_on(
        &self,
        unfinished: &Summary,
        purpose: Purpose,
        means: impl FnOnce(&Begun) -> bool,
        consent: &ConsentArguments,
    ) -> Result<Exit, Failure> {
        let transaction = &unfinished.transaction;
        let begun = beginning(self.session, unfinished)?;
        let (what, command) = (text::purpose(begun.purpose), text::command(begun.purpose));
        let again = format!("{command}{}", self.session.place_options());
        if begun.purpose != purpose || !means(&begun) || consent.dry_run {
            return Err(not_finished(self.session, transaction, &begun));
        }
        let described = format!("the {what} to snapshot {} (transaction {transaction})", begun.wanted);
        if consent.give_up && !consent.yes {
            let held = if text::holds_nothing(&begun) { "all" } else { "what was held still runs again, the rest" };
            let question = format!("give up {described}? {held} stays as it is now");
            consent::ask(self.session, "giving up", &question, &format!("{again} --give-up")).await?;
        }
        let going = if consent.give_up { "giving up" } else { "going on with" };
        self.session.output.message(Prefix::Note, &format!("{going} {described}"));
        let (mut journal, lease) = self.resume(unfinished).await?;
        // Also one whose process was killed while it gave up.
        let state = journal.state();
        if state.before().is_none() && (consent.give_up || state.given_up().is_some()) {
            let ended = abandon(&mut journal, Reason::Asked {}).await;
            ended.map_err(|error| rollback_failure(self.session, error, &again))?;
            self.release(lease).await;
            let report = Report { outcome: journal.state().ended().cloned(), ..Report::default() };
            return Ok(self.tell(&journal, &report, json!({})));
        }
        if consent.give_up {
            self.give_up(&mut journal, &again).await?;
        }
        self.carry_out(journal, lease, consent, &again, json!({})).await
    }

    /// Opens its journal, and takes the lease: whoever works on it still, here or on another machine, is left alone.
    async fn resume(&self, unfinished: &Summary) -> Result<(OpenJournal, Lease), Failure> {
        let transaction = &unfinished.transaction;
        let open = async || {
            let backend = Arc::clone(self.opened.repository.backend());
            let store = TwoCopies::new(self.journals()?, backend, transaction.clone());
            let journal = OpenJournal::resume(Box::new(store), TOOL, &holder()).await;
            journal.map_err(|error| journal_failure(self.session, &error))
        };
        // The newest record is of this machine: who has the lock of its copy knows that the process that wrote it is
        // dead. Else the lease tells, and only then may a record be added, which would make a living one stop.
        if unfinished.local > 0 && unfinished.local >= unfinished.mirrored {
            let journal = open().await?;
            let lease = self.lease(transaction, Predecessor::Dead).await?;
            return Ok((journal, lease));
        }
        let lease = self.lease(transaction, Predecessor::Unknown).await?;
        match open().await {
            Ok(journal) => Ok((journal, lease)),
            // It ended meanwhile, say: nobody has to wait for the lease to run out.
            Err(failure) => {
                self.release(lease).await;
                Err(failure)
            }
        }
    }

    /// A person does not want the snapshot to be reached any more.
    async fn give_up(&self, journal: &mut OpenJournal, again: &str) -> Result<(), Failure> {
        match journal.state().phase() {
            Phase::Begun | Phase::Stopping | Phase::Converging | Phase::Converged | Phase::ProvenQuiet => {
                let written = journal.append(Event::GivenUp { reason: Reason::Asked {} }).await;
                written.map_err(|error| rollback_failure(self.session, error.into(), again))?;
            }
            Phase::Starting | Phase::Running | Phase::Proven { .. } | Phase::Ended { .. } => {
                let note = match journal.state().given_up() {
                    Some(reason) => format!("it was given up already ({reason}), and is brought to its end"),
                    None => "there is nothing left to give up: all was done, and it is brought to its end".to_owned(),
                };
                self.session.output.message(Prefix::Note, &note);
            }
        }
        Ok(())
    }

    /// Plans, shows, asks, and carries out.
    pub(crate) async fn begin(
        &self,
        intended: &Intended,
        consent: &ConsentArguments,
        plan_out: Option<&Path>,
    ) -> Result<Exit, Failure> {
        let (session, output) = (self.session, self.session.output);
        if !consent.dry_run && plan_out.is_none() {
            self.journals()?;
        }
        let (plan, preview) = self.preview(intended).await?;
        let unreadable = &preview.unreadable;
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
        let stopped: Vec<_> = preview.holds.iter().map(|hold| hold.item.clone()).collect();
        needed.extend(finalizer_rights(&plan, &stopped));
        let lease = LeaseOptions::default();
        needed.extend(if intended.agrees_to(HOLD_NOTHING) {
            quiesce::lease_rights(&lease)
        } else {
            quiesce::needed_rights(held, &lease)
        });
        let missing = rights::missing(output, &self.cluster, &needed).await?;
        let mut result = text::preview_document(intended, &self.cluster, &plan, &preview);
        if let Some(fields) = result.as_object_mut() {
            fields.insert("dryRun".to_owned(), (consent.dry_run || plan_out.is_some()).into());
            fields.insert("missingRights".to_owned(), rights::document(&missing));
        }
        let said = if let Some(path) = plan_out {
            rights::warn(output, &self.cluster, &missing);
            write_plan(path, &self.reviewed(intended, plan.clone()))?;
            let path = super::advice::shell_word(&path.to_string_lossy());
            let places = session.place_options();
            Some(format!(
                "the plan was written; `snapback rollback --plan {path}{places}` does it, nothing was changed"
            ))
        } else if plan.is_empty() || intended.purpose != Purpose::Restore && plan.only_reports() {
            rights::warn(output, &self.cluster, &missing);
            Some(match (plan.out_of_reach(), unreadable.is_empty()) {
                (0, true) => "nothing to do: everything in this scope is as it was".to_owned(),
                (0, false) => "nothing to do in what could be read".to_owned(),
                (1, _) => "nothing can be done: 1 object that differs is left alone (the line with `=`)".to_owned(),
                (count, _) => {
                    format!("nothing can be done: {count} objects that differ are left alone (the lines with `=`)")
                }
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
            let is_part = intended.purpose == Purpose::Restore && intended.scope != RollbackScope::Everything;
            helm::refuse(&preview.helm, is_part, &command)?;
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
        let exit =
            self.carry_out(journal, lease, consent, &again, result).await.map_err(|failure| match failure.exit {
                Exit::PlanStale => failure.hint(format!("run `{command}` again and read the new plan")),
                _ => failure,
            })?;
        if exit != Exit::Done || unreadable.is_empty() {
            return Ok(exit);
        }
        let text = "nothing that was there was changed, and nothing is proven, of what the snapshot or the cluster could \
                    not be read of when this began";
        output.message_with_list(Prefix::Warning, text, unreadable);
        Ok(Exit::Partial)
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
        reviewed: Option<ContentHash>,
    ) -> Result<(OpenJournal, Lease), Failure> {
        let transaction = TransactionId::new(jiff::Timestamp::now())?;
        let lease = self.lease(&transaction, Predecessor::Unknown).await?;
        match self.write_beginning(transaction, intended, force, reviewed).await {
            Ok(journal) => Ok((journal, lease)),
            // Nothing was decided: nobody has to wait for the lease to run out.
            Err(failure) => {
                self.release(lease).await;
                Err(failure)
            }
        }
    }

    async fn write_beginning(
        &self,
        transaction: TransactionId,
        intended: &Intended,
        force: Vec<String>,
        reviewed: Option<ContentHash>,
    ) -> Result<OpenJournal, Failure> {
        // Somebody may have begun one while the plan was read.
        let summaries = self.summaries().await?;
        if let Some(other) = summaries.iter().find(|summary| summary.may_be_unfinished(&self.identity)) {
            let text = format!("transaction {} was begun on this cluster meanwhile", other.transaction);
            return Err(Failure::new(Exit::Held, text).hint("run the command again"));
        }
        complete(self.folder.as_deref(), &self.opened, summaries).await;
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
        let store = TwoCopies::new(self.journals()?, Arc::clone(self.opened.repository.backend()), transaction);
        OpenJournal::begin(Box::new(store), begun).await.map_err(|error| journal_failure(self.session, &error))
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
        let ways_out = format!("`{again}` goes on with it, `{again} --give-up` leaves it there for `snapback undo`");
        if journal.state().todo() == Todo::Save {
            let text = format!("interrupted before the {what} changed anything; it has begun, and is to be ended");
            session.interrupt.writing(text, ways_out.clone());
            match take(session, &self.opened, &cluster, &request_before()?).await {
                Ok(taken) => {
                    let before = SnapshotName { number: taken.snapshot.number, id: taken.snapshot.id };
                    output.progress_line(&format!("what is there now is snapshot {before}"));
                    if !taken.snapshot.body.complete {
                        let text = format!("snapshot {before} is partial: `snapback undo` cannot put back");
                        output.message_with_list(Prefix::Warning, &text, &unlistable_lines(&taken.capture));
                    }
                    let saved = journal.append(Event::Saved { before }).await;
                    saved.map_err(|error| journal_failure(self.session, &error))?;
                    if let Some(fields) = result.as_object_mut() {
                        fields.insert("before".to_owned(), document(&taken.snapshot));
                    }
                }
                Err(failure) => {
                    abandon(&mut journal, Reason::NotSaved {})
                        .await
                        .map_err(|error| rollback_failure(self.session, error, again))?;
                    self.release(lease).await;
                    return Err(failure);
                }
            }
        }
        let left = match purpose {
            Purpose::Restore => "some objects are back and others are not",
            Purpose::Rollback | Purpose::Undo => "what was stopped is still stopped",
        };
        session.interrupt.writing(format!("interrupted in the middle of the {what}; {left}"), ways_out);
        let wait = if consent.no_wait { Wait::Skip } else { Wait::Full };
        let tried = self.tried.clone();
        let settings = Settings { extra: self.named()?, patience: PATIENCE, wait, parallel: PARALLEL, tried };
        let shown = Shown::new(output);
        let driven = drive(&self.opened.repository, &cluster, &mut journal, &settings, &shown).await;
        drop(shown);
        let report = driven.map_err(|error| rollback_failure(self.session, error, again))?;
        session.interrupt.harmless();
        if journal.catch_up().await.is_err() {
            let text =
                "the end of the journal is on this machine only; the next command completes the repository's copy";
            output.message(Prefix::Warning, text);
        }
        self.release(lease).await;
        let exit = self.tell(&journal, &report, result);
        if is_stale(&report) { Err(stale(purpose)) } else { Ok(exit) }
    }

    /// Says what was done.
    fn tell(&self, journal: &OpenJournal, report: &Report, mut result: Value) -> Exit {
        let output = self.session.output;
        if output.is_json() {
            text::report_into(&mut result, journal, report);
            output.json(text::purpose(journal.state().begun().purpose), result);
        } else if !is_stale(report) {
            text::report(output, journal, report);
        }
        if report.outcome == Some(Outcome::Done {}) { Exit::Done } else { Exit::Failed }
    }
}

/// The cluster is not any more what somebody said yes to, and so nothing was done.
fn is_stale(report: &Report) -> bool {
    let stale = matches!(report.outcome, Some(Outcome::Failed { reason: Reason::PlanStale {} }));
    stale && report.rounds.is_empty()
}

fn stale(purpose: Purpose) -> Failure {
    let what = text::purpose(purpose);
    let text = format!("the cluster moved while you were reading the plan of the {what}; nothing was changed");
    Failure::new(Exit::PlanStale, text)
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
