//! Contents and bodies for the repository's tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::TryStreamExt as _;
use snapback::store::backend::Backend;
use snapback::store::{
    Blob, ContentHash, FrameGroup, Repository, Snapshot, SnapshotBody, SnapshotTree, SnapshotWriter, SourceRecord,
    SourceState, StoreError,
};

/// A snapshot's content: paths and bytes.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

pub(super) fn files(entries: &[(&str, &str)]) -> Files {
    entries.iter().map(|(path, content)| ((*path).to_owned(), content.as_bytes().to_vec())).collect()
}

/// Many small objects in a few folders, some changed by `turn`.
pub(super) fn many(count: usize, turn: usize) -> Files {
    (0..count)
        .map(|n| {
            let version = if n % 100 == 0 { turn } else { 0 };
            let path = format!("cluster/apps/type{}/ns{}/object-{n}.json", n % 7, n % 13);
            (
                path,
                format!(
                    "{{\"name\":\"object-{n}\",\"version\":{version},\"uid\":\"{}\"}}",
                    ContentHash::of(path_seed(n))
                )
                .into_bytes(),
            )
        })
        .collect()
}

fn path_seed(n: usize) -> &'static [u8] {
    &b"the seed of unequal contents, long enough to be cut anywhere in it"[n % 60..]
}

pub(super) fn series() -> ContentHash {
    ContentHash::of(b"a cluster")
}

pub(super) fn body() -> SnapshotBody {
    SnapshotBody {
        series: series(),
        time: jiff::Timestamp::now(),
        cluster: "uid".to_owned(),
        context: "a \"context\"\nof two lines".to_owned(),
        revision: 42,
        root: ContentHash::of(b""),
        label: String::new(),
        scope: String::new(),
        sources: vec![
            SourceRecord { name: "cluster".to_owned(), state: SourceState::Complete, detail: String::new() },
            SourceRecord { name: "etcd".to_owned(), state: SourceState::Unconfigured, detail: String::new() },
        ],
        complete: true,
        objects: 1,
        types: 1,
        bytes: 0,
        kubernetes: "v1.37.2".to_owned(),
        tool: "snapback test".to_owned(),
    }
}

pub(super) async fn fill(writer: &mut SnapshotWriter, files: &Files) -> Result<(), StoreError> {
    for (path, content) in files {
        writer.put(path, Blob::new(content.clone().into()), FrameGroup::Shared).await?;
    }
    Ok(())
}

/// One whole backup, with the one restart that a commit may ask for.
pub(super) async fn back_up(backend: Arc<dyn Backend>, files: &Files) -> Result<Snapshot, StoreError> {
    let repository = Repository::open(backend).await?;
    let mut writer = repository.begin(series()).await?;
    fill(&mut writer, files).await?;
    match repository.commit(writer.finish().await?, body()).await {
        Err(StoreError::MustBeFull { .. }) => {
            let mut writer = repository.begin_full().await?;
            fill(&mut writer, files).await?;
            repository.commit(writer.finish().await?, body()).await
        }
        outcome => outcome,
    }
}

/// Reads everything back.
pub(super) async fn content(tree: &SnapshotTree) -> Result<Files, StoreError> {
    let mut found = Files::new();
    let mut walk = tree.walk("");
    while let Some((path, entry)) = walk.try_next().await? {
        let mut bytes = Vec::new();
        tree.copy_file(&entry, &mut bytes).await?;
        assert_eq!(bytes.len() as u64, entry.size, "{path}");
        found.insert(path, bytes);
    }
    Ok(found)
}

pub(super) async fn restore(backend: Arc<dyn Backend>, snapshot: &Snapshot) -> Result<Files, StoreError> {
    let repository = Repository::open(backend).await?;
    content(&repository.tree(snapshot).await?).await
}
