//! Which files differ between two snapshots.
//!
//! In: two trees, of two repositories if need be. Out: one [`Change`] a file, in path order. Invariant: equal trees and
//! equal sixteenths of large folders are never read, so the cost follows the number of changes.

use std::collections::BTreeMap;

use crate::store::{ContentHash, EntryKind, SnapshotTree, StoreError, TreeEntry};

use super::selection::Selection;

/// The folder of the core group, whose own name is empty.
const CORE: &str = "core";

/// A file that is not the same on both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Path inside the snapshots.
    pub path: String,
    /// The file on the first side, if it is there.
    pub before: Option<TreeEntry>,
    /// The file on the second side, if it is there.
    pub after: Option<TreeEntry>,
}

/// Compares two snapshots and keeps what is selected.
///
/// # Errors
/// A tree cannot be read.
pub async fn diff_trees(
    before: &SnapshotTree,
    after: &SnapshotTree,
    selection: &Selection,
) -> Result<Vec<Change>, StoreError> {
    let mut changes = Vec::new();
    let mut folders = vec![(String::new(), Some(before.root()), Some(after.root()))];
    while let Some((folder, old, new)) = folders.pop() {
        if old == new || !may_include_folder(selection, &folder) {
            continue;
        }
        for (name, pair) in differing_entries(before, old, after, new).await? {
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            let (old_folder, old_file) = split(pair.before);
            let (new_folder, new_file) = split(pair.after);
            if old_folder.is_some() || new_folder.is_some() {
                folders.push((path.clone(), old_folder, new_folder));
            }
            if (old_file.is_some() || new_file.is_some()) && selection.includes_path(&path) {
                changes.push(Change { path, before: old_file, after: new_file });
            }
        }
    }
    changes.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(changes)
}

/// Whether a folder `cluster/<group>/<resource>` (or one above or below it) can hold something selected.
fn may_include_folder(selection: &Selection, folder: &str) -> bool {
    let mut parts = folder.split('/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("cluster"), Some(group), Some(resource)) => {
            let group = if group == CORE { "" } else { group };
            selection.may_include_type(group, resource)
        }
        _ => true,
    }
}

/// A folder's tree, or else a file.
fn split(entry: Option<TreeEntry>) -> (Option<ContentHash>, Option<TreeEntry>) {
    match entry {
        Some(entry) if entry.kind == EntryKind::Tree => (Some(entry.hash), None),
        other => (None, other),
    }
}

#[derive(Default, PartialEq, Eq)]
struct Pair {
    before: Option<TreeEntry>,
    after: Option<TreeEntry>,
}

/// The entries of one folder that differ. A folder may be flat on one side and in sixteenths on the other: sixteenths
/// that both sides have and that are equal are skipped, all others are merged and compared by name.
async fn differing_entries(
    before: &SnapshotTree,
    old: Option<ContentHash>,
    after: &SnapshotTree,
    new: Option<ContentHash>,
) -> Result<BTreeMap<String, Pair>, StoreError> {
    let mut found: BTreeMap<String, Pair> = BTreeMap::new();
    let mut listings = vec![(old, new)];
    while let Some((old, new)) = listings.pop() {
        if old == new {
            continue;
        }
        let mut sixteenths: BTreeMap<String, (Option<ContentHash>, Option<ContentHash>)> = BTreeMap::new();
        if let Some(hash) = old {
            for entry in before.tree(&hash).await?.into_entries() {
                if entry.kind == EntryKind::Sub {
                    sixteenths.entry(entry.name).or_default().0 = Some(entry.hash);
                } else {
                    let pair = found.entry(entry.name.clone()).or_default();
                    pair.before = Some(entry);
                }
            }
        }
        if let Some(hash) = new {
            for entry in after.tree(&hash).await?.into_entries() {
                if entry.kind == EntryKind::Sub {
                    sixteenths.entry(entry.name).or_default().1 = Some(entry.hash);
                } else {
                    let pair = found.entry(entry.name.clone()).or_default();
                    pair.after = Some(entry);
                }
            }
        }
        listings.extend(sixteenths.into_values());
    }
    found.retain(|_, pair| pair.before != pair.after);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::diff_trees;
    use crate::snapshot::{Scope, Selection};
    use crate::store::{Blob, FrameGroup, SnapshotTree, SnapshotWriter};

    async fn tree(files: impl IntoIterator<Item = (String, &'static str)>) -> SnapshotTree {
        let mut writer = SnapshotWriter::scratch(None);
        let mut files: Vec<_> = files.into_iter().collect();
        files.sort();
        for (path, content) in files {
            writer.put(&path, Blob::new(Bytes::from(content)), FrameGroup::Shared).await.unwrap();
        }
        writer.finish().await.unwrap().tree()
    }

    fn many(count: usize, content: &'static str) -> impl Iterator<Item = (String, &'static str)> {
        (0..count).map(move |number| (format!("cluster/core/configmaps/a/c{number:04}.json"), content))
    }

    async fn changed(before: &SnapshotTree, after: &SnapshotTree) -> Vec<(String, bool, bool)> {
        let changes = diff_trees(before, after, &Selection::everything()).await.unwrap();
        changes.into_iter().map(|change| (change.path, change.before.is_some(), change.after.is_some())).collect()
    }

    #[tokio::test]
    async fn equal_trees_have_no_changes_and_others_only_theirs() {
        let before = tree(many(300, "x")).await;
        assert!(changed(&before, &tree(many(300, "x")).await).await.is_empty());
        let mut files: Vec<_> = many(300, "x").collect();
        files[7].1 = "y";
        files.remove(200);
        files.push(("cluster/core/configmaps/b/new.json".to_owned(), "z"));
        let after = tree(files).await;
        assert_eq!(
            changed(&before, &after).await,
            [
                ("cluster/core/configmaps/a/c0007.json".to_owned(), true, true),
                ("cluster/core/configmaps/a/c0200.json".to_owned(), true, false),
                ("cluster/core/configmaps/b/new.json".to_owned(), false, true),
            ]
        );
    }

    #[tokio::test]
    async fn a_folder_that_grew_into_sixteenths_is_compared_file_by_file() {
        let (flat, large) = (tree(many(60, "x")).await, tree(many(70, "x")).await);
        let grown = changed(&flat, &large).await;
        assert_eq!(grown.len(), 10);
        assert!(
            grown
                .iter()
                .all(|(path, before, after)| path.as_str() >= "cluster/core/configmaps/a/c0060" && !before && *after)
        );
        assert_eq!(changed(&large, &flat).await.len(), 10);
    }

    #[tokio::test]
    async fn a_file_in_the_place_of_a_folder_is_both_changes() {
        let before = tree([("files/a".to_owned(), "x")]).await;
        let after = tree([("files/a/b".to_owned(), "x")]).await;
        let expected = [("files/a".to_owned(), true, false), ("files/a/b".to_owned(), false, true)];
        assert_eq!(changed(&before, &after).await, expected);
    }

    #[tokio::test]
    async fn what_is_not_selected_is_not_compared() {
        let before = tree(many(3, "x")).await;
        let after = tree(many(3, "y")).await;
        let only = ["cluster/core/configmaps/a/c0001.json".to_owned()];
        let selection = Selection::new(&only, &[], Scope::Everything).unwrap();
        assert_eq!(diff_trees(&before, &after, &selection).await.unwrap().len(), 1);
    }
}
