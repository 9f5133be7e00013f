//! Which transactions there are, and which of them somebody has to finish.

use std::path::Path;
use std::sync::Arc;

use snapback::journal::{Event, JournalStore, Outcome, Purpose, TwoCopies, list};
use snapback::store::backend::{Backend, Content, MemoryBackend};

use super::story::{CLUSTER, begun, done, id, lines};

async fn mirror(backend: &Arc<dyn Backend>, number: u32, events: &[Event]) {
    for (n, line) in lines(&id(number), events).iter().enumerate() {
        let name = format!("journal/{}/{n:020}.json", id(number));
        backend.create(&name, Content::Bytes(line)).await.unwrap();
    }
}

fn write(folder: &Path, number: u32, bytes: &[u8]) {
    std::fs::write(folder.join(format!("{}.jsonl", id(number))), bytes).unwrap();
}

#[tokio::test]
async fn an_unfinished_transaction_is_found_wherever_it_lies() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let backend: Arc<dyn Backend> = Arc::new(MemoryBackend::default());
    assert!(list(Some(&at.join("none")), &*backend).await.unwrap().is_empty());

    let mut elsewhere = begun(Purpose::Rollback);
    elsewhere.cluster = "another".to_owned();
    // Begun here, ended by another machine.
    write(at, 1, &lines(&id(1), &done()[..2]).concat());
    mirror(&backend, 1, &done()).await;
    mirror(&backend, 2, &done()[..9]).await;
    mirror(&backend, 3, &[Event::Begun(elsewhere)]).await;
    // Its end reached this machine's disk and not the repository; and one that never reached the repository at all.
    mirror(&backend, 4, &done()[..30]).await;
    write(at, 4, &lines(&id(4), &done()).concat());
    write(at, 5, &lines(&id(5), &done()[..2]).concat());
    // Nobody knows what these say: a changed byte in the newest record, a missing one, a foreign cluster's likewise.
    let mut damaged = lines(&id(6), &done());
    damaged.last_mut().unwrap()[40] ^= 1;
    write(at, 6, &damaged.concat());
    mirror(&backend, 7, &done()).await;
    backend.delete(&format!("journal/{}/{:020}.json", id(7), 3)).await.unwrap();
    // No transaction: a file that no record came to be in, and what is somebody else's.
    write(at, 8, b"{\"form");
    std::fs::write(at.join("notes.jsonl"), "x").unwrap();
    backend.create("journal/notes.txt", Content::Bytes(b"x")).await.unwrap();

    let found = list(Some(at), &*backend).await.unwrap();
    let shown: Vec<_> = found
        .iter()
        .map(|s| (s.transaction.clone(), s.local, s.mirrored, s.outcome().is_some(), s.may_be_unfinished(CLUSTER)))
        .collect();
    let all = done().len() as u64;
    let expected = [
        (id(1), 2, all, true, false),
        (id(2), 0, 9, false, true),
        (id(3), 0, 1, false, false),
        (id(4), all, 30, true, false),
        (id(5), 2, 0, false, true),
        (id(6), all, 0, false, true),
        (id(7), 0, all - 1, false, true),
    ];
    assert_eq!(shown, expected);
    assert!(found[2].may_be_unfinished("another"));
    assert_eq!(found[0].outcome(), Some(&Outcome::Done {}));
    assert_eq!(found[6].cluster(), Some(CLUSTER));
    // Opening the one whose end the repository does not have gives it to the repository.
    TwoCopies::new(at, Arc::clone(&backend), id(4)).load().await.unwrap();
    assert_eq!(list(Some(at), &*backend).await.unwrap()[3].mirrored, all);
}
