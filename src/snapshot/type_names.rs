//! What a type is called: all that a person may type for it.

use crate::cluster::ServedType;

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

impl TypeNames {
    /// As kubectl writes it: `deployments.apps`, `pods`.
    pub(super) fn full_name(&self) -> String {
        if self.group.is_empty() { self.resource.clone() } else { format!("{}.{}", self.resource, self.group) }
    }
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
