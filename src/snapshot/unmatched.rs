//! Which patterns of a selection mean nothing that there is.
//!
//! In: a selection whose types were looked up, and trees. Out: the patterns, as they were typed. Every tree is walked
//! once at most, for all patterns together, and no further than to the first match of the last of them; folders of
//! types and namespaces that no pattern can mean are not read.

use futures::TryStreamExt as _;

use super::path::ObjectPath;
use super::pattern::Pattern;
use super::selection::Selection;
use crate::store::{SnapshotTree, StoreError, decode_name};

/// The folder of what has no namespace.
const NO_NAMESPACE: &str = "_";

/// The patterns of `--only` that match nothing in any of the trees.
///
/// # Errors
/// A tree cannot be read.
pub async fn unmatched_patterns(selection: &Selection, trees: &[&SnapshotTree]) -> Result<Vec<String>, StoreError> {
    let mut waiting: Vec<Waiting<'_>> =
        selection.only().iter().map(|pattern| Waiting { pattern, matched: false }).collect();
    for tree in trees {
        strike_matching(&mut waiting, tree).await?;
    }
    let unmatched = waiting.iter().filter(|waiting| !waiting.matched);
    Ok(unmatched.map(|waiting| waiting.pattern.text().to_owned()).collect())
}

/// A pattern and whether something of it was found.
struct Waiting<'a> {
    pattern: &'a Pattern,
    matched: bool,
}

async fn strike_matching(waiting: &mut [Waiting<'_>], tree: &SnapshotTree) -> Result<(), StoreError> {
    for root in tree.folder("").await?.unwrap_or_default() {
        if root.name != "cluster" {
            strike_below(waiting, tree, &root.name, |_| true).await?;
            continue;
        }
        for group in tree.folder("cluster").await?.unwrap_or_default() {
            let group_folder = format!("cluster/{}", group.name);
            let group_name = if group.name == "core" { "" } else { &group.name };
            for resource in tree.folder(&group_folder).await?.unwrap_or_default() {
                let of_type = |pattern: &Pattern| pattern.may_match_type(group_name, &resource.name);
                if !waiting.iter().any(|waiting| !waiting.matched && of_type(waiting.pattern)) {
                    continue;
                }
                let folder = format!("{group_folder}/{}", resource.name);
                for namespace in tree.folder(&folder).await?.unwrap_or_default() {
                    let name = decode_name(&namespace.name);
                    let may_match = |pattern: &Pattern| {
                        let elsewhere = |wanted| name != NO_NAMESPACE && name != wanted;
                        of_type(pattern) && !pattern.namespace().is_some_and(elsewhere)
                    };
                    strike_below(waiting, tree, &format!("{folder}/{}", namespace.name), may_match).await?;
                }
            }
        }
    }
    Ok(())
}

/// Looks at every file of a folder until no pattern that may match there is left.
async fn strike_below(
    waiting: &mut [Waiting<'_>],
    tree: &SnapshotTree,
    folder: &str,
    may_match: impl Fn(&Pattern) -> bool,
) -> Result<(), StoreError> {
    let mut candidates: Vec<&mut Waiting<'_>> =
        waiting.iter_mut().filter(|waiting| !waiting.matched && may_match(waiting.pattern)).collect();
    let mut files = tree.walk(folder);
    while !candidates.is_empty() {
        let Some((path, _)) = files.try_next().await? else { break };
        let object = ObjectPath::parse(&path);
        candidates.retain_mut(|waiting| {
            waiting.matched = waiting.pattern.matches(&path, object.as_ref());
            !waiting.matched
        });
    }
    Ok(())
}
