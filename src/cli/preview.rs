//! Before a transaction: may this snapshot be gone back to, what would be done, and what should a person know.
//!
//! In: what is intended, the cluster as it is. Out: a plan and a [`Preview`]. Invariant: nothing is changed here (I5).

use std::sync::Arc;

use snapback::journal::{Held, Purpose};
use snapback::maintain::verify::verify_snapshot;
use snapback::restore::helm::judge_plan;
use snapback::restore::quiesce::{HELD_BY, HELD_PAUSED, HELD_REPLICAS, dead_backends, dead_on_return, find, marked};
use snapback::restore::{Operation, Plan, RollbackScope, changed_outside, plan};
use snapback::rollback::{HOLD_NOTHING, restore_options};
use snapback::snapshot::{Scope, Selection};
use snapback::store::{Snapshot, SnapshotTree};

use super::error::{Failure, Prefix};
use super::exit::Exit;
use super::intended::Intended;
use super::live::{Origin, Side};
use super::progress::Shown;
use super::restore_failure::restore_failure;
use super::site::Site;
use super::transaction_text::Preview;

impl Site<'_> {
    /// A snapshot that cannot be relied on, or is not of this cluster, is no way back.
    pub(crate) async fn check(&self, purpose: Purpose, snapshot: &Snapshot) -> Result<(), Failure> {
        let number = snapshot.number;
        if let Some(text) = self.of_another_cluster(snapshot) {
            return Err(Failure::new(Exit::Refused, text).hint("name the right cluster with --context"));
        }
        // What could not be read when an undo's snapshot was taken is left alone by the rounds.
        if purpose == Purpose::Rollback && !(snapshot.body.complete && snapshot.body.scope.is_empty()) {
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
    pub(crate) async fn preview(&self, intended: &Intended) -> Result<(Plan, Preview), Failure> {
        let session = self.session;
        let stored = Origin::Stored(Box::new(intended.snapshot.clone()));
        let wanted = Side { tree: self.opened.repository.tree(&intended.snapshot).await?, origin: stored };
        let everything = Selection::everything();
        let live = session.capture_live(&self.cluster, everything, false, Some(wanted.tree.clone())).await?;
        let comparison = session.comparison(&wanted, &live).await?;
        comparison.warn(session.output, "left alone, because the snapshot or the cluster could not be read");
        let unreadable = comparison.left_out();
        let (live, wanted) = (live.tree, wanted.tree);
        if let RollbackScope::Namespace(name) = &intended.scope {
            let place = format!("cluster/core/namespaces/_/{name}.json");
            if live.entry(&place).await?.is_none() && wanted.entry(&place).await?.is_none() {
                let text = format!(
                    "there is no namespace `{name}`, neither in snapshot #{} nor in the cluster",
                    intended.snapshot.number
                );
                return Err(Failure::new(Exit::Usage, text).hint("`kubectl get namespaces` lists those of the cluster"));
            }
        }
        let scope = intended.scope.selection(&live, &wanted).await.map_err(restore_failure)?;
        let holds = find(&live, &wanted, &self.named()?).await.map_err(restore_failure)?;
        let readable = Selection::new(&[], &unreadable, Scope::Everything)?;
        let items: Vec<_> = holds.iter().map(|hold| hold.item.clone()).collect();
        let meant = items.iter().filter(|item| scope.includes_path(&item.object_path().to_tree_path()));
        let (mut preview, marks) = if intended.agrees_to(HOLD_NOTHING) {
            (Preview::default(), meant.cloned().collect())
        } else {
            let mut dead = dead_backends(&self.cluster, &items).await.map_err(restore_failure)?;
            let returning = dead_on_return(&self.cluster, &items, &live, &wanted, &scope).await;
            for one in returning.map_err(restore_failure)? {
                if dead.iter().all(|known| known.item != one.item) {
                    dead.push(one);
                }
            }
            let mut outside = changed_outside(&live, &wanted, &scope).await.map_err(restore_failure)?;
            outside.retain(|path| readable.includes_path(path));
            (Preview { holds, dead, outside, ..Preview::default() }, items)
        };
        refuse_marks(&live, &wanted, &marks, intended.snapshot.number).await?;
        let mut options = restore_options(scope.clone().within(readable), &intended.force);
        options.tried = self.tried.clone();
        let shown = Shown::new(session.output);
        let plan = plan(&self.cluster, &live, &wanted, &options, &shown).await.map_err(restore_failure)?;
        drop(shown);
        let deletes = plan.actions.iter().any(|action| matches!(action.operation, Operation::Delete { .. }));
        if deletes && !unreadable.is_empty() {
            // Garbage collection reads what this account does not.
            let text = "what is deleted takes along what it owns of these types, which no snapshot has";
            session.output.message_with_list(Prefix::Warning, text, &unreadable);
        }
        preview.helm = judge_plan(&live, &wanted, &plan).await.map_err(restore_failure)?;
        preview.unreadable = unreadable;
        preview.selected = scope;
        Ok((plan, preview))
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
