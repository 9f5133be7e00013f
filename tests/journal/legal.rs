//! Any legal sequence of events, found by walking at random: it keeps the promises, and it survives storage.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use snapback::journal::{
    Chain, Event, Held, JournalStore, Outcome, Prior, Purpose, Reason, State, TwoCopies, next, read_journal,
};
use snapback::store::backend::{Backend, Content, MemoryBackend};

use super::story::{HOLDER, TOOL, begun, id, lines, round, snapshot, things};

/// Everything that could be said next, legal or not.
fn sayings(state: &State) -> Vec<Event> {
    let crd = |n| format!("crd-{n}");
    let mut all = vec![
        Event::Begun(begun(Purpose::Undo)),
        Event::Resumed { tool: TOOL.to_owned(), holder: HOLDER.to_owned() },
        Event::Saved { before: snapshot(42) },
        Event::Quiet {},
        round(state.rounds()),
        round(state.rounds() + 1),
        round(state.rounds() + 2),
        Event::RoundDone { number: state.rounds(), done: 1, failed: 0 },
        Event::RoundDone { number: state.rounds() + 1, done: 1, failed: 0 },
        Event::Converged { rounds: state.rounds() },
        Event::Converged { rounds: state.rounds() + 1 },
        Event::ProvenQuiet { unexplained: 1 },
        Event::Running {},
    ];
    for (item, was) in things().into_iter().take(3) {
        all.push(Event::Stopping { item: item.clone(), was });
        all.push(Event::Stopping { item: item.clone(), was: Prior::Replicas(Some(0)) });
        all.push(Event::Stopped { item: item.clone() });
        all.push(Event::Starting { item: item.clone() });
        all.push(Event::Started { item });
    }
    for crd in [crd(1), crd(2)] {
        all.push(Event::Union { crd: crd.clone() });
        all.push(Event::Rewritten { crd: crd.clone(), objects: 3 });
        all.push(Event::Narrowed { crd: crd.clone() });
        all.push(Event::CrdDone { crd: crd.clone() });
        all.push(Event::CrdReverted { crd });
    }
    for unexplained in [0, 2] {
        all.push(Event::Proven { unexplained });
        all.push(Event::Ended { outcome: Outcome::Unproven { unexplained } });
    }
    let (reason, other) = (Reason::Asked {}, Reason::NotSaved {});
    all.push(Event::GivenUp { reason: reason.clone() });
    all.push(Event::Ended { outcome: Outcome::Done {} });
    all.push(Event::Ended { outcome: Outcome::Failed { reason } });
    all.push(Event::Ended { outcome: Outcome::Failed { reason: other } });
    all
}

/// A legal sequence, one choice for each event; `None` chosen gives up.
fn walk(choices: &[prop::sample::Index]) -> Vec<Event> {
    let first = Event::Begun(begun(Purpose::Rollback));
    let mut state = next(None, &first).unwrap();
    let mut events = vec![first];
    for choice in choices {
        let legal: Vec<(Event, State)> = sayings(&state)
            .into_iter()
            .filter_map(|event| Some((event.clone(), next(Some(&state), &event).ok()?)))
            .collect();
        if legal.is_empty() {
            break;
        }
        let (event, after) = legal[choice.index(legal.len())].clone();
        // Most walks should see the later stages of a transaction that was not given up.
        if matches!(event, Event::GivenUp { .. }) && !choice.index(1000).is_multiple_of(10) {
            continue;
        }
        events.push(event);
        state = after;
    }
    events
}

/// The promises, checked without the function that is to keep them.
fn check_promises(events: &[Event]) {
    let (mut held, mut known): (BTreeSet<&Held>, BTreeSet<&Held>) = Default::default();
    let mut doubt: Option<&Held> = None;
    let mut crds: BTreeMap<&str, &str> = BTreeMap::new();
    let (mut rounds, mut saved, mut given_up, mut proven, mut quiet) = (0, false, None, None, false);
    for (at, event) in events.iter().enumerate() {
        assert_eq!(matches!(event, Event::Begun(_)), at == 0);
        match event {
            Event::Saved { .. } => {
                assert!(!saved, "two snapshots of now");
                saved = true;
            }
            Event::Stopping { item, .. } => {
                assert!(saved && doubt.is_none() && known.insert(item), "{item} was stopped twice, or too early");
                held.insert(item);
                (doubt, quiet) = (Some(item), false);
            }
            Event::Stopped { item } => {
                assert_eq!(doubt, Some(item));
                doubt = None;
            }
            Event::Quiet {} => {
                assert!(doubt.is_none());
                quiet = true;
            }
            Event::Round { number, .. } => {
                rounds += 1;
                assert!(quiet && saved && given_up.is_none() && *number == rounds);
            }
            Event::Union { crd } => drop(crds.insert(crd, "union")),
            Event::Rewritten { crd, .. } => assert!(crds.insert(crd, "rewritten").is_some()),
            Event::Narrowed { crd } => assert_eq!(crds.insert(crd, "narrowed"), Some("rewritten")),
            Event::CrdDone { crd } => assert_eq!(crds.remove(crd.as_str()), Some("narrowed")),
            Event::CrdReverted { crd } => assert!(crds.remove(crd.as_str()).is_some()),
            Event::Converged { .. } => assert!(crds.is_empty() && quiet),
            Event::GivenUp { reason } => given_up = Some(reason),
            Event::Starting { item } => {
                assert!(held.contains(item));
                quiet = false;
            }
            Event::Started { item } => assert!(held.remove(item)),
            Event::Running {} => assert!(held.is_empty(), "it runs, and something is held"),
            Event::Proven { unexplained } => proven = Some(*unexplained),
            Event::Ended { outcome } => {
                assert!(held.is_empty() && crds.is_empty() && at + 1 == events.len());
                let implied = match (given_up, proven) {
                    (Some(reason), None) => Outcome::Failed { reason: reason.clone() },
                    (None, Some(0)) => Outcome::Done {},
                    (None, Some(unexplained)) => Outcome::Unproven { unexplained },
                    _ => panic!("no reason to end: {events:?}"),
                };
                assert_eq!(*outcome, implied);
            }
            Event::Begun(_) | Event::Resumed { .. } | Event::RoundDone { .. } | Event::ProvenQuiet { .. } => {}
        }
    }
}

fn fold(events: &[Event]) -> Option<State> {
    events.iter().fold(None, |state, event| Some(next(state.as_ref(), event).unwrap()))
}

/// A copy for each machine: what one holds of a journal when the other one, or both, stopped at some record.
async fn recover(lines: &[Vec<u8>], here: usize, there: usize) -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let backend: Arc<dyn Backend> = Arc::new(MemoryBackend::default());
    if here > 0 {
        std::fs::write(folder.path().join(format!("{}.jsonl", id(1))), lines[..here].concat()).unwrap();
    }
    for (number, line) in lines[..there].iter().enumerate() {
        backend.create(&format!("journal/{}/{number:020}.json", id(1)), Content::Bytes(line)).await.unwrap();
    }
    let seen = read_journal(Some(folder.path()), &*backend, &id(1)).await;
    let mut store = TwoCopies::new(folder.path(), Arc::clone(&backend), id(1));
    let loaded = store.load().await.unwrap();
    assert_eq!(seen.map_or(0, |chain| chain.len()), loaded.len() as u64);
    assert_eq!((store.unmirrored(), backend.list("").await.unwrap().len()), (0, loaded.len()));
    let local = std::fs::read(folder.path().join(format!("{}.jsonl", id(1)))).unwrap_or_default();
    assert_eq!(local, loaded.concat());
    loaded
}

/// What the walks below do not reach, they do not test.
#[test]
fn the_walks_reach_every_kind_of_event_and_every_outcome() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let choices = prop::collection::vec(any::<prop::sample::Index>(), 80);
    let (mut kinds, mut ends) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..60 {
        let events = walk(&choices.new_tree(&mut runner).unwrap().current());
        kinds.extend(events.iter().map(Event::kind));
        if let Some(Event::Ended { outcome }) = events.last() {
            ends.insert(serde_json::to_string(outcome).unwrap());
        }
    }
    assert_eq!((kinds.len(), ends.len()), (21, 3), "{kinds:?} {ends:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn every_legal_walk_keeps_the_promises_and_folds(choices in prop::collection::vec(any::<prop::sample::Index>(), 0..80)) {
        let events = walk(&choices);
        check_promises(&events);
        let lines = lines(&id(1), &events);
        let chain = Chain::read(&id(1), &lines).unwrap();
        prop_assert_eq!(chain.state().cloned(), fold(&events));
        prop_assert_eq!(chain.records().iter().map(|record| record.event.clone()).collect::<Vec<_>>(), events);
        // Nothing but an event of the pool ends it, and nothing follows the end.
        let state = chain.state().unwrap();
        prop_assert_eq!(sayings(state).iter().all(|event| next(Some(state), event).is_err()), state.ended().is_some());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn whichever_copy_is_longer_gives_the_state(
        choices in prop::collection::vec(any::<prop::sample::Index>(), 0..60), here: prop::sample::Index, there: prop::sample::Index
    ) {
        let events = walk(&choices);
        let lines = lines(&id(1), &events);
        let (here, there) = (here.index(lines.len() + 1), there.index(lines.len() + 1));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let loaded = runtime.block_on(recover(&lines, here, there));
        let longer = here.max(there);
        prop_assert_eq!(&loaded, &lines[..longer]);
        let chain = Chain::read(&id(1), &loaded).unwrap();
        prop_assert_eq!(chain.state().cloned(), fold(&events[..longer]));
    }
}
