//! The kill matrix of the journal by itself: a small world that fights back, and a driver that knows only `todo()`.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};

use async_trait::async_trait;
use snapback::journal::{
    Chain, CrdStep, Event, Held, JournalError, JournalStore, OpenJournal, Outcome, Phase, Prior, Purpose, Reason,
    State, Todo, TransactionId, next,
};

use super::countdown::{Countdown, Side, is_killed};
use super::story::{HOLDER, TOOL, begun, id, snapshot, things};

const CRD: &str = "backups.velero.io";

/// What is outside, and stays as it is when a process dies.
#[derive(Clone, Debug, PartialEq)]
struct World {
    /// What runs, and how: `Prior::Replicas(Some(0))` is stopped.
    fighters: BTreeMap<Held, Prior>,
    /// The last of them is a CRD.
    differences: u32,
    crd: Option<CrdStep>,
    /// Never given to the CRD by this cluster's API server.
    crd_refused: bool,
}

const STILL: Prior = Prior::Replicas(Some(0));

impl World {
    fn new(crd_refused: bool) -> Self {
        let fighters = things().into_iter().take(3).collect();
        Self { fighters, differences: 3, crd: None, crd_refused }
    }

    fn is_quiet(&self) -> bool {
        self.fighters.values().all(|how| *how == STILL)
    }

    /// Anything that runs puts back what it wants.
    fn fight(&mut self) {
        if !self.is_quiet() {
            self.differences = 3;
        }
    }
}

/// Goes on with whatever there is, from the journal and the world alone.
async fn drive(store: Box<dyn JournalStore>, exists: bool, world: &mut World) -> Result<State, JournalError> {
    let mut journal = if exists {
        OpenJournal::resume(store, TOOL, HOLDER).await?
    } else {
        OpenJournal::begin(store, begun(Purpose::Rollback)).await?
    };
    loop {
        match journal.state().todo() {
            Todo::Save => journal.append(Event::Saved { before: snapshot(42) }).await?,
            Todo::FinishStopping(held) => {
                world.fighters.insert(held.item.clone(), STILL);
                journal.append(Event::Stopped { item: held.item }).await?;
            }
            Todo::Stop => {
                let held: Vec<Held> = journal.state().held().iter().map(|held| held.item.clone()).collect();
                let mut fighters = world.fighters.clone().into_iter();
                match fighters.find(|(item, _)| !held.contains(item)) {
                    Some((item, was)) => {
                        journal.append(Event::Stopping { item: item.clone(), was }).await?;
                        world.fighters.insert(item.clone(), STILL);
                        journal.append(Event::Stopped { item }).await?;
                    }
                    None => journal.append(Event::Quiet {}).await?,
                }
            }
            Todo::Converge if world.differences == 0 => {
                journal.append(Event::Converged { rounds: journal.state().rounds() }).await?;
            }
            Todo::Converge => {
                assert!(world.is_quiet(), "something fights while the cluster converges");
                let number = journal.state().rounds() + 1;
                journal.append(super::story::round(number)).await?;
                if world.differences > 1 {
                    world.differences -= 1;
                } else {
                    journal.append(Event::Union { crd: CRD.to_owned() }).await?;
                    world.crd = Some(CrdStep::Union);
                }
                journal.append(Event::RoundDone { number, done: 1, failed: 0 }).await?;
            }
            Todo::SettleCrd { crd, .. } if world.crd_refused && journal.state().given_up().is_none() => {
                journal.append(Event::GivenUp { reason: Reason::CrdStuck { crd } }).await?;
            }
            Todo::SettleCrd { crd, .. } if world.crd_refused => {
                world.crd = None;
                journal.append(Event::CrdReverted { crd }).await?;
            }
            Todo::SettleCrd { crd, step: CrdStep::Union } => {
                world.crd = Some(CrdStep::Rewritten);
                journal.append(Event::Rewritten { crd, objects: 12 }).await?;
            }
            Todo::SettleCrd { crd, step: CrdStep::Rewritten } => {
                journal.append(Event::Narrowed { crd }).await?;
                world.crd = Some(CrdStep::Narrowed);
            }
            Todo::SettleCrd { crd, step: CrdStep::Narrowed } => {
                (world.crd, world.differences) = (None, 0);
                journal.append(Event::CrdDone { crd }).await?;
            }
            Todo::ProveQuiet => journal.append(Event::ProvenQuiet { unexplained: 0 }).await?,
            Todo::Start(held) => {
                journal.append(Event::Starting { item: held.item.clone() }).await?;
                world.fighters.insert(held.item.clone(), held.was);
                journal.append(Event::Started { item: held.item }).await?;
            }
            Todo::Run => journal.append(Event::Running {}).await?,
            Todo::Prove => journal.append(Event::Proven { unexplained: u64::from(world.differences) }).await?,
            Todo::End(outcome) => journal.append(Event::Ended { outcome }).await?,
            Todo::Nothing => return Ok(journal.state().clone()),
        }
        // What the platform does by itself between two steps; what was converged stays so once it was proven.
        if matches!(journal.state().phase(), Phase::Stopping | Phase::Converging) {
            world.fight();
        }
    }
}

/// Lines that outlive the process. (On a disk, thousands of fsyncs: what a disk adds is in `copies`.)
#[derive(Clone, Debug, Default)]
struct Lines(Arc<Mutex<Vec<Vec<u8>>>>);

#[async_trait]
impl JournalStore for Lines {
    fn transaction(&self) -> &TransactionId {
        static ID: LazyLock<TransactionId> = LazyLock::new(|| id(1));
        &ID
    }

    async fn load(&mut self) -> Result<Vec<Vec<u8>>, JournalError> {
        Ok(self.0.lock().unwrap().clone())
    }

    async fn append(&mut self, number: u64, line: &[u8]) -> Result<(), JournalError> {
        let mut lines = self.0.lock().unwrap();
        assert_eq!(number, lines.len() as u64);
        lines.push(line.to_vec());
        Ok(())
    }

    fn unmirrored(&self) -> u64 {
        0
    }

    async fn catch_up(&mut self) -> Result<(), JournalError> {
        Ok(())
    }
}

/// Kills at each record, on each side, once or again and again; then lets the last one finish.
async fn matrix(crd_refused: bool, outcome: Outcome) {
    let (whole, mut unharmed) = (Lines::default(), World::new(crd_refused));
    let end = drive(Box::new(whole.clone()), false, &mut unharmed).await.unwrap();
    let records = whole.0.lock().unwrap().len();
    assert_eq!(end.ended(), Some(&outcome));
    assert_eq!(unharmed.fighters, World::new(false).fighters, "what was stopped is not as it was");
    assert_eq!(unharmed.crd, None);

    for side in [Side::Before, Side::After] {
        for again in [false, true] {
            for kill in 0..records {
                let (lines, mut world) = (Lines::default(), World::new(crd_refused));
                let mut deaths = 0;
                let found = loop {
                    let exists = !lines.0.lock().unwrap().is_empty();
                    let store = Box::new(lines.clone());
                    // A process that always dies at its first record after `resumed` still comes further each time.
                    let store = match deaths {
                        0 => Countdown::new(store, kill, side) as Box<dyn JournalStore>,
                        1..8 if again => Countdown::new(store, 1 + deaths % 3, side),
                        _ => store,
                    };
                    match drive(store, exists, &mut world).await {
                        Ok(state) => break state,
                        Err(error) if is_killed(&error) => deaths += 1,
                        Err(JournalError::Ended { .. }) => {
                            let chain = Chain::read(&id(1), &lines.0.lock().unwrap()).unwrap();
                            break chain.state().cloned().unwrap();
                        }
                        Err(error) => panic!("{side:?} {kill}: {error:?}"),
                    }
                };
                assert!(deaths > 0);
                assert_eq!(found.ended(), Some(&outcome), "{side:?} {kill}");
                assert_eq!(world, unharmed, "{side:?} {kill}");
            }
        }
    }
}

#[tokio::test]
async fn killed_at_any_record_it_ends_in_the_same_state() {
    matrix(false, Outcome::Done {}).await;
}

#[tokio::test]
async fn killed_at_any_record_what_was_given_up_starts_everything_again() {
    matrix(true, Outcome::Failed { reason: Reason::CrdStuck { crd: CRD.to_owned() } }).await;
}

#[test]
fn what_it_was_before_comes_from_the_first_record_only() {
    let (item, was) = things().remove(0);
    let events = [
        Event::Begun(begun(Purpose::Rollback)),
        Event::Saved { before: snapshot(42) },
        Event::Stopping { item: item.clone(), was: was.clone() },
    ];
    let state = events.iter().fold(None, |state, event| Some(next(state.as_ref(), event).unwrap())).unwrap();
    assert_eq!(state.in_doubt().map(|held| (&held.item, &held.was)), Some((&item, &was)));
    // Whoever goes on finds it stopped, and must not write down that it always was.
    let again = next(Some(&state), &Event::Stopping { item, was: STILL }).unwrap_err();
    assert_eq!(again.rule, "what is in doubt is settled first");
}
