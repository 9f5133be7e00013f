//! What a capture came to: the record of every type, and the summary that people see.
//!
//! In: what became of each type. Out: records for `cluster/_types.json`, and [`ClusterCapture`]. Invariant: nothing is
//! left out silently; what is missing is named with the verb, the type and the server's words.

use super::census::{Census, LostType};
use super::selection::Selection;
use super::types_document::{TypeRecord, TypeState, TypesDocument};
use crate::cluster::{ServedType, TypeOrigin};

/// The verb that every capture needs, for every type.
pub(super) const LIST: &str = "list";
/// Recorded of types that the filters leave out.
pub(super) const NOT_SELECTED: &str = "not selected";

/// A type whose objects are missing from the snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnlistableType {
    /// API group; empty for the core group.
    pub group: String,
    /// Plural name.
    pub resource: String,
    /// The verb that was refused, `list`.
    pub verb: String,
    /// HTTP status code, 0 when there was no answer to blame.
    pub status: u16,
    /// The server's words.
    pub reason: String,
}

/// A type that is left out on purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedType {
    /// API group; empty for the core group.
    pub group: String,
    /// Plural name; `*` when another API server answers for the whole group version.
    pub resource: String,
    /// Why.
    pub reason: String,
}

/// What was captured. Complete if `unlistable` is empty.
#[derive(Clone, Debug)]
pub struct ClusterCapture {
    /// The etcd revision of every object.
    pub revision: u64,
    /// UID of the namespace kube-system.
    pub identity: String,
    /// The API server's version.
    pub kubernetes: String,
    /// Objects.
    pub objects: u64,
    /// Types with at least one object.
    pub types: u64,
    /// What is missing.
    pub unlistable: Vec<UnlistableType>,
    /// What is left out on purpose, though it is selected.
    pub skipped: Vec<SkippedType>,
    /// How many revisions it took, 1 when all went well.
    pub attempts: u32,
}

/// The type of CRDs: known before any CRD is, since it is built in.
pub(super) fn crd_type(types: &[ServedType]) -> ServedType {
    types.iter().find(|served| served.defines_types()).cloned().unwrap_or_else(|| ServedType {
        group: "apiextensions.k8s.io".to_owned(),
        version: "v1".to_owned(),
        resource: "customresourcedefinitions".to_owned(),
        singular: "customresourcedefinition".to_owned(),
        kind: "CustomResourceDefinition".to_owned(),
        namespaced: false,
        verbs: vec![LIST.to_owned()],
        short_names: Vec::new(),
        categories: Vec::new(),
        has_status: true,
        origin: TypeOrigin::BuiltIn,
    })
}

pub(super) fn unlistable(status: u16, reason: String) -> TypeState {
    TypeState::Unlistable { verb: LIST.to_owned(), status, reason }
}

/// The folder of a type's objects.
pub(super) fn folder(served: &ServedType) -> String {
    let group = if served.group.is_empty() { "core" } else { &served.group };
    format!("cluster/{}/{}", crate::store::encode_name(group), crate::store::encode_name(&served.resource))
}

/// A type that discovery lacks altogether still has to be named.
pub(super) fn lost_record(lost: &LostType, selection: &Selection) -> Option<TypeRecord> {
    if !selection.may_include_type(&lost.group, &lost.resource) {
        return None;
    }
    let custom = TypeOrigin::CustomResource { storage_version: String::new(), served_versions: Vec::new() };
    let origin = if lost.custom { custom } else { TypeOrigin::BuiltIn };
    Some(bare_record(&lost.group, &lost.version, &lost.resource, origin, unlistable(0, lost.reason.clone())))
}

pub(super) fn remote_record(group: &str, version: &str, service: &str) -> TypeRecord {
    let reason = format!("{group}/{version} is served by another API server, Service {service}");
    let origin = TypeOrigin::Remote { service: service.to_owned() };
    bare_record(group, version, "*", origin, TypeState::Skipped { reason })
}

fn bare_record(group: &str, version: &str, resource: &str, origin: TypeOrigin, state: TypeState) -> TypeRecord {
    let served = ServedType {
        group: group.to_owned(),
        version: version.to_owned(),
        resource: resource.to_owned(),
        singular: String::new(),
        kind: String::new(),
        namespaced: false,
        verbs: Vec::new(),
        short_names: Vec::new(),
        categories: Vec::new(),
        has_status: false,
        origin,
    };
    TypeRecord::new(&served, state)
}

pub(super) fn summary(census: &Census, document: &TypesDocument) -> ClusterCapture {
    let mut capture = ClusterCapture {
        revision: census.revision,
        identity: census.identity.clone(),
        kubernetes: census.kubernetes.clone(),
        objects: 0,
        types: 0,
        unlistable: Vec::new(),
        skipped: Vec::new(),
        attempts: 1,
    };
    for TypeRecord { group, resource, state, .. } in &document.types {
        let (group, resource) = (group.clone(), resource.clone());
        match state {
            TypeState::Captured { objects } => {
                capture.objects += objects;
                capture.types += u64::from(*objects > 0);
            }
            TypeState::Skipped { reason } if reason == NOT_SELECTED => {}
            TypeState::Skipped { reason } => {
                capture.skipped.push(SkippedType { group, resource, reason: reason.clone() });
            }
            TypeState::Unlistable { verb, status, reason } => capture.unlistable.push(UnlistableType {
                group,
                resource,
                verb: verb.clone(),
                status: *status,
                reason: reason.clone(),
            }),
        }
    }
    capture
}
