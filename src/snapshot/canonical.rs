//! The canonical form of an object.

/// What names an object and its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectIdentity {
    /// Namespace, or `None` for what has none.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// resourceVersion.
    pub resource_version: String,
}

/// An object that cannot be brought into its canonical form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    /// The text is no JSON object with `metadata.name`.
    #[error("an object of kind `{kind}` is not a JSON object with metadata.name")]
    NotAnObject {
        /// Its kind.
        kind: String,
    },
    /// Nested deeper than any real object.
    #[error("an object of kind `{kind}` is nested deeper than {limit} levels")]
    TooDeep {
        /// Its kind.
        kind: String,
        /// The limit.
        limit: usize,
    },
}

/// Sorts the keys, puts `apiVersion` and `kind` in where they are missing, alters nothing else.
pub fn canonical_object(
    _item: &str,
    _api_version: &str,
    _kind: &str,
) -> Result<(ObjectIdentity, Vec<u8>), CanonicalError> {
    todo!()
}
