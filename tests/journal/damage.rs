//! One flipped byte anywhere in a journal is found, in both copies.

use std::sync::Arc;

use snapback::journal::{JournalStore, Reason, TwoCopies, read_journal};
use snapback::maintain::verify::{VerifyLevel, VerifyOptions, VerifyReport, verify};
use snapback::progress::Silent;
use snapback::store::backend::{Backend, Content, MemoryBackend};
use snapback::store::{ContentHash, Repository};

use super::story::{failed, id, lines};

async fn look(backend: &Arc<dyn Backend>) -> VerifyReport {
    let head = Repository::open(Arc::clone(backend)).await.unwrap().history().await.unwrap().head();
    let options = VerifyOptions { level: VerifyLevel::Names, remembered: head };
    verify(Arc::clone(backend), &options, &Silent).await.unwrap()
}

async fn replace(backend: &Arc<dyn Backend>, name: &str, bytes: &[u8]) {
    backend.delete(name).await.unwrap();
    backend.create(name, Content::Bytes(bytes)).await.unwrap();
}

fn name(number: usize) -> String {
    format!("journal/{}/{number:020}.json", id(1))
}

/// A repository with one journal of so many records.
async fn repository(records: usize) -> (Arc<dyn Backend>, Vec<Vec<u8>>) {
    let backend: Arc<dyn Backend> = Arc::new(MemoryBackend::default());
    Repository::init(Arc::clone(&backend)).await.unwrap();
    let lines = lines(&id(1), &failed(Reason::Asked {})[..records]);
    for (number, line) in lines.iter().enumerate() {
        backend.create(&name(number), Content::Bytes(line)).await.unwrap();
    }
    (backend, lines)
}

/// Each byte changed by itself.
fn changed(bytes: &[u8], to: impl Fn(usize, u8) -> u8) -> impl Iterator<Item = (usize, Vec<u8>)> {
    (0..bytes.len()).filter_map(move |at| {
        let mut changed = bytes.to_vec();
        changed[at] = to(at, bytes[at]);
        (changed != bytes).then_some((at, changed))
    })
}

fn one_bit(at: usize, byte: u8) -> u8 {
    byte ^ 1 << (at % 8)
}

#[tokio::test]
async fn every_changed_byte_in_the_repository_is_found_and_its_file_named() {
    let (backend, lines) = repository(2).await;
    let sound = look(&backend).await;
    assert!(sound.is_sound() && sound.notes.is_empty(), "{sound:?}");
    for (number, line) in lines.iter().enumerate() {
        for (at, changed) in changed(line, one_bit) {
            replace(&backend, &name(number), &changed).await;
            let report = look(&backend).await;
            assert!(report.damage.iter().any(|damage| damage.file == name(number)), "byte {at} of {number}");
        }
        replace(&backend, &name(number), line).await;
    }
    assert!(look(&backend).await.is_sound());
}

#[tokio::test]
async fn every_changed_byte_on_this_machine_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let lines = lines(&id(1), &failed(Reason::Asked {})[..2]);
    let nothing: Arc<dyn Backend> = Arc::new(MemoryBackend::default());
    let bytes = lines.concat();
    // A line feed tears a line into two.
    for (at, changed) in changed(&bytes, one_bit).chain(changed(&bytes, |_, _| b'\n')) {
        std::fs::write(folder.path().join(format!("{}.jsonl", id(1))), changed).unwrap();
        assert!(read_journal(Some(folder.path()), &*nothing, &id(1)).await.is_err(), "byte {at}");
    }
    assert!(nothing.list("").await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_missing_moved_or_made_up_is_found() {
    let (backend, lines) = repository(6).await;
    let files = |report: &VerifyReport| report.damage.iter().map(|d| d.file.clone()).collect::<Vec<_>>();

    backend.delete(&name(2)).await.unwrap();
    let report = look(&backend).await;
    assert_eq!(files(&report), [name(2)]);
    assert_eq!(report.damage[0].what, "record 2 is missing, and a later one is there");
    let refused = read_journal(Some(std::path::Path::new("/nowhere")), &*backend, &id(1)).await.unwrap_err();
    assert_eq!(refused.to_string(), format!("the journal `{}` cannot be relied on", name(2)));

    // Another record's whole line, and a record of another transaction.
    backend.create(&name(2), Content::Bytes(&lines[3])).await.unwrap();
    assert_eq!(look(&backend).await.damage[0].what, "record 2 does not belong there: it says it is record 3");
    let foreign = super::story::lines(&id(2), &failed(Reason::Asked {}));
    replace(&backend, &name(2), &foreign[2]).await;
    assert_eq!(files(&look(&backend).await), [name(2)]);

    // Whole and sealed, but what follows it was chained to another one.
    let mut events = failed(Reason::Asked {});
    events[1] = snapback::journal::Event::Saved { before: super::story::snapshot(7) };
    let other = super::story::lines(&id(1), &events);
    replace(&backend, &name(2), &lines[2]).await;
    replace(&backend, &name(1), &other[1]).await;
    let report = look(&backend).await;
    assert_eq!(files(&report), [name(2)]);
    let what = "record 2 does not belong there: it does not name the SHA-256 of the record before it";
    assert_eq!(report.damage[0].what, what);
    replace(&backend, &name(1), &lines[1]).await;

    // Legal records in an illegal order.
    events = failed(Reason::Asked {});
    events.swap(2, 3);
    replace(&backend, &name(2), &super::story::lines(&id(1), &events)[2]).await;
    let what = "record 2 cannot follow the records before it: `stopped` cannot come while things are being stopped: it is not held";
    assert_eq!(look(&backend).await.damage[0].what, what);
    replace(&backend, &name(2), &lines[2]).await;
    assert!(look(&backend).await.is_sound());

    // The newest record alone is missed by the copy on the machine that wrote it, which puts it back.
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(format!("{}.jsonl", id(1))), lines.concat()).unwrap();
    backend.delete(&name(5)).await.unwrap();
    assert!(look(&backend).await.is_sound());
    TwoCopies::new(folder.path(), Arc::clone(&backend), id(1)).load().await.unwrap();
    assert_eq!(backend.read(&name(5)).await.unwrap(), lines[5]);
}

#[tokio::test]
async fn what_a_later_program_wrote_is_refused_and_is_no_damage() {
    let (backend, lines) = repository(3).await;
    let text = String::from_utf8(lines[2].clone()).unwrap().replace("\"stopping\"", "\"hop-armed\"");
    let text = &text[..text.find("\"sha256\"").unwrap()];
    let line = format!("{text}\"sha256\":\"{}\"}}\n", ContentHash::of(text.as_bytes()));
    replace(&backend, &name(2), line.as_bytes()).await;
    let report = look(&backend).await;
    assert!(report.is_sound(), "{report:?}");
    let what = "record 2 is whole, and this program does not know what it says: the event `hop-armed`";
    assert_eq!(report.notes, [format!("`{}`: {what}", name(2))]);
    let refused = read_journal(Some(std::path::Path::new("/nowhere")), &*backend, &id(1)).await.unwrap_err();
    assert_eq!(std::error::Error::source(&refused).unwrap().to_string(), what);
}
