//! I1, I2: whatever fails, dies or interferes at whichever store operation, what was committed restores, what was
//! promised is there, and the next backup needs no repair.

use std::sync::Arc;

use snapback::maintain::verify::{VerifyLevel, VerifyOptions, verify};
use snapback::progress::Silent;
use snapback::store::backend::{Backend, LocalBackend, MemoryBackend};
use snapback::store::{ContentHash, Repository, Snapshot, StoreError};

use super::fault::{Fault, FaultBackend};
use super::sample::{Files, back_up, files, restore};

fn content(state: &str) -> Files {
    files(&[("cluster/a.json", "stays"), ("cluster/b.json", state), ("files/c", "stays too")])
}

/// Both kinds of place, fresh.
fn place(local: bool, folder: &tempfile::TempDir, number: usize) -> Arc<dyn Backend> {
    if local {
        Arc::new(LocalBackend::new(folder.path().join(number.to_string())))
    } else {
        Arc::new(MemoryBackend::default())
    }
}

/// Every live snapshot restores to the content that `known` gives it, and nothing is damaged.
async fn all_restores(place: &Arc<dyn Backend>, known: &[(ContentHash, Files)], what: &str) -> Vec<Snapshot> {
    let repository = Repository::open(Arc::clone(place)).await.unwrap();
    let history = repository.history().await.unwrap();
    assert!(history.problems().is_empty(), "{what}: {:?}", history.problems());
    for snapshot in history.snapshots() {
        let found = restore(Arc::clone(place), snapshot).await;
        let found = found.unwrap_or_else(|error| panic!("{what}: #{} is lost: {error}", snapshot.number));
        let wanted: Vec<&Files> =
            known.iter().filter(|(id, _)| *id == snapshot.body.root).map(|(_, files)| files).collect();
        assert!(wanted.is_empty() || wanted.contains(&&found), "{what}: #{} has other content", snapshot.number);
    }
    let options = VerifyOptions { level: VerifyLevel::Objects, remembered: history.head() };
    let report = verify(Arc::clone(place), &options, &Silent).await.unwrap();
    assert!(report.is_sound(), "{what}: {report:?}");
    history.snapshots().to_vec()
}

/// Runs one backup over a plan of faults, and then checks everything.
async fn survive(place: Arc<dyn Backend>, plan: Vec<(usize, Fault)>) -> (usize, Result<Snapshot, StoreError>) {
    let what = format!("{plan:?}");
    Repository::init(Arc::clone(&place)).await.unwrap();
    let first = back_up(Arc::clone(&place), &content("old")).await.unwrap();
    let mut known = vec![(first.body.root, content("old"))];
    let faulty = FaultBackend::new(Arc::clone(&place), plan);
    let outcome = back_up(faulty.clone(), &content("new")).await;
    faulty.land_late_writes().await;
    if let Ok(snapshot) = &outcome {
        known.push((snapshot.body.root, content("new")));
        let head = Repository::open(Arc::clone(&place)).await.unwrap().history().await.unwrap();
        let there = head.snapshots().iter().any(|other| other.number == snapshot.number && other.id == snapshot.id);
        assert!(
            there || head.is_forgotten(snapshot.number),
            "{what}: success was reported, and #{} is not there",
            snapshot.number
        );
    }
    all_restores(&place, &known, &what).await;
    let next = back_up(Arc::clone(&place), &content("next")).await;
    let next = next.unwrap_or_else(|error| panic!("{what}: the next backup failed: {error}"));
    known.push((next.body.root, content("next")));
    let live = all_restores(&place, &known, &what).await;
    assert!(live.iter().any(|snapshot| snapshot.id == next.id), "{what}");
    let twice = live.iter().filter(|snapshot| outcome.as_ref().is_ok_and(|done| done.id == snapshot.id)).count();
    assert!(twice <= 1, "{what}: committed twice");
    (faulty.operations(), outcome)
}

#[tokio::test]
async fn a_backup_survives_every_fault_at_every_operation() {
    let folder = tempfile::tempdir().unwrap();
    for local in [false, true] {
        let (operations, outcome) = survive(place(local, &folder, 0), Vec::new()).await;
        assert!(outcome.is_ok() && operations > 10, "{operations}");
        let mut number = 0;
        let (mut done, mut failed) = (0, 0);
        for at in 0..operations {
            for fault in [
                Fault::NotApplied,
                Fault::AppliedButError,
                Fault::Torn,
                Fault::Late,
                Fault::Full,
                Fault::CrashBefore,
                Fault::CrashAfter,
            ] {
                number += 1;
                let (_, outcome) = survive(place(local, &folder, number), vec![(at, fault)]).await;
                *(if outcome.is_ok() { &mut done } else { &mut failed }) += 1;
            }
        }
        assert!(done > 10 && failed > 10, "{done} went through, {failed} failed");
    }
}

#[tokio::test]
async fn other_machines_may_commit_or_prune_at_every_operation() {
    let folder = tempfile::tempdir().unwrap();
    let (operations, _) = survive(place(false, &folder, 0), Vec::new()).await;
    for at in 0..operations {
        let (_, outcome) = survive(place(false, &folder, 0), vec![(at, Fault::OtherBackup)]).await;
        outcome.unwrap_or_else(|error| panic!("another backup at {at}: {error}"));
        for then in at..operations + 12 {
            let plan = vec![(at, Fault::ForgetAndMark), (then, Fault::Sweep)];
            let (_, outcome) = survive(place(false, &folder, 0), plan).await;
            outcome.unwrap_or_else(|error| panic!("a prune from {at} to {then}: {error}"));
        }
    }
}

#[tokio::test]
async fn an_unclear_log_put_under_interference_is_never_committed_twice() {
    let folder = tempfile::tempdir().unwrap();
    let (operations, _) = survive(place(false, &folder, 0), Vec::new()).await;
    for at in 0..operations {
        // A put that lands when its writer has given up: between the tries lies a read each.
        let tries = (1..5).map(|n| (at + 2 * n, Fault::NotApplied));
        let plan = std::iter::once((at, Fault::Late)).chain(tries).collect();
        let (_, _outcome) = survive(place(false, &folder, 0), plan).await;
        for fault in [Fault::AppliedButError, Fault::NotApplied, Fault::Late] {
            for then in [at, at + 1, at + 2] {
                for other in [Fault::OtherBackup, Fault::ForgetAndMark] {
                    let (_, _outcome) = survive(place(false, &folder, 0), vec![(at, fault), (then, other)]).await;
                }
            }
        }
    }
}

#[tokio::test]
async fn an_interrupted_init_can_be_run_again() {
    let folder = tempfile::tempdir().unwrap();
    for local in [false, true] {
        let faulty = FaultBackend::new(place(local, &folder, 1000), Vec::new());
        Repository::init(faulty.clone()).await.unwrap();
        for at in 0..faulty.operations() {
            for fault in [Fault::CrashBefore, Fault::CrashAfter] {
                let place = place(local, &folder, 2000 + at * 2 + usize::from(fault == Fault::CrashAfter));
                let outcome = Repository::init(FaultBackend::new(Arc::clone(&place), vec![(at, fault)])).await;
                match Repository::open(Arc::clone(&place)).await {
                    Ok(_) => {}
                    Err(error) => {
                        assert!(outcome.is_err());
                        let typed = matches!(
                            error,
                            StoreError::Missing { .. }
                                | StoreError::HalfWritten { .. }
                                | StoreError::NotARepository { .. }
                        );
                        assert!(typed, "{at} {fault:?}: {error:?}");
                        Repository::init(Arc::clone(&place)).await.unwrap();
                    }
                }
                let snapshot = back_up(Arc::clone(&place), &content("x")).await.unwrap();
                assert_eq!(snapshot.number, 1);
                all_restores(&place, &[], "after init").await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixteen_writers_end_in_one_dense_log() {
    let folder = tempfile::tempdir().unwrap();
    for local in [false, true] {
        let place = place(local, &folder, 5000);
        Repository::init(Arc::clone(&place)).await.unwrap();
        let tasks: Vec<_> = (0..16)
            .map(|number| {
                let place = Arc::clone(&place);
                tokio::spawn(async move {
                    let content = content(&format!("of writer {number}"));
                    (back_up(place, &content).await.unwrap(), content)
                })
            })
            .collect();
        let mut known = Vec::new();
        let mut numbers = Vec::new();
        for task in tasks {
            let (snapshot, content) = task.await.unwrap();
            numbers.push(snapshot.number);
            known.push((snapshot.body.root, content));
        }
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=16).collect::<Vec<u64>>());
        assert_eq!(all_restores(&place, &known, "16 writers").await.len(), 16);
    }
}
