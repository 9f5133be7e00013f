//! `cluster/_types.json`: every type that the cluster serves, and what became of it in the snapshot.
//!
//! In: what discovery and the capture say. Out: one line a type, sorted, keys sorted. Invariant: nothing in it depends on
//! when it was taken, so that two captures of an unchanged cluster have the same bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::type_names::TypeNames;
use crate::cluster::{ServedType, TypeOrigin};

/// Raised when a reader of the old form would misread the new one.
const FORMAT: u32 = 1;

/// Where a type comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordedOrigin {
    /// The API server itself.
    BuiltIn,
    /// A CustomResourceDefinition.
    Custom,
    /// Another API server.
    Remote,
}

/// What became of a type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TypeState {
    /// Every selected object is in the snapshot.
    Captured {
        /// How many.
        objects: u64,
    },
    /// Left out on purpose.
    Skipped {
        /// Why.
        reason: String,
    },
    /// Missing.
    Unlistable {
        /// The server's words.
        reason: String,
        /// HTTP status code, 0 when there was no answer to blame.
        status: u16,
        /// The verb that failed.
        verb: String,
    },
}

/// One type. Fields are in the order of their names, which is the order in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TypeRecord {
    /// Such as `all`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
    /// API group; empty for the core group.
    pub group: String,
    /// Kind at the captured version.
    pub kind: String,
    /// Its objects live in namespaces.
    pub namespaced: bool,
    /// Where it comes from.
    pub origin: RecordedOrigin,
    /// Plural name; `*` when another API server answers for the whole group version.
    pub resource: String,
    /// Of a CRD: every version that is served.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub served_versions: Vec<String>,
    /// Such as `cm`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub short_names: Vec<String>,
    /// Such as `configmap`.
    #[serde(default)]
    pub singular: String,
    /// What became of it.
    pub state: TypeState,
    /// Of a CRD: the version that objects are stored in.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub storage_version: String,
    /// The version that was captured.
    pub version: String,
}

impl TypeRecord {
    /// What is known of a type, and what became of it.
    pub fn new(served: &ServedType, state: TypeState) -> Self {
        let (origin, storage_version, served_versions) = match &served.origin {
            TypeOrigin::BuiltIn => (RecordedOrigin::BuiltIn, String::new(), Vec::new()),
            TypeOrigin::CustomResource { storage_version, served_versions } => {
                (RecordedOrigin::Custom, storage_version.clone(), served_versions.clone())
            }
            TypeOrigin::Remote { .. } => (RecordedOrigin::Remote, String::new(), Vec::new()),
        };
        Self {
            categories: served.categories.clone(),
            group: served.group.clone(),
            kind: served.kind.clone(),
            namespaced: served.namespaced,
            origin,
            resource: served.resource.clone(),
            served_versions,
            short_names: served.short_names.clone(),
            singular: served.singular.clone(),
            state,
            storage_version,
            version: served.version.clone(),
        }
    }

    /// Its objects are in the snapshot.
    pub fn objects(&self) -> Option<u64> {
        match self.state {
            TypeState::Captured { objects } => Some(objects),
            _ => None,
        }
    }
}

impl From<&TypeRecord> for TypeNames {
    fn from(record: &TypeRecord) -> Self {
        Self {
            group: record.group.clone(),
            resource: record.resource.clone(),
            singular: record.singular.clone(),
            kind: record.kind.clone(),
            short_names: record.short_names.clone(),
            categories: record.categories.clone(),
        }
    }
}

/// The whole file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypesDocument {
    /// See `FORMAT`.
    format: u32,
    /// The API server's version without its patch, such as `v1.37`: built-in types come and go with it.
    pub server: String,
    /// Every type, sorted by group, resource and version.
    pub types: Vec<TypeRecord>,
}

impl TypesDocument {
    /// Takes the records in any order.
    pub fn new(kubernetes: &str, mut types: Vec<TypeRecord>) -> Self {
        types.sort_by(|a, b| (&a.group, &a.resource, &a.version).cmp(&(&b.group, &b.resource, &b.version)));
        Self { format: FORMAT, server: minor_version(kubernetes), types }
    }

    /// Reads the file.
    ///
    /// # Errors
    /// It is not what [`TypesDocument::to_bytes`] writes, or of a newer form.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let document: Self = serde_json::from_slice(bytes)?;
        if document.format > FORMAT {
            return Err(serde::de::Error::custom(format!("format {} is newer than {FORMAT}", document.format)));
        }
        Ok(document)
    }

    /// The file: one line a type, for a readable `diff`.
    ///
    /// # Errors
    /// Never in practice: every field is plain text.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut text =
            format!("{{\"format\":{},\"server\":{},\"types\":[", self.format, serde_json::to_string(&self.server)?);
        for (index, record) in self.types.iter().enumerate() {
            text.push_str(if index == 0 { "\n" } else { ",\n" });
            text.push_str(&serde_json::to_string(record)?);
        }
        text.push_str("\n]}\n");
        Ok(text.into_bytes())
    }

    /// One type.
    pub fn find(&self, group: &str, resource: &str) -> Option<&TypeRecord> {
        self.types.iter().find(|record| record.group == group && record.resource == resource)
    }

    /// The version of each custom type whose objects are there, by group and plural name.
    pub fn custom_versions(&self) -> BTreeMap<(String, String), String> {
        let custom = |record: &&TypeRecord| record.origin == RecordedOrigin::Custom && record.objects().is_some();
        let version = |record: &TypeRecord| ((record.group.clone(), record.resource.clone()), record.version.clone());
        self.types.iter().filter(custom).map(version).collect()
    }

    /// What people may call the types.
    pub fn names(&self) -> Vec<TypeNames> {
        self.types.iter().map(TypeNames::from).collect()
    }
}

/// `v1.37` of `v1.37.2-rc.1+abc`.
pub(super) fn minor_version(version: &str) -> String {
    version.split('.').take(2).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::{RecordedOrigin, TypeRecord, TypeState, TypesDocument, minor_version};

    #[test]
    fn the_file_survives_itself_and_its_keys_are_sorted() {
        let record = |group: &str, resource: &str, state: TypeState| TypeRecord {
            categories: vec!["all".to_owned()],
            group: group.to_owned(),
            kind: "K".to_owned(),
            namespaced: true,
            origin: RecordedOrigin::Custom,
            resource: resource.to_owned(),
            served_versions: vec!["v1".to_owned(), "v1alpha1".to_owned()],
            short_names: vec!["k".to_owned()],
            singular: "k".to_owned(),
            state,
            storage_version: "v1".to_owned(),
            version: "v1".to_owned(),
        };
        let refused = TypeState::Unlistable { verb: "list".to_owned(), status: 403, reason: "no".to_owned() };
        let types = vec![
            record("b", "x", TypeState::Captured { objects: 3 }),
            record("a", "z", TypeState::Skipped { reason: "a view".to_owned() }),
            record("a", "y", refused),
        ];
        let document = TypesDocument::new("v1.37.2", types);
        let bytes = document.to_bytes().unwrap();
        assert_eq!(TypesDocument::parse(&bytes).unwrap(), document);
        assert_eq!(document.find("b", "x").unwrap().objects(), Some(3));
        let text = String::from_utf8(bytes).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 5);
        // A `Value` sorts its keys.
        for line in &lines[1..4] {
            let line = line.trim_end_matches(',');
            assert_eq!(serde_json::from_str::<serde_json::Value>(line).unwrap().to_string(), line);
        }
        assert!(TypesDocument::parse(text.replace("\"format\":1", "\"format\":2").as_bytes()).is_err());
    }

    #[test]
    fn patches_of_the_server_do_not_count() {
        assert_eq!(minor_version("v1.37.2-rc.1+abc"), "v1.37");
    }
}
