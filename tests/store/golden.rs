//! A repository of format 1, written once and kept in git: every later version must read and verify it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use snapback::maintain::verify::{VerifyLevel, VerifyOptions, verify};
use snapback::progress::Silent;
use snapback::store::backend::{Backend, LocalBackend};
use snapback::store::{Blob, EntryKind, FrameGroup, Head, Repository, SnapshotWriter, StoreError, encode_name};

use super::fault::append;
use super::sample::{Files, body, content, files, fill, series};

/// The newest entry of the golden log.
const HEAD: (u64, &str) = (6, "d3abbf4e8436cc721385a64f0e120f743abbe241cfcf50673bb28c7ada59ef7b");

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/store/golden-1")
}

/// Ordinary files of the golden snapshots: more than one tree holds, names that must be encoded, equal contents.
fn plain(turn: usize) -> Files {
    let mut content = files(&[("state/nodes.json", "{}"), ("state/same.json", "{}"), ("state/empty", "")]);
    for n in 0..80 {
        let version = if n == 3 { turn } else { 0 };
        content.insert(
            format!("cluster/apps/deployments/ns/web-{n}.json"),
            format!("{{\"n\":{n},\"v\":{version}}}").into_bytes(),
        );
    }
    content.insert(format!("cluster/core/configmaps/ns/{}", encode_name("a/b c")), b"{}".to_vec());
    content.insert(format!("cluster/core/configmaps/ns/{}", encode_name(&"x".repeat(253))), b"long".to_vec());
    content
}

async fn write(writer: &mut SnapshotWriter, turn: usize) -> Result<(), StoreError> {
    fill(writer, &plain(turn)).await?;
    let secret = Blob::new("hidden".into());
    writer.put("cluster/core/secrets/ns/s.json", secret, FrameGroup::Apart("ns".to_owned())).await?;
    for (path, kind, content) in
        [("files/t/run", EntryKind::Exec, "#!/bin/sh\n"), ("files/t/link", EntryKind::Link, "run")]
    {
        writer.put_as(path, kind, Blob::new(content.into()), FrameGroup::Shared).await?;
    }
    let stream: Vec<u8> = (0..20_000_u32).flat_map(|n| (n / 3 + turn as u32).to_le_bytes()).collect();
    writer.put_stream("etcd/snapshot.db", stream.as_slice()).await?;
    Ok(())
}

/// The whole content of a golden snapshot.
async fn expected(turn: usize) -> (snapback::store::ContentHash, Files) {
    let mut writer = SnapshotWriter::scratch(None);
    write(&mut writer, turn).await.unwrap();
    let tree = writer.finish().await.unwrap().tree();
    (tree.root(), content(&tree).await.unwrap())
}

#[tokio::test]
async fn the_golden_repository_of_format_1_is_read_and_verified() {
    let place: Arc<dyn Backend> = Arc::new(LocalBackend::new(folder()));
    let head = Head { number: HEAD.0, hash: HEAD.1.parse().unwrap() };
    let options = VerifyOptions { level: VerifyLevel::Objects, remembered: Some(head) };
    let report = verify(Arc::clone(&place), &options, &Silent).await.unwrap();
    assert!(report.is_sound() && report.notes.is_empty(), "{report:?}");
    assert_eq!(report.checked.big_files, 2);

    let repository = Repository::open(Arc::clone(&place)).await.unwrap();
    let history = repository.history_since(Some(&head)).await.unwrap();
    assert_eq!(history.snapshots().iter().map(|s| (s.number, s.parent)).collect::<Vec<_>>(), [(1, None), (2, Some(1))]);
    assert!(history.is_forgotten(3));
    for (turn, snapshot) in history.snapshots().iter().enumerate() {
        let (root, wanted) = expected(turn).await;
        assert_eq!(snapshot.body.root, root, "the same content no longer makes the same trees");
        assert!(content(&repository.tree(snapshot).await.unwrap()).await.unwrap() == wanted);
        assert_eq!(snapshot.body.context, body().context);
        let out = tempfile::tempdir().unwrap();
        let script = Command::new("sh")
            .arg(folder().join("restore.sh"))
            .arg(snapshot.number.to_string())
            .arg(out.path())
            .output();
        let script = script.unwrap();
        assert!(script.status.success(), "{}", String::from_utf8_lossy(&script.stderr));
        for (path, content) in wanted.iter().filter(|(path, _)| !path.ends_with("link")) {
            assert!(std::fs::read(out.path().join(path)).unwrap() == *content, "{path}");
        }
    }
}

/// Run by hand, once for each format: `SNAPBACK_GOLDEN=... cargo test -- --ignored write_the_golden_repository`.
#[tokio::test]
#[ignore = "writes the golden repository, which is there already"]
async fn write_the_golden_repository() {
    let target = std::env::var_os("SNAPBACK_GOLDEN").expect("SNAPBACK_GOLDEN names a folder to write to");
    let place: Arc<dyn Backend> = Arc::new(LocalBackend::new(target));
    let repository = Repository::init(Arc::clone(&place)).await.unwrap();
    for turn in 0..3 {
        let mut writer = repository.begin(series()).await.unwrap();
        write(&mut writer, turn.min(1)).await.unwrap();
        repository.commit(writer.finish().await.unwrap(), body()).await.unwrap();
    }
    append(&place, "forget", "\"snapshots\": [3],\n").await;
    append(&place, "pin", "\"snapshots\": [1],\n").await;
    append(&place, "verified", "\"snapshots\": [1, 2],\n\"level\": \"objects\",\n").await;
    eprintln!("{:?}", repository.history().await.unwrap().head());
}
