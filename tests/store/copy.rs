//! A snapshot of one repository in another one: whole, with its id, sent once, and never by a name that was given up.

use std::collections::BTreeSet;
use std::sync::Arc;

use snapback::maintain::verify::{VerifyLevel, VerifyOptions, verify};
use snapback::progress::Silent;
use snapback::store::backend::{Backend, Content, LocalBackend, MemoryBackend};
use snapback::store::{Repository, StoreError};

use super::sample::{back_up, many, restore};
use crate::harness::s3::S3Server;

async fn packs(place: &Arc<dyn Backend>) -> BTreeSet<String> {
    place.list("packs/").await.unwrap().into_iter().map(|file| file.name).collect()
}

async fn check(place: &Arc<dyn Backend>) {
    let options = VerifyOptions { level: VerifyLevel::Objects, remembered: None };
    let report = verify(Arc::clone(place), &options, &Silent).await.unwrap();
    assert!(report.is_sound(), "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_the_same_snapshot_and_sends_only_what_is_missing() {
    let (folder, server) = (tempfile::tempdir().unwrap(), S3Server::start());
    let here: Arc<dyn Backend> = Arc::new(LocalBackend::new(folder.path().join("here")));
    let from = Repository::init(Arc::clone(&here)).await.unwrap();
    for there in [Arc::new(server.backend().await) as Arc<dyn Backend>, Arc::new(MemoryBackend::default())] {
        let to = Repository::init(Arc::clone(&there)).await.unwrap();
        let mut sent = Vec::new();
        for turn in 0..3 {
            let snapshot = back_up(Arc::clone(&here), &many(400, turn)).await.unwrap();
            let copied = from.copy_to(&snapshot, &to).await.unwrap();
            assert_eq!((copied.snapshot.id, &copied.snapshot.body), (snapshot.id, &snapshot.body));
            assert_eq!(restore(Arc::clone(&there), &copied.snapshot).await.unwrap(), many(400, turn));
            sent.push(copied.bytes);
            // Once more is nothing more.
            let again = from.copy_to(&snapshot, &to).await.unwrap();
            assert_eq!((again.snapshot.number, again.packs), (copied.snapshot.number, 0));
        }
        assert!(sent[1] < sent[0] / 2 && sent[2] < sent[0] / 2, "{sent:?}");
        assert!(packs(&here).await.is_disjoint(&packs(&there).await), "a name never comes back");
        check(&there).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_is_not_passed_on() {
    let (here, there): (Arc<dyn Backend>, Arc<dyn Backend>) =
        (Arc::new(MemoryBackend::default()), Arc::new(MemoryBackend::default()));
    let from = Repository::init(Arc::clone(&here)).await.unwrap();
    let to = Repository::init(Arc::clone(&there)).await.unwrap();
    let snapshot = back_up(Arc::clone(&here), &many(50, 0)).await.unwrap();
    let name = &snapshot.packs[0].name;
    let sound = here.read(name).await.unwrap();
    let mut bad = sound.clone();
    bad[100] ^= 1;
    for bytes in [Some(bad), None] {
        here.delete(name).await.unwrap();
        if let Some(bytes) = &bytes {
            here.create(name, Content::Bytes(bytes)).await.unwrap();
        }
        let refused = from.copy_to(&snapshot, &to).await;
        assert!(matches!(&refused, Err(StoreError::Damaged { file, .. }) if file == name), "{refused:?}");
        assert!(to.history().await.unwrap().snapshots().is_empty() && packs(&there).await.is_empty());
    }
    here.delete(name).await.unwrap();
    here.create(name, Content::Bytes(&sound)).await.unwrap();
    from.copy_to(&snapshot, &to).await.unwrap();
    check(&there).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_was_given_up_there_is_not_used_again() {
    let (here, there): (Arc<dyn Backend>, Arc<dyn Backend>) =
        (Arc::new(MemoryBackend::default()), Arc::new(MemoryBackend::default()));
    let from = Repository::init(Arc::clone(&here)).await.unwrap();
    let to = Repository::init(Arc::clone(&there)).await.unwrap();
    let snapshot = back_up(Arc::clone(&here), &many(50, 0)).await.unwrap();
    let first = from.copy_to(&snapshot, &to).await.unwrap().snapshot;
    // Forgotten and marked: whoever sweeps may delete it at any moment from now on.
    super::fault::append(&there, "forget", &format!("  \"snapshots\": [{}],\n", first.number)).await;
    super::fault::append(&there, "mark", &format!("  \"names\": [\"{}\"],\n", first.packs[0].name)).await;
    let second = from.copy_to(&snapshot, &to).await.unwrap().snapshot;
    assert_ne!(first.packs[0].name, second.packs[0].name);
    there.delete(&first.packs[0].name).await.unwrap();
    assert_eq!(restore(Arc::clone(&there), &second).await.unwrap(), many(50, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_who_copy_the_same_make_one() {
    let (here, there): (Arc<dyn Backend>, Arc<dyn Backend>) =
        (Arc::new(MemoryBackend::default()), Arc::new(MemoryBackend::default()));
    let from = Repository::init(Arc::clone(&here)).await.unwrap();
    let to = Repository::init(Arc::clone(&there)).await.unwrap();
    let snapshot = back_up(Arc::clone(&here), &many(50, 0)).await.unwrap();
    let copies = (0..8).map(|_| {
        let (from, to, snapshot) = (from.clone(), to.clone(), snapshot.clone());
        tokio::spawn(async move { from.copy_to(&snapshot, &to).await.unwrap().snapshot.number })
    });
    for copy in futures::future::join_all(copies).await {
        assert_eq!(copy.unwrap(), 1);
    }
    assert_eq!(to.history().await.unwrap().snapshots().len(), 1);
}
