//! What a snapshot says of the types: which names they have, and which of them it could not read.
//!
//! In: `cluster/_types.json` of snapshots. Out: selections. Invariant: an object of a type that could not be read is not
//! one that is missing; whoever compares leaves such types out.

use std::collections::BTreeMap;

use crate::cluster::type_name;
use crate::snapshot::{Scope, Selection, TYPES_PATH, TypeRecord, TypeState, TypesDocument};
use crate::store::SnapshotTree;

use super::error::RestoreError;

/// The list of types in a snapshot; `None` when it holds no cluster.
pub(super) async fn recorded_types(tree: &SnapshotTree) -> Result<Option<TypesDocument>, RestoreError> {
    let bytes = tree.read(TYPES_PATH).await?;
    bytes.map(|bytes| TypesDocument::parse(&bytes)).transpose().map_err(RestoreError::Types)
}

/// All but the types that the snapshot could not read.
///
/// # Errors
/// The snapshot's list of types cannot be read.
pub async fn readable(tree: &SnapshotTree) -> Result<Selection, RestoreError> {
    let document = recorded_types(tree).await?;
    let unread: Vec<String> = document.iter().flat_map(unread).map(name).collect();
    Ok(Selection::new(&[], &unread, Scope::Everything)?)
}

/// Types of which a snapshot holds nothing, since they could not be listed when it was taken, each with whether it has
/// namespaces. What is changed or deleted of them cannot be brought back by that snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unsaved(BTreeMap<(String, String), bool>);

impl Unsaved {
    /// Those of a snapshot.
    ///
    /// # Errors
    /// The snapshot's list of types cannot be read.
    pub async fn of(tree: &SnapshotTree) -> Result<Self, RestoreError> {
        let document = recorded_types(tree).await?;
        let types = document.iter().flat_map(unread);
        Ok(Self(types.map(|record| ((record.group.clone(), record.resource.clone()), record.namespaced)).collect()))
    }

    /// Whether this type is one.
    pub(super) fn has(&self, group: &str, resource: &str) -> bool {
        self.0.contains_key(&(group.to_owned(), resource.to_owned()))
    }

    /// Those with namespaces, by name.
    pub(super) fn in_namespaces(&self) -> impl Iterator<Item = String> {
        self.0.iter().filter(|(_, namespaced)| **namespaced).map(|((group, resource), _)| type_name(group, resource))
    }
}

fn unread(document: &TypesDocument) -> impl Iterator<Item = &TypeRecord> {
    document.types.iter().filter(|record| matches!(record.state, TypeState::Unlistable { .. }))
}

fn name(record: &TypeRecord) -> String {
    type_name(&record.group, &record.resource)
}

/// A selection with its kinds and short names looked up among the types of these snapshots.
pub(super) async fn resolve(selection: Selection, trees: &[&SnapshotTree]) -> Result<Selection, RestoreError> {
    if selection.is_everything() {
        return Ok(selection);
    }
    let mut names = Vec::new();
    for tree in trees {
        names.extend(recorded_types(tree).await?.iter().flat_map(TypesDocument::names));
    }
    Ok(selection.resolve(&names)?)
}
