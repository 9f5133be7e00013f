//! One damaged copy: what the other one is good for, and what neither is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use snapback::journal::{JournalError, JournalStore, OpenJournal, Outcome, Place, TwoCopies, list, read_journal};
use snapback::store::backend::{Backend, Content, MemoryBackend};

use super::story::{CLUSTER, HOLDER, TOOL, done, id, lines};

fn file(folder: &Path) -> PathBuf {
    folder.join(format!("{}.jsonl", id(1)))
}

fn name(number: usize) -> String {
    format!("journal/{}/{number:020}.json", id(1))
}

/// Goes on. A process that another test starts has this one's locks for a moment, until it is the program that it becomes.
async fn resume(at: &Path, backend: &Arc<dyn Backend>) -> Result<OpenJournal, JournalError> {
    loop {
        match OpenJournal::resume(store(at, backend), TOOL, HOLDER).await {
            Err(JournalError::Busy { .. }) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            other => return other,
        }
    }
}

async fn mirror(lines: &[Vec<u8>]) -> Arc<dyn Backend> {
    let backend: Arc<dyn Backend> = Arc::new(MemoryBackend::default());
    for (number, line) in lines.iter().enumerate() {
        backend.create(&name(number), Content::Bytes(line)).await.unwrap();
    }
    backend
}

/// The same lines with one byte of one of them changed.
fn damaged(lines: &[Vec<u8>], number: usize) -> Vec<Vec<u8>> {
    let mut lines = lines.to_vec();
    lines[number][40] ^= 1;
    lines
}

fn store(folder: &Path, backend: &Arc<dyn Backend>) -> Box<dyn JournalStore> {
    Box::new(TwoCopies::new(folder, Arc::clone(backend), id(1)))
}

#[tokio::test]
async fn what_has_ended_is_read_from_whichever_copy_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let all = lines(&id(1), &done());
    let whole = async |backend: &Arc<dyn Backend>, what: &str| {
        let chain =
            read_journal(Some(at), &**backend, &id(1)).await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
        assert_eq!(chain.records().len(), all.len(), "{what}");
        let summary = list(Some(at), &**backend).await.unwrap().remove(0);
        assert_eq!(summary.outcome(), Some(&Outcome::Done {}), "{what}");
        assert_eq!((summary.cluster(), summary.may_be_unfinished(CLUSTER)), (Some(CLUSTER), false), "{what}");
    };
    for number in 0..all.len() {
        // Here a line is damaged, or gone, so that those behind it have moved up.
        let backend = mirror(&all).await;
        std::fs::write(file(at), damaged(&all, number).concat()).unwrap();
        whole(&backend, &format!("{number} damaged here")).await;
        std::fs::write(file(at), [&all[..number], &all[number + 1..]].concat().concat()).unwrap();
        whole(&backend, &format!("{number} missing here")).await;
        // There one is damaged, or gone.
        std::fs::write(file(at), all.concat()).unwrap();
        whole(&mirror(&damaged(&all, number)).await, &format!("{number} damaged there")).await;
        let backend = mirror(&all).await;
        backend.delete(&name(number)).await.unwrap();
        whole(&backend, &format!("{number} missing there")).await;
    }
    // Both, and not the same.
    std::fs::write(file(at), damaged(&all, 3).concat()).unwrap();
    let backend = mirror(&damaged(&all, 5)).await;
    whole(&backend, "both").await;
    backend.delete(&name(7)).await.unwrap();
    whole(&backend, "both").await;
    // What somebody wrote behind the end.
    std::fs::write(file(at), [all.concat(), b"nonsense\n".to_vec()].concat()).unwrap();
    whole(&mirror(&all).await, "more here").await;

    // Both, and the same: nobody knows what it says, and both are named.
    std::fs::write(file(at), damaged(&all, 3).concat()).unwrap();
    let lost = read_journal(Some(at), &*mirror(&damaged(&all, 3)).await, &id(1)).await.unwrap_err();
    let (local, folder) = (file(at), format!("journal/{}/", id(1)));
    let expected = format!("neither copy of a journal can be relied on: `{}` and `{folder}`", local.display());
    assert_eq!(lost.to_string(), expected);
    // Its last record, in neither: it never passes for ended.
    let last = all.len() - 1;
    std::fs::write(file(at), damaged(&all, last).concat()).unwrap();
    let summary = list(Some(at), &*mirror(&damaged(&all, last)).await).await.unwrap().remove(0);
    assert!(summary.may_be_unfinished(CLUSTER));
    assert!(matches!(summary.newest, Err(JournalError::Lost { .. })), "{:?}", summary.newest);
}

#[tokio::test]
async fn what_is_not_over_goes_on_only_where_no_record_is_in_doubt() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let all = lines(&id(1), &done()[..9]);
    // Records that the repository lost, or never had, are given to it.
    for number in 0..all.len() {
        std::fs::write(file(at), all.concat()).unwrap();
        let backend = mirror(&all).await;
        backend.delete(&name(number)).await.unwrap();
        let journal = resume(at, &backend).await.unwrap();
        assert_eq!((journal.records().len(), journal.unmirrored()), (all.len() + 1, 0));
        assert_eq!(backend.read(&name(number)).await.unwrap(), all[number]);
    }
    // A damaged one is a person's to judge: the copy that is whole may be the one that lacks something.
    for number in 0..all.len() {
        std::fs::write(file(at), all.concat()).unwrap();
        let backend = mirror(&damaged(&all, number)).await;
        let refused = resume(at, &backend).await.unwrap_err();
        let there = Place::Repository(name(number));
        assert!(
            matches!(&refused, JournalError::Unreliable { place, other_is_whole: true, .. } if *place == there),
            "{refused:?}"
        );
        // The way out that is told: the damaged file is moved away.
        backend.delete(&name(number)).await.unwrap();
        resume(at, &backend).await.unwrap();

        std::fs::write(file(at), damaged(&all, number).concat()).unwrap();
        let backend = mirror(&all).await;
        let summary = list(Some(at), &*backend).await.unwrap().remove(0);
        assert!(summary.may_be_unfinished(CLUSTER));
        let refused = resume(at, &backend).await.unwrap_err();
        let here = Place::Local(file(at));
        assert!(
            matches!(&refused, JournalError::Unreliable { place, other_is_whole: true, .. } if *place == here),
            "{refused:?}"
        );
        std::fs::remove_file(file(at)).unwrap();
        resume(at, &backend).await.unwrap();
    }
}
