//! What may follow what, and what comes next, as tables.

use super::{
    Begun, CrdStep, Event, Held, IllegalEvent, Outcome, Phase, Prior, Purpose, Reason, SnapshotName, State, Todo, next,
};
use crate::store::ContentHash;

fn snapshot(number: u64) -> SnapshotName {
    SnapshotName { number, id: ContentHash::of(b"body") }
}

fn begun() -> Event {
    Event::Begun(Begun {
        purpose: Purpose::Rollback,
        cluster: "uid".to_owned(),
        wanted: snapshot(1),
        scope: "platform".to_owned(),
        force: Vec::new(),
        reviewed: None,
        tool: "snapback 0.1.0".to_owned(),
        holder: "host".to_owned(),
    })
}

fn item(name: &str) -> Held {
    Held::ApiService { name: name.to_owned() }
}

fn stopping(name: &str) -> Event {
    Event::Stopping { item: item(name), was: Prior::Absent }
}

fn stopped(name: &str) -> Event {
    Event::Stopped { item: item(name) }
}

fn starting(name: &str) -> Event {
    Event::Starting { item: item(name) }
}

fn started(name: &str) -> Event {
    Event::Started { item: item(name) }
}

fn round(number: u32) -> Event {
    Event::Round { number, plan: ContentHash::of(b"plan"), actions: 1 }
}

fn crd() -> String {
    "crd".to_owned()
}

fn try_after(events: &[Event]) -> Result<Option<State>, IllegalEvent> {
    events.iter().try_fold(None, |state: Option<State>, event| next(state.as_ref(), event).map(Some))
}

fn after(events: &[Event]) -> State {
    try_after(events).unwrap().unwrap()
}

/// `begun` to `quiet`, a and b stopped.
fn quiet() -> Vec<Event> {
    let before = snapshot(2);
    let quiet = Event::Quiet {};
    vec![begun(), Event::Saved { before }, stopping("a"), stopped("a"), stopping("b"), stopped("b"), quiet]
}

fn and(mut events: Vec<Event>, more: impl IntoIterator<Item = Event>) -> Vec<Event> {
    events.extend(more);
    events
}

#[test]
fn what_may_follow_what() {
    let reason = Reason::Asked {};
    let any = [
        begun(),
        Event::Resumed { tool: String::new(), holder: String::new() },
        Event::Saved { before: snapshot(2) },
        stopping("c"),
        stopped("a"),
        Event::Quiet {},
        round(1),
        Event::RoundDone { number: 1, done: 1, failed: 0 },
        Event::Union { crd: crd() },
        Event::Rewritten { crd: crd(), objects: 1 },
        Event::Narrowed { crd: crd() },
        Event::CrdDone { crd: crd() },
        Event::CrdReverted { crd: crd() },
        Event::Converged { rounds: 0 },
        Event::Converged { rounds: 1 },
        Event::ProvenQuiet { unexplained: 0 },
        Event::GivenUp { reason: reason.clone() },
        starting("a"),
        started("a"),
        Event::Running {},
        Event::Proven { unexplained: 0 },
        Event::Ended { outcome: Outcome::Done {} },
        Event::Ended { outcome: Outcome::Failed { reason: reason.clone() } },
    ];
    let in_round = || and(quiet(), [round(1)]);
    let half_way = || and(in_round(), [Event::Union { crd: crd() }]);
    let proven = || and(quiet(), [Event::Converged { rounds: 0 }, Event::ProvenQuiet { unexplained: 0 }]);
    let all_started = || and(proven(), ["b", "a"].into_iter().flat_map(|name| [starting(name), started(name)]));
    let given_up = || and(half_way(), [Event::GivenUp { reason: reason.clone() }]);
    let places: [(&str, Vec<Event>); 17] = [
        ("nothing", Vec::new()),
        ("begun", quiet()[..1].to_vec()),
        ("saved", quiet()[..2].to_vec()),
        ("a in doubt", quiet()[..3].to_vec()),
        ("a and b stopped", quiet()[..6].to_vec()),
        ("quiet", quiet()),
        ("in a round", in_round()),
        ("a CRD is the union", half_way()),
        ("rewritten", and(half_way(), [Event::Rewritten { crd: crd(), objects: 1 }])),
        ("proven quiet", proven()),
        ("a is starting", and(proven(), [starting("a")])),
        ("all is started", all_started()),
        ("running", and(all_started(), [Event::Running {}])),
        ("proven", and(all_started(), [Event::Running {}, Event::Proven { unexplained: 0 }])),
        ("given up, half-way", given_up()),
        (
            "given up, running",
            and(given_up(), ["a", "b"].into_iter().flat_map(|name| [starting(name), started(name)]))
                .into_iter()
                .chain([Event::CrdReverted { crd: crd() }, Event::Running {}])
                .collect(),
        ),
        (
            "ended",
            and(all_started(), [Event::Running {}, Event::Proven { unexplained: 0 }])
                .into_iter()
                .chain([Event::Ended { outcome: Outcome::Done {} }])
                .collect(),
        ),
    ];
    let mut table = String::new();
    for (place, events) in places {
        let state = try_after(&events).unwrap();
        let legal = any.iter().filter(|event| next(state.as_ref(), event).is_ok());
        let kinds: Vec<&str> = legal.map(Event::kind).collect();
        table.push_str(&format!("{place}: {}\n", kinds.join(" ")));
    }
    insta::assert_snapshot!(table, @r"
    nothing: begun
    begun: resumed saved given-up
    saved: resumed stopping quiet given-up
    a in doubt: resumed stopped given-up
    a and b stopped: resumed stopping quiet given-up
    quiet: resumed stopping round converged given-up
    in a round: resumed stopping round-done union converged given-up
    a CRD is the union: resumed stopping round-done union rewritten crd-reverted given-up
    rewritten: resumed stopping round-done union rewritten narrowed crd-reverted given-up
    proven quiet: resumed stopping round given-up starting
    a is starting: resumed starting started
    all is started: resumed running
    running: resumed proven
    proven: resumed ended
    given up, half-way: resumed union rewritten crd-reverted starting
    given up, running: resumed ended
    ended:
    ");
}

#[test]
fn what_is_illegal_is_said_with_its_rule() {
    let told = |events: Vec<Event>| try_after(&events).unwrap_err().to_string();
    let reason = Reason::Asked {};
    let half_way = vec![
        begun(),
        Event::Saved { before: snapshot(2) },
        Event::Quiet {},
        round(1),
        Event::Union { crd: crd() },
        Event::GivenUp { reason: reason.clone() },
        Event::Running {},
        Event::Ended { outcome: Outcome::Failed { reason } },
    ];
    let texts = [
        told(vec![Event::Quiet {}]),
        told(vec![begun(), begun()]),
        told(and(quiet(), [stopping("a")])),
        told(and(quiet(), [stopping("c"), stopping("d")])),
        told(and(quiet(), [round(2)])),
        told(and(quiet(), [round(1), Event::RoundDone { number: 2, done: 0, failed: 0 }])),
        told(and(quiet(), [Event::Union { crd: crd() }])),
        told(and(quiet(), [round(1), Event::Union { crd: crd() }, Event::Converged { rounds: 1 }])),
        told(and(quiet(), [round(1), Event::Narrowed { crd: crd() }])),
        told(and(quiet(), [Event::GivenUp { reason: Reason::Asked {} }, Event::Running {}])),
        told(and(quiet(), [Event::GivenUp { reason: Reason::Asked {} }, round(1)])),
        told(and(quiet(), [Event::GivenUp { reason: Reason::Asked {} }, started("a")])),
        told(half_way),
    ];
    insta::assert_snapshot!(texts.join("\n"), @r"
    `quiet` cannot come before anything: a journal begins with `begun`
    `begun` cannot come before the snapshot of now: it belongs to another stage
    `stopping` cannot come while the cluster converges: it is held already, and what it was is recorded once
    `stopping` cannot come while things are being stopped: what is in doubt is settled first
    `round` cannot come while the cluster converges: rounds are numbered from 1 without a gap
    `round-done` cannot come while the cluster converges: no such round is going on
    `union` cannot come while the cluster converges: a CRD's storage version is moved in a round
    `converged` cannot come while the cluster converges: a CRD is half-way
    `narrowed` cannot come while the cluster converges: the CRD is not that far
    `running` cannot come while things are being put back: something is still held
    `round` cannot come while things are being put back: it belongs to another stage
    `started` cannot come while things are being put back: no intent of it stands before
    `ended` cannot come after `running`: a CRD is half-way
    ");
}

#[test]
fn what_was_stopped_is_put_back_from_the_end_whatever_happened() {
    let state = after(&and(quiet(), [stopping("c"), Event::GivenUp { reason: Reason::Asked {} }]));
    let mut order = Vec::new();
    let mut state = state;
    while let Todo::Start(held) = state.todo() {
        state = next(Some(&state), &Event::Starting { item: held.item.clone() }).unwrap();
        // In doubt again: said twice is no harm.
        state = next(Some(&state), &Event::Starting { item: held.item.clone() }).unwrap();
        state = next(Some(&state), &Event::Started { item: held.item.clone() }).unwrap();
        order.push(held.item);
    }
    assert_eq!(order, [item("c"), item("b"), item("a")]);
    assert_eq!(state.todo(), Todo::Run);
}

#[test]
fn something_that_fights_and_comes_to_light_late_ends_the_quiet() {
    let events = and(quiet(), [round(1), Event::Converged { rounds: 1 }, stopping("c")]);
    let state = after(&events);
    assert_eq!((state.phase(), state.rounds()), (&Phase::Stopping, 1));
    assert!(matches!(state.todo(), Todo::FinishStopping(held) if held.item == item("c")));
    let state = after(&and(events, [stopped("c"), Event::Quiet {}, round(2)]));
    assert_eq!(state.held().iter().map(|held| held.item.clone()).collect::<Vec<_>>(), ["a", "b", "c"].map(item));
}

#[test]
fn a_half_way_crd_comes_before_the_next_round_and_before_anything_starts() {
    let union = and(quiet(), [round(1), Event::Union { crd: crd() }]);
    let settle = |step| Todo::SettleCrd { crd: crd(), step };
    assert_eq!(after(&union).todo(), settle(CrdStep::Union));
    // Also after a round that a kill ended, and from `narrowed` back to the union: the type turned unreadable.
    let narrowed = and(
        union,
        [
            Event::RoundDone { number: 1, done: 0, failed: 1 },
            Event::Rewritten { crd: crd(), objects: 1 },
            Event::Narrowed { crd: crd() },
        ],
    );
    assert_eq!(after(&narrowed).todo(), settle(CrdStep::Narrowed));
    assert_eq!(after(&and(narrowed.clone(), [Event::Union { crd: crd() }])).todo(), settle(CrdStep::Union));
    let given_up = and(narrowed.clone(), [Event::GivenUp { reason: Reason::CrdStuck { crd: crd() } }]);
    assert_eq!(after(&given_up).todo(), settle(CrdStep::Narrowed));
    assert_eq!(after(&and(narrowed, [Event::CrdDone { crd: crd() }])).todo(), Todo::Converge);
}
