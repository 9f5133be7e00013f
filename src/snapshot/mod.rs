//! A snapshot's content: paths, the canonical form of an object, what is selected, and the capture of a cluster.
//!
//! In: a live cluster. Out: a tree in the store. Invariants: I4 (one revision, complete, or says exactly what is
//! missing); nothing in a tree depends on when it was taken.

mod canonical;
mod capture;
mod census;
mod diff;
mod field_diff;
mod listing;
mod outcome;
mod path;
mod pattern;
mod read_versions;
mod selection;
mod sorted_json;
mod type_names;
mod types_document;
mod unmatched;

pub use canonical::{CanonicalError, ObjectIdentity, canonical_object};
pub use capture::{CaptureError, CaptureOptions, capture_cluster, series};
pub use diff::{Change, diff_trees};
pub(crate) use field_diff::member;
pub use field_diff::{FieldChange, at_or_below, field_changes, is_noise};
pub use outcome::{ClusterCapture, SkippedType, UnlistableType};
pub use path::{ObjectPath, TYPES_PATH};
pub use pattern::SelectionError;
pub use selection::{Scope, Selection};
pub(crate) use sorted_json::MAX_DEPTH;
pub use type_names::TypeNames;
pub use types_document::{RecordedOrigin, TypeRecord, TypeState, TypesDocument};
pub use unmatched::unmatched_patterns;
