//! Whole transactions as lists of events, and the records that they are.

use jiff::Timestamp;
use snapback::journal::{Begun, Event, Held, Outcome, Prior, Purpose, Reason, Record, SnapshotName, TransactionId};
use snapback::store::ContentHash;

pub(super) const TOOL: &str = "snapback 0.1.0";
pub(super) const HOLDER: &str = "bastion-1";
pub(super) const CLUSTER: &str = "5b0c6d4e-8f3a-4d43-9c53-0f1a2b3c4d5e";

pub(super) fn snapshot(number: u64) -> SnapshotName {
    SnapshotName { number, id: ContentHash::of(&number.to_le_bytes()) }
}

pub(super) fn begun(purpose: Purpose) -> Begun {
    let reviewed = (purpose == Purpose::Rollback).then(|| ContentHash::of(b"plan"));
    Begun {
        purpose,
        cluster: CLUSTER.to_owned(),
        wanted: snapshot(41),
        scope: "platform".to_owned(),
        force: if purpose == Purpose::Restore { vec!["jobs".to_owned(), "nodes".to_owned()] } else { Vec::new() },
        reviewed,
        tool: TOOL.to_owned(),
        holder: HOLDER.to_owned(),
    }
}

/// One of each kind, with what it was.
pub(super) fn things() -> Vec<(Held, Prior)> {
    let (namespace, name) = ("cozy-system".to_owned(), "cozystack".to_owned());
    vec![
        (Held::Deployment { namespace: namespace.clone(), name: name.clone() }, Prior::Replicas(Some(1))),
        (Held::StatefulSet { namespace: namespace.clone(), name: name.clone() }, Prior::Replicas(None)),
        (Held::ClusterApi { namespace: namespace.clone(), name: "eu".to_owned() }, Prior::Paused(None)),
        (Held::ClusterApi { namespace, name: "us".to_owned() }, Prior::Paused(Some(false))),
        (Held::MutatingWebhook { name: name.clone() }, Prior::Content(ContentHash::of(b"webhook"))),
        (Held::ValidatingWebhook { name }, Prior::Absent),
        (Held::ApiService { name: "v1.apps.cozystack.io".to_owned() }, Prior::Content(ContentHash::of(b"api"))),
    ]
}

fn stop(events: &mut Vec<Event>, things: &[(Held, Prior)]) {
    for (item, was) in things {
        events.push(Event::Stopping { item: item.clone(), was: was.clone() });
        events.push(Event::Stopped { item: item.clone() });
    }
}

fn start(events: &mut Vec<Event>, things: &[(Held, Prior)]) {
    for (item, _) in things.iter().rev() {
        events.push(Event::Starting { item: item.clone() });
        events.push(Event::Started { item: item.clone() });
    }
}

pub(super) fn round(number: u32) -> Event {
    Event::Round { number, plan: ContentHash::of(b"plan"), actions: 650 }
}

/// A rollback that went well, with everything that there is to hold and a CRD on its way to another storage version.
pub(super) fn done() -> Vec<Event> {
    let (things, crd) = (things(), || "backups.velero.io".to_owned());
    let mut events = vec![Event::Begun(begun(Purpose::Rollback)), Event::Saved { before: snapshot(42) }];
    stop(&mut events, &things);
    events.push(Event::Quiet {});
    events.push(round(1));
    events.push(Event::Union { crd: crd() });
    events.push(Event::Rewritten { crd: crd(), objects: 12 });
    events.push(Event::Narrowed { crd: crd() });
    events.push(Event::CrdDone { crd: crd() });
    events.push(Event::RoundDone { number: 1, done: 649, failed: 1 });
    events.push(Event::Resumed { tool: TOOL.to_owned(), holder: HOLDER.to_owned() });
    events.push(round(2));
    events.push(Event::RoundDone { number: 2, done: 1, failed: 0 });
    events.push(Event::Converged { rounds: 2 });
    events.push(Event::ProvenQuiet { unexplained: 0 });
    start(&mut events, &things);
    events.push(Event::Running {});
    events.push(Event::Proven { unexplained: 0 });
    events.push(Event::Ended { outcome: Outcome::Done {} });
    events
}

/// An undo that was given up for this reason, its CRD put back.
pub(super) fn failed(reason: Reason) -> Vec<Event> {
    let (things, crd) = (things().split_off(5), "backups.velero.io".to_owned());
    let mut events = vec![Event::Begun(begun(Purpose::Undo)), Event::Saved { before: snapshot(42) }];
    stop(&mut events, &things);
    events.push(Event::Quiet {});
    events.push(round(1));
    events.push(Event::Union { crd: crd.clone() });
    events.push(Event::GivenUp { reason: reason.clone() });
    events.push(Event::CrdReverted { crd });
    start(&mut events, &things);
    events.push(Event::Running {});
    events.push(Event::Ended { outcome: Outcome::Failed { reason } });
    events
}

pub(super) fn reasons() -> Vec<Reason> {
    vec![
        Reason::NotSaved {},
        Reason::PlanStale {},
        Reason::NotStopped { item: things().remove(0).0 },
        Reason::RoundsUsedUp { rounds: 5 },
        Reason::CrdStuck { crd: "backups.velero.io".to_owned() },
        Reason::Refused { path: "cluster/apps/deployments/cozy-system/x.json".to_owned() },
        Reason::Asked {},
    ]
}

/// A restore whose proof found something, and one that was killed while it stopped its second thing.
pub(super) fn unproven() -> Vec<Event> {
    vec![
        Event::Begun(begun(Purpose::Restore)),
        Event::Saved { before: snapshot(42) },
        Event::Quiet {},
        Event::Converged { rounds: 0 },
        Event::ProvenQuiet { unexplained: 3 },
        Event::Running {},
        Event::Proven { unexplained: 2 },
        Event::Ended { outcome: Outcome::Unproven { unexplained: 2 } },
    ]
}

pub(super) fn id(number: u32) -> TransactionId {
    format!("20261125T031500Z-{number:08x}").parse().unwrap()
}

/// The lines of a journal.
pub(super) fn lines(transaction: &TransactionId, events: &[Event]) -> Vec<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    for (number, event) in (0..).zip(events) {
        let previous = lines.last().map(|line| ContentHash::of(line));
        let time = Timestamp::from_second(1_795_576_500 + i64::try_from(number).unwrap()).unwrap();
        let record = Record { transaction: transaction.clone(), number, previous, time, event: event.clone() };
        lines.push(record.to_line().unwrap());
    }
    lines
}
