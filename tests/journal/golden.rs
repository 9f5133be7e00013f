//! Journals of format 1, written once and kept in git: every later version must read them, and write them alike.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use snapback::journal::{Event, Outcome, TransactionId, list, read_journal};
use snapback::store::backend::{Backend, Content, LocalBackend};

use super::story::{CLUSTER, done, failed, id, lines, reasons, unproven};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/journal/golden-1")
}

/// Every kind of event, of thing that is held, of what it was, of purpose, reason and outcome. The first few are in
/// the repository too.
fn stories() -> Vec<(TransactionId, Vec<Event>)> {
    let mut stories = vec![unproven(), done().into_iter().take(5).collect(), done()];
    stories.extend(reasons().into_iter().map(failed));
    (1..).map(id).zip(stories).collect()
}

const MIRRORED: usize = 2;

#[tokio::test]
async fn the_golden_journals_of_format_1_are_read_and_written_alike() {
    let repository: Arc<dyn Backend> = Arc::new(LocalBackend::new(folder()));
    let local = folder().join("local");
    let nowhere = folder().join("nowhere");
    let mut kinds = BTreeSet::new();
    for (at, (transaction, events)) in stories().into_iter().enumerate() {
        for place in [&local, &nowhere].into_iter().take(if at < MIRRORED { 2 } else { 1 }) {
            let chain = read_journal(Some(place), &*repository, &transaction).await.unwrap();
            let found: Vec<Event> = chain.records().iter().map(|record| record.event.clone()).collect();
            assert_eq!(found, events);
        }
        let file = std::fs::read(local.join(format!("{transaction}.jsonl"))).unwrap();
        assert_eq!(String::from_utf8(lines(&transaction, &events).concat()), String::from_utf8(file));
        for event in &events {
            let json = serde_json::to_value(event).unwrap();
            assert_eq!(json.as_object().unwrap().keys().collect::<Vec<_>>(), [event.kind()]);
            kinds.insert(event.kind());
        }
    }
    assert_eq!(kinds.len(), 21, "a kind has no golden record: {kinds:?}");

    let summaries = list(Some(&local), &*repository).await.unwrap();
    assert_eq!(summaries.len(), stories().len());
    let unfinished: Vec<_> = summaries.iter().filter(|summary| summary.may_be_unfinished(CLUSTER)).collect();
    assert_eq!(unfinished.iter().map(|summary| &summary.transaction).collect::<Vec<_>>(), [&id(2)]);
    assert_eq!(summaries[0].outcome(), Some(&Outcome::Unproven { unexplained: 2 }));
}

/// Run by hand, once for each format: `SNAPBACK_GOLDEN=... cargo test -- --ignored write_the_golden_journals`.
#[tokio::test]
#[ignore = "writes the golden journals, which are there already"]
async fn write_the_golden_journals() {
    let target =
        PathBuf::from(std::env::var_os("SNAPBACK_GOLDEN").expect("SNAPBACK_GOLDEN names a folder to write to"));
    let repository = LocalBackend::new(&target);
    std::fs::create_dir_all(target.join("local")).unwrap();
    for (at, (transaction, events)) in stories().into_iter().enumerate() {
        let lines = lines(&transaction, &events);
        std::fs::write(target.join(format!("local/{transaction}.jsonl")), lines.concat()).unwrap();
        for (number, line) in lines.iter().enumerate().filter(|_| at < MIRRORED) {
            let name = format!("journal/{transaction}/{number:020}.json");
            repository.create(&name, Content::Bytes(line)).await.unwrap();
        }
    }
}
