//! What of a snapshot is meant: `--only`, `--exclude` and `--scope`.

use crate::cluster::ServedType;

/// A preset of what is selected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// All there is.
    #[default]
    Everything,
    /// The list in the upgrade plan's backup step.
    Plan,
}

/// A pattern that cannot mean anything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SelectionError {
    /// Neither a glob on a path nor `TYPE[.GROUP][/NAMESPACE[/NAME]]`.
    #[error("`{pattern}` is no pattern: {problem}")]
    Malformed {
        /// As it was given.
        pattern: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The cluster serves no such type.
    #[error("`{pattern}` names no type that the cluster serves")]
    UnknownType {
        /// As it was given.
        pattern: String,
        /// Types with a similar name.
        near: Vec<String>,
    },
}

/// The names that a person may use for a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeNames {
    /// API group; empty for the core group.
    pub group: String,
    /// Plural name.
    pub resource: String,
    /// Singular name.
    pub singular: String,
    /// Kind.
    pub kind: String,
    /// Short names.
    pub short_names: Vec<String>,
    /// Categories, such as `all`.
    pub categories: Vec<String>,
}

impl From<&ServedType> for TypeNames {
    fn from(served: &ServedType) -> Self {
        Self {
            group: served.group.clone(),
            resource: served.resource.clone(),
            singular: served.singular.clone(),
            kind: served.kind.clone(),
            short_names: served.short_names.clone(),
            categories: served.categories.clone(),
        }
    }
}

/// Which paths of a snapshot are meant.
#[derive(Clone, Debug)]
pub struct Selection {}

impl Selection {
    /// All of it.
    pub fn everything() -> Self {
        todo!()
    }
    /// Takes patterns as they were typed: globs on paths, or `TYPE[.GROUP][/NAMESPACE[/NAME]]`.
    pub fn new(_only: &[String], _exclude: &[String], _scope: Scope) -> Result<Self, SelectionError> {
        todo!()
    }
    /// The same, with kinds, short names and categories looked up among the types that there are. A capture does
    /// this itself; what reads only snapshots may give the names out of `cluster/_types.json`.
    pub fn resolve(&self, _types: &[TypeNames]) -> Result<Self, SelectionError> {
        todo!()
    }
    /// This path is meant.
    pub fn includes_path(&self, _tree_path: &str) -> bool {
        todo!()
    }
    /// Some object of this type may be meant.
    pub fn may_include_type(&self, _group: &str, _resource: &str) -> bool {
        todo!()
    }
    /// The same selection always gives the same text; empty for everything.
    pub fn canonical_text(&self) -> String {
        todo!()
    }
}
