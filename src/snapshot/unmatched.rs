//! Which patterns of a selection mean nothing that there is.
//!
//! In: a selection whose types were looked up, and trees. Out: the patterns, as they were typed. Only the folders of
//! types that a pattern may mean are read, and no further than to its first match.

use futures::TryStreamExt as _;

use super::path::ObjectPath;
use super::pattern::Pattern;
use super::selection::Selection;
use crate::store::{SnapshotTree, StoreError};

/// The patterns of `--only` that match nothing in any of the trees.
///
/// # Errors
/// A tree cannot be read.
pub async fn unmatched_patterns(selection: &Selection, trees: &[&SnapshotTree]) -> Result<Vec<String>, StoreError> {
    let mut unmatched = Vec::new();
    for pattern in selection.only() {
        let mut found = false;
        for tree in trees {
            found = found || matches_in(pattern, tree).await?;
        }
        if !found {
            unmatched.push(pattern.text().to_owned());
        }
    }
    Ok(unmatched)
}

async fn matches_in(pattern: &Pattern, tree: &SnapshotTree) -> Result<bool, StoreError> {
    for root in tree.folder("").await?.unwrap_or_default() {
        if root.name != "cluster" {
            if matches_below(pattern, tree, &root.name).await? {
                return Ok(true);
            }
            continue;
        }
        for group in tree.folder("cluster").await?.unwrap_or_default() {
            let group_folder = format!("cluster/{}", group.name);
            let group_name = if group.name == "core" { "" } else { &group.name };
            for resource in tree.folder(&group_folder).await?.unwrap_or_default() {
                if pattern.may_match_type(group_name, &resource.name)
                    && matches_below(pattern, tree, &format!("{group_folder}/{}", resource.name)).await?
                {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}

async fn matches_below(pattern: &Pattern, tree: &SnapshotTree, folder: &str) -> Result<bool, StoreError> {
    let mut files = tree.walk(folder);
    while let Some((path, _)) = files.try_next().await? {
        if pattern.matches(&path, ObjectPath::parse(&path).as_ref()) {
            return Ok(true);
        }
    }
    Ok(false)
}
