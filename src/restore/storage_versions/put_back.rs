//! Takes a type back to the CRD that it had before a conversion was begun.
//!
//! In: a conversion whose wanted CRD is that earlier one, and the live CRD, wherever the conversion that was given up
//! left it. Out: the earlier CRD, and a list that proves the type readable. No object is written where the earlier CRD
//! counts every version that objects may be stored in among its own; else the way back is a conversion too.
//! Invariants: as those of a conversion; a CRD that is gone or was made anew is left alone, since no union is left then.

use serde_json::Value;

use super::conversion::{Conversion, Taken};
use super::definition::{Definition, is_within};
use super::error::StorageError;
use crate::progress::Progress;
use crate::restore::address::{CRD_GROUP, CRD_RESOURCE};
use crate::restore::error::RestoreError;
use crate::restore::object;
use crate::snapshot::ObjectPath;
use crate::store::SnapshotTree;

/// How often it is begun anew after somebody else was faster.
const OVERTAKEN: u32 = 10;

/// The CRD of that name, as a snapshot has it.
///
/// # Errors
/// The snapshot cannot be read, or has something else in its place.
pub async fn crd_of(tree: &SnapshotTree, name: &str) -> Result<Option<Value>, RestoreError> {
    let (group, resource) = (CRD_GROUP.to_owned(), CRD_RESOURCE.to_owned());
    let path = ObjectPath { group, resource, namespace: None, name: name.to_owned() }.to_tree_path();
    let Some(bytes) = tree.read(&path).await? else { return Ok(None) };
    let crd = object::parse(&path, &bytes)?;
    object::check_place(&path, &crd)?;
    Ok(Some(crd))
}

impl Conversion<'_> {
    /// Makes the CRD what it was, as the wanted CRD of this conversion says.
    ///
    /// # Errors
    /// As [`Conversion::run`]; and that what it was is itself half-way to somewhere.
    pub async fn put_back(&mut self, progress: &dyn Progress) -> Result<(), StorageError> {
        if Definition::of(&self.wanted).is_union() {
            return Err(StorageError::NothingEarlier { crd: self.name.clone() });
        }
        for _ in 0..OVERTAKEN {
            self.live = match self.read().await {
                Err(StorageError::Gone { .. }) => return Ok(()),
                read => read?,
            };
            let (live, earlier) = (Definition::of(&self.live), Definition::of(&self.wanted));
            if live.is_terminating() {
                return Err(StorageError::Ending { crd: self.name.clone() });
            }
            if object::uid(&self.live) != object::uid(&self.wanted) {
                return match live.is_union() {
                    true => Err(StorageError::Replaced { crd: self.name.clone() }),
                    false => Ok(()),
                };
            }
            let taken = if live.stores_like(earlier) {
                self.prove().await?
            } else if is_within(&live.may_be_stored(), &earlier.stored()) {
                self.finish().await?
            } else {
                break;
            };
            match taken {
                Taken::Done if Definition::of(&self.live).stores_like(Definition::of(&self.wanted)) => return Ok(()),
                // Objects that only a conversion reads, and nobody answers for it: they are stored anew.
                Taken::Broken { .. } => break,
                _ => {}
            }
        }
        self.run(progress).await.map(drop)
    }
}
