//! What is written comes back, an unchanged snapshot costs one file, and a changed one costs what changed.

use std::sync::Arc;

use snapback::store::backend::{Backend, LocalBackend, MemoryBackend};
use snapback::store::{EntryKind, Repository, SnapshotWriter};

use super::sample::{Files, back_up, body, content, files, fill, many, restore, series};

/// Both kinds of place, each with a repository in it.
async fn places(folder: &tempfile::TempDir) -> Vec<Arc<dyn Backend>> {
    let places: Vec<Arc<dyn Backend>> =
        vec![Arc::new(MemoryBackend::default()), Arc::new(LocalBackend::new(folder.path().join("repository")))];
    for place in &places {
        Repository::init(Arc::clone(place)).await.unwrap();
    }
    places
}

#[tokio::test]
async fn a_snapshot_comes_back_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    for place in places(&folder).await {
        let mut written = Vec::new();
        for turn in 0..4 {
            let mut wanted = many(1500 + turn, turn);
            wanted.insert("state/empty".to_owned(), Vec::new());
            wanted.insert("state/big".to_owned(), (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect());
            written.push((back_up(Arc::clone(&place), &wanted).await.unwrap(), wanted));
        }
        let history = Repository::open(Arc::clone(&place)).await.unwrap().history().await.unwrap();
        assert!(history.problems().is_empty());
        assert_eq!(history.snapshots().iter().map(|s| s.number).collect::<Vec<_>>(), [1, 2, 3, 4]);
        for ((snapshot, wanted), listed) in written.iter().zip(history.snapshots()) {
            assert_eq!(listed.body, snapshot.body);
            assert_eq!(restore(Arc::clone(&place), listed).await.unwrap(), *wanted);
        }
        assert_eq!(written[1].0.parent, Some(1));
        let small = written[3].0.packs.iter().filter(|pack| pack.size < 100_000).count();
        assert_eq!(written[3].0.packs.len() - small, 1, "the big content is stored once: {:?}", written[3].0.packs);
    }
}

#[tokio::test]
async fn an_unchanged_snapshot_is_one_new_file() {
    let folder = tempfile::tempdir().unwrap();
    for place in places(&folder).await {
        let wanted = many(500, 0);
        back_up(Arc::clone(&place), &wanted).await.unwrap();
        let before = place.list("").await.unwrap();
        let snapshot = back_up(Arc::clone(&place), &wanted).await.unwrap();
        let after = place.list("").await.unwrap();
        let new: Vec<_> = after.iter().filter(|file| !before.contains(file)).collect();
        assert_eq!(new.len(), 1, "{new:?}");
        assert!(new[0].name.starts_with("log/") && new[0].size < 4096, "{new:?}");
        assert_eq!(restore(Arc::clone(&place), &snapshot).await.unwrap(), wanted);
    }
}

#[tokio::test]
async fn a_scratch_capture_is_readable_and_keeps_only_what_differs() {
    let folder = tempfile::tempdir().unwrap();
    for place in places(&folder).await {
        let snapshot = back_up(Arc::clone(&place), &many(500, 0)).await.unwrap();
        let base = Repository::open(Arc::clone(&place)).await.unwrap().tree(&snapshot).await.unwrap();
        let before = place.list("").await.unwrap();
        for (turn, base) in [(1, Some(base)), (1, None)] {
            let mut writer = SnapshotWriter::scratch(base.clone());
            fill(&mut writer, &many(500, turn)).await.unwrap();
            let written = writer.finish().await.unwrap();
            assert_eq!(content(&written.tree()).await.unwrap(), many(500, turn));
            assert_eq!(written.new_bytes() < 8_000, base.is_some(), "{}", written.new_bytes());
        }
        assert_eq!(place.list("").await.unwrap(), before);
    }
}

#[tokio::test]
async fn a_big_file_is_cut_in_segments_and_only_new_ones_are_stored() {
    let folder = tempfile::tempdir().unwrap();
    for place in places(&folder).await {
        let repository = Repository::open(Arc::clone(&place)).await.unwrap();
        let mut big: Vec<u8> = (0..20_000_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        let mut packs = Vec::new();
        for _ in 0..2 {
            let mut writer = repository.begin(series()).await.unwrap();
            fill(&mut writer, &files(&[("etcd/status.json", "{}")])).await.unwrap();
            let entry = writer.put_stream("etcd/snapshot.db", big.as_slice()).await.unwrap();
            assert!(matches!(entry.kind, EntryKind::Parts(_)));
            let snapshot = repository.commit(writer.finish().await.unwrap(), body()).await.unwrap();
            let tree = repository.tree(&snapshot).await.unwrap();
            let mut out = Vec::new();
            tree.copy_file(&tree.entry("etcd/snapshot.db").await.unwrap().unwrap(), &mut out).await.unwrap();
            assert!(out == big, "the file did not come back");
            packs.push(snapshot.packs);
            // The last byte lies in the second segment.
            *big.last_mut().unwrap() ^= 1;
        }
        let shared = packs[1].iter().filter(|pack| packs[0].contains(pack)).count();
        assert!(shared >= 1 && packs[1].len() > shared, "{packs:?}");
    }
}

#[tokio::test]
async fn discarded_folders_are_gone_and_paths_are_checked() {
    let mut writer = SnapshotWriter::scratch(None);
    let all: Files = files(&[("a/b/c", "1"), ("a/bc", "2"), ("a/b", "3")]);
    fill(&mut writer, &files(&[("a/b/c", "1"), ("a/b/d/e", "1"), ("a/bc", "2")])).await.unwrap();
    assert!(fill(&mut writer, &files(&[("a/bc", "2")])).await.is_err());
    for bad in ["", "/a", "a/", "a//b", "../a", "a/./b", "a b"] {
        assert!(fill(&mut writer, &files(&[(bad, "")])).await.is_err(), "{bad}");
    }
    writer.discard("a/b");
    fill(&mut writer, &files(&[("a/b", "3")])).await.unwrap();
    let tree = writer.finish().await.unwrap().tree();
    assert_eq!(content(&tree).await.unwrap(), files(&[("a/b", "3"), ("a/bc", "2")]));
    let mut writer = SnapshotWriter::scratch(None);
    fill(&mut writer, &all).await.unwrap();
    assert!(writer.finish().await.is_err());
}
