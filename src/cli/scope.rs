//! What a stored snapshot was taken of, and which types it names.

use std::collections::BTreeMap;

pub(crate) use snapback::cluster::type_name;
use snapback::snapshot::{Selection, TYPES_PATH, TypeRecord, TypeState, TypesDocument, unmatched_patterns};
use snapback::store::SnapshotTree;

use super::error::{Failure, Prefix};
use super::exit::Exit;
use super::output::Output;

/// The selection behind the scope that stands in a snapshot's body: words `scope=`, `only=`, `exclude=`.
pub(crate) fn selection(text: &str) -> Result<Selection, Failure> {
    Selection::parse(text).map_err(|error| {
        Failure::of(Exit::Failed, &error).hint("use the snapback that took the snapshot, or a later one")
    })
}

/// The list of types in a snapshot; `None` when it holds no cluster.
pub(crate) async fn types(tree: &SnapshotTree) -> Result<Option<TypesDocument>, Failure> {
    let Some(bytes) = tree.read(TYPES_PATH).await? else { return Ok(None) };
    TypesDocument::parse(&bytes).map(Some).map_err(|error| {
        Failure::new(Exit::Failed, format!("`{TYPES_PATH}` of the snapshot cannot be read")).caused_by(&error)
    })
}

/// A selection with its kinds and short names looked up among the types of all these.
pub(crate) async fn resolve(selection: Selection, trees: &[&SnapshotTree]) -> Result<Selection, Failure> {
    if selection.canonical_text().is_empty() {
        return Ok(selection);
    }
    let mut names = None;
    for tree in trees {
        if let Some(document) = types(tree).await? {
            names.get_or_insert_with(Vec::new).extend(document.names());
        }
    }
    match names {
        Some(names) => Ok(selection.resolve(&names)?),
        None => Ok(selection),
    }
}

/// Says which patterns of `--only` mean nothing: a wrong name must not look like an empty answer.
pub(crate) async fn warn_unmatched(
    output: &Output,
    selection: &Selection,
    trees: &[&SnapshotTree],
) -> Result<(), Failure> {
    for pattern in unmatched_patterns(selection, trees).await? {
        output.message(Prefix::Warning, &format!("`{pattern}` matches nothing"));
    }
    Ok(())
}

/// The types that a stored snapshot could not read, each with why.
pub(crate) async fn unreadable_types(tree: &SnapshotTree) -> Result<BTreeMap<String, String>, Failure> {
    let document = types(tree).await?;
    let records = document.into_iter().flat_map(|document| document.types);
    let why = |record: TypeRecord| match &record.state {
        TypeState::Unlistable { verb, status, reason } => {
            let name = type_name(&record.group, &record.resource);
            let why = unreadable(verb, &name, *status, reason);
            Some((name, why))
        }
        _ => None,
    };
    Ok(records.filter_map(why).collect())
}

/// Why a type could not be read; without a status there was no answer to blame.
pub(crate) fn unreadable(verb: &str, name: &str, status: u16, reason: &str) -> String {
    let status = if status == 0 { String::new() } else { format!("{status} ") };
    format!("cannot {verb} {name}: {status}{reason}")
}
