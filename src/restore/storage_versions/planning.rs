//! What a plan has to know of storage versions before it looks at single objects.
//!
//! In: both sides of a restore. Out: the types that are brought to another storage version, and which of them have to be
//! before their objects can be compared.

use std::collections::BTreeMap;

use super::conversion::versions_in;
use super::definition::{Definition, needs_conversion};
use crate::restore::address::{crd_path, is_crd};
use crate::restore::error::RestoreError;
use crate::restore::plan::{SkipReason, Skipped};
use crate::restore::recorded_types::recorded_types;
use crate::restore::world::World;
use crate::snapshot::{Change, ObjectPath, RecordedOrigin, TypeState, TypesDocument};

/// Finds the types that need a conversion. One that cannot be read because a version was taken off its CRD too early
/// needs it too, though its CRD may not differ from the wanted one.
pub(in crate::restore) async fn find_conversions(
    world: &mut World<'_>,
    changes: &mut Vec<Change>,
) -> Result<(), RestoreError> {
    world.conversions.clear();
    let (live_types, wanted_types) = (recorded_types(world.live).await?, recorded_types(world.wanted).await?);
    for record in live_types.iter().flat_map(|document| &document.types) {
        let TypeState::Unlistable { reason, .. } = &record.state else { continue };
        if record.origin != RecordedOrigin::Custom || !names_a_lost_version(reason, &record.group) {
            continue;
        }
        let path = crd_path(&record.group, &record.resource);
        if !world.selection.includes_path(&path) {
            continue;
        }
        let (before, after) = (world.live.entry(&path).await?, world.wanted.entry(&path).await?);
        let key = (record.group.clone(), record.resource.clone());
        if before.is_some() && after.is_some() && !world.doomed.types.contains(&key) {
            world.conversions.insert(key, true);
            if !changes.iter().any(|change| change.path == path) {
                changes.push(Change { path, before, after });
            }
        }
    }
    for change in changes.iter() {
        let is_crd = ObjectPath::parse(&change.path).is_some_and(|path| is_crd(&path));
        let (Some(before), Some(after), true) = (&change.before, &change.after, is_crd) else { continue };
        let live = world.live_object(&change.path, &before.hash).await?;
        let wanted = world.wanted_object(&change.path, &after.hash).await?;
        let definition = Definition::of(&live);
        let key = (definition.group().to_owned(), definition.plural().to_owned());
        let goes = world.doomed.types.contains(&key);
        if goes || !needs_conversion(&live, &wanted) || world.conversions.contains_key(&key) {
            continue;
        }
        let read_at = |types: &Option<TypesDocument>| {
            types.as_ref().and_then(|types| types.find(&key.0, &key.1)).map(|record| record.version.clone())
        };
        let readable = live_types.as_ref().and_then(|types| types.find(&key.0, &key.1)?.objects()).is_some();
        let later = !readable || read_at(&live_types) != read_at(&wanted_types);
        world.conversions.insert(key, later);
    }
    Ok(())
}

/// The API server could not read an object because it is stored at a version that its CRD does not have. A webhook that
/// does not answer is another matter: it comes back.
pub(super) fn names_a_lost_version(reason: &str, group: &str) -> bool {
    !reason.contains("webhook") && !versions_in(reason, group).is_empty()
}

/// Takes out what can only be compared once its type is converted.
pub(in crate::restore) fn put_off(world: &World<'_>, changes: &mut BTreeMap<String, Change>) -> Vec<Skipped> {
    let later = world.conversions.iter().filter(|(_, later)| **later);
    let mut objects: BTreeMap<(String, String), u64> = later.map(|(key, _)| (key.clone(), 0)).collect();
    changes.retain(|path, _| {
        let Some(place) = ObjectPath::parse(path) else { return true };
        let key = (place.group, place.resource);
        objects.get_mut(&key).map(|count| *count += 1).is_none()
    });
    let skipped = |((group, resource), objects): ((String, String), u64)| Skipped {
        path: crd_path(&group, &resource),
        reason: SkipReason::ComparedLater { objects },
    };
    objects.into_iter().map(skipped).collect()
}

#[cfg(test)]
mod tests {
    use super::names_a_lost_version;

    #[test]
    fn a_webhook_that_does_not_answer_is_no_lost_version() {
        let lost = |text: &str| names_a_lost_version(text, "a.example");
        assert!(lost("request to convert CR from an invalid group/version: a.example/v2"));
        assert!(!lost("conversion webhook for a.example/v2, Kind=A failed: connection refused"));
        assert!(!lost("storage is (re)initializing"));
    }
}
