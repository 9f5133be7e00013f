//! Two copies: torn, behind, unreachable, contended.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use snapback::journal::{Event, JournalError, JournalStore, OpenJournal, Phase, Purpose, TwoCopies, read_journal};
use snapback::store::backend::{Backend, LocalBackend, MemoryBackend};

use super::flaky::{Flaky, Mood};
use super::story::{HOLDER, TOOL, begun, done, id, lines, round, snapshot, things};

fn store(folder: &Path, backend: &Arc<dyn Backend>) -> Box<dyn JournalStore> {
    Box::new(TwoCopies::new(folder, Arc::clone(backend), id(1)))
}

fn file(folder: &Path) -> PathBuf {
    folder.join(format!("{}.jsonl", id(1)))
}

fn memory() -> Arc<dyn Backend> {
    Arc::new(MemoryBackend::default())
}

/// What the repository holds, in order.
async fn mirrored(backend: &Arc<dyn Backend>) -> Vec<u8> {
    let mut all = Vec::new();
    for (number, listed) in backend.list("journal/").await.unwrap().iter().enumerate() {
        assert_eq!(listed.name, format!("journal/{}/{number:020}.json", id(1)));
        all.extend(backend.read(&listed.name).await.unwrap());
    }
    all
}

async fn assert_same(folder: &Path, backend: &Arc<dyn Backend>, records: usize) {
    let here = std::fs::read(file(folder)).unwrap();
    assert_eq!(here.split_inclusive(|byte| *byte == b'\n').count(), records);
    assert!(here == mirrored(backend).await, "the copies differ");
}

#[tokio::test]
async fn a_journal_is_stored_twice_and_private() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("state/snapback/journal");
    let backend: Arc<dyn Backend> = Arc::new(LocalBackend::new(folder.path().join("repository")));
    backend.probe().await.unwrap();
    let mut journal = OpenJournal::begin(store(&at, &backend), begun(Purpose::Rollback)).await.unwrap();
    for event in done().into_iter().skip(1) {
        journal.append(event).await.unwrap();
    }
    assert_eq!(journal.unmirrored(), 0);
    assert_same(&at, &backend, done().len()).await;
    for folder in [at.as_path(), at.parent().unwrap(), &folder.path().join("repository/journal")] {
        assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o777, 0o700, "{}", folder.display());
    }
    assert_eq!(file(&at).metadata().unwrap().permissions().mode() & 0o777, 0o600);

    let chain = read_journal(Some(&at), &*backend, &id(1)).await.unwrap();
    assert_eq!(chain.records().iter().map(|record| record.event.clone()).collect::<Vec<_>>(), done());
    assert_eq!(chain.state(), Some(journal.state()));
    drop(journal);
    // What has begun does not begin again, what is over does not go on, and what is not there does neither.
    let again = OpenJournal::begin(store(&at, &backend), begun(Purpose::Rollback)).await;
    assert!(matches!(again, Err(JournalError::Begun { .. })), "{again:?}");
    let more = OpenJournal::resume(store(&at, &backend), TOOL, HOLDER).await;
    assert!(matches!(more, Err(JournalError::Ended { .. })), "{more:?}");
    let nothing = OpenJournal::resume(store(&at, &memory()), TOOL, HOLDER).await;
    assert!(matches!(nothing, Err(JournalError::Ended { .. })), "{nothing:?}");
    let elsewhere = folder.path().join("elsewhere");
    let nothing = OpenJournal::resume(store(&elsewhere, &memory()), TOOL, HOLDER).await;
    assert!(matches!(nothing, Err(JournalError::Missing { .. })), "{nothing:?}");
    assert!(!elsewhere.exists());
    let nothing = read_journal(Some(&elsewhere), &*memory(), &id(1)).await;
    assert!(matches!(nothing, Err(JournalError::Missing { .. })), "{nothing:?}");
}

#[tokio::test]
async fn an_illegal_event_is_refused_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let backend = memory();
    let mut journal = OpenJournal::begin(store(folder.path(), &backend), begun(Purpose::Rollback)).await.unwrap();
    let (item, was) = things().remove(0);
    let refused = journal.append(Event::Stopping { item, was }).await.unwrap_err();
    let source = std::error::Error::source(&refused).unwrap().to_string();
    assert_eq!(source, "`stopping` cannot come before the snapshot of now: it belongs to another stage");
    assert_same(folder.path(), &backend, 1).await;
    journal.append(Event::Saved { before: snapshot(42) }).await.unwrap();
    assert_same(folder.path(), &backend, 2).await;
}

#[tokio::test]
async fn a_torn_last_line_is_dropped_and_nothing_else_is() {
    let all = lines(&id(1), &done()[..5]);
    let (whole, last) = (all[..4].concat(), &all[4]);
    let folder = tempfile::tempdir().unwrap();
    let backend = memory();
    for cut in 0..last.len() {
        std::fs::write(file(folder.path()), [&whole, &last[..cut]].concat()).unwrap();
        let chain = read_journal(Some(folder.path()), &*backend, &id(1)).await.unwrap();
        assert_eq!(chain.len(), 4, "cut at {cut}");
        if cut % 97 == 1 {
            let backend = memory();
            let mut journal = OpenJournal::resume(store(folder.path(), &backend), TOOL, HOLDER).await.unwrap();
            assert_eq!(journal.records().len(), 5);
            journal.append(done()[4].clone()).await.unwrap();
            assert_same(folder.path(), &backend, 6).await;
        }
    }
    // The repository has it: then it was durable once, and comes back.
    let backend = memory();
    std::fs::write(file(folder.path()), all.concat()).unwrap();
    store(folder.path(), &backend).load().await.unwrap();
    std::fs::write(file(folder.path()), [&whole, &last[..9]].concat()).unwrap();
    assert_eq!(store(folder.path(), &backend).load().await.unwrap(), all);
    assert_same(folder.path(), &backend, 5).await;
    // A torn line in the middle is no torn line.
    let torn = [&all[..3].concat(), &all[3][..9], last].concat();
    std::fs::write(file(folder.path()), torn).unwrap();
    let refused = store(folder.path(), &memory()).load().await;
    assert!(matches!(refused, Err(JournalError::Unreliable { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_repository_that_fails_costs_nothing_and_is_caught_up_with() {
    for mood in [Mood::Down, Mood::Unclear] {
        let folder = tempfile::tempdir().unwrap();
        let inner = memory();
        let flaky = Flaky::new(&inner, file(folder.path()));
        let backend: Arc<dyn Backend> = flaky.clone();
        let mut journal = OpenJournal::begin(store(folder.path(), &backend), begun(Purpose::Rollback)).await.unwrap();
        flaky.is(mood);
        journal.append(Event::Saved { before: snapshot(42) }).await.unwrap();
        journal.append(Event::Quiet {}).await.unwrap();
        // An answer that was lost is not taken for success; what is there already is no obstacle later.
        assert_eq!(journal.unmirrored(), if mood == Mood::Down { 2 } else { 1 }, "{mood:?}");
        if mood == Mood::Down {
            assert!(matches!(journal.catch_up().await, Err(JournalError::Backend(_))));
        }
        flaky.is(Mood::Well);
        journal.append(round(1)).await.unwrap();
        assert_eq!(journal.unmirrored(), 0);
        assert_same(folder.path(), &backend, 4).await;

        // Down to the end of the process: the next one catches up, or goes on without.
        flaky.is(Mood::Down);
        journal.append(Event::RoundDone { number: 1, done: 650, failed: 0 }).await.unwrap();
        drop(journal);
        let journal = OpenJournal::resume(store(folder.path(), &backend), TOOL, HOLDER).await.unwrap();
        assert_eq!((journal.records().len(), journal.unmirrored()), (6, 2));
        flaky.is(Mood::Well);
        drop(journal);
        store(folder.path(), &backend).load().await.unwrap();
        assert_same(folder.path(), &backend, 6).await;
    }
}

#[tokio::test]
async fn another_machine_goes_on_and_the_first_one_is_told() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [first, second] = [folders[0].path(), folders[1].path()];
    let backend = memory();
    let mut old = OpenJournal::begin(store(first, &backend), begun(Purpose::Rollback)).await.unwrap();
    old.append(Event::Saved { before: snapshot(42) }).await.unwrap();
    let mut new = OpenJournal::resume(store(second, &backend), TOOL, HOLDER).await.unwrap();
    assert_eq!((new.state().phase(), new.state().resumed()), (&Phase::Stopping, 1));

    let told = old.append(Event::Quiet {}).await.unwrap_err();
    let expected = format!(
        "somebody else continued transaction {}: `journal/{}/00000000000000000002.json` is another record 2",
        id(1),
        id(1)
    );
    assert_eq!(told.to_string(), expected);
    let told = old.append(Event::Quiet {}).await;
    assert!(matches!(told, Err(JournalError::Unsure { .. })), "{told:?}");
    new.append(Event::Quiet {}).await.unwrap();
    assert_same(second, &backend, 4).await;
    drop((old, new));
    // What the first machine wrote in vain was taken back: it can take over again.
    let mut old = OpenJournal::resume(store(first, &backend), TOOL, HOLDER).await.unwrap();
    old.append(round(1)).await.unwrap();
    assert_same(first, &backend, 6).await;
}

#[tokio::test]
async fn copies_that_go_different_ways_are_a_conflict_that_names_both() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [first, second] = [folders[0].path(), folders[1].path()];
    let inner = memory();
    let flaky = Flaky::new(&inner, file(first));
    let seen: Arc<dyn Backend> = flaky.clone();
    let mut old = OpenJournal::begin(store(first, &seen), begun(Purpose::Rollback)).await.unwrap();
    flaky.is(Mood::Down);
    old.append(Event::Saved { before: snapshot(42) }).await.unwrap();
    let new = OpenJournal::resume(store(second, &inner), TOOL, HOLDER).await.unwrap();
    flaky.is(Mood::Well);
    // It did something that the other one knows nothing of: that cannot be taken back.
    let told = old.append(Event::Quiet {}).await;
    assert!(matches!(told, Err(JournalError::Taken { number: 1, .. })), "{told:?}");
    drop((old, new));
    let conflict = OpenJournal::resume(store(first, &seen), TOOL, HOLDER).await.unwrap_err();
    let local = file(first);
    let expected = format!(
        "the copies of transaction {} differ from record 1 on: `{}` and `journal/{}/00000000000000000001.json`",
        id(1),
        local.display(),
        id(1)
    );
    assert_eq!(conflict.to_string(), expected);
    let conflict = read_journal(Some(first), &*seen, &id(1)).await;
    assert!(matches!(conflict, Err(JournalError::Conflict { number: 1, .. })), "{conflict:?}");
    // The other one is not held up.
    assert!(OpenJournal::resume(store(second, &inner), TOOL, HOLDER).await.is_ok());
}

#[tokio::test]
async fn two_processes_of_one_machine_never_both_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let backend = memory();
    let first = OpenJournal::begin(store(folder.path(), &backend), begun(Purpose::Rollback)).await.unwrap();
    let second = OpenJournal::resume(store(folder.path(), &backend), TOOL, HOLDER).await.unwrap_err();
    assert_eq!(second.to_string(), format!("another process holds `{}`", file(folder.path()).display()));
    // Looking is allowed.
    assert_eq!(read_journal(Some(folder.path()), &*backend, &id(1)).await.unwrap().len(), 1);
    drop(first);
    assert!(OpenJournal::resume(store(folder.path(), &backend), TOOL, HOLDER).await.is_ok());

    // Both saw that the file was not there yet: the second one finds it made and written to.
    let folder = tempfile::tempdir().unwrap();
    let mut stores = [store(folder.path(), &backend), store(folder.path(), &memory())];
    stores[1].load().await.unwrap();
    stores[0].load().await.unwrap();
    let refused = stores[1].append(0, b"x\n").await;
    assert!(matches!(refused, Err(JournalError::Busy { .. })), "{refused:?}");
}

#[tokio::test]
async fn after_a_failed_append_only_a_new_reader_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let backend = memory();
    let full = super::countdown::Countdown::new(store(folder.path(), &backend), 1, super::countdown::Side::Before);
    let mut journal = OpenJournal::begin(full, begun(Purpose::Rollback)).await.unwrap();
    let killed = journal.append(Event::Saved { before: snapshot(42) }).await.unwrap_err();
    assert!(super::countdown::is_killed(&killed));
    assert_eq!(journal.state().before(), None, "the state is that of the durable records");
    let next = journal.append(Event::Saved { before: snapshot(42) }).await.unwrap_err();
    assert!(next.to_string().ends_with("may be written or not; it has to be opened again"), "{next}");
}
