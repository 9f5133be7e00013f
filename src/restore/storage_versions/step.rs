//! What comes next on the way from one storage version to another.
//!
//! Pure: the state of the live CRD and what this run found out about that very state give the next step, so that a run
//! that begins in the middle, after a kill or after somebody else's hand, goes on from whatever it sees.
//!
//! ```text
//!   any other state ── Union ─> union ── Rewrite ─> nothing moved ── Narrow ─> storedVersions ── Finish ─> wanted CRD
//!          ^                                                                                                  │ Prove
//!          └───────────────────────────────── not readable ──────────────────────────────────────────────────┴─> done
//! ```

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::definition::{At, Definition};

/// A step. Each looks at the world first and may be taken again at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// The live CRD becomes the union of all known forms, with the wanted storage version and without conversion.
    Union,
    /// Every object of the type is written anew until a whole pass moves none.
    Rewrite,
    /// `status.storedVersions` becomes that of the wanted CRD.
    Narrow,
    /// The wanted CRD takes the union's place.
    Finish,
    /// The whole type is listed.
    Prove,
}

/// What this run found out, each about one state of the CRD.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// What the CRD says of how its objects are stored is taken for true, unless a list proves otherwise.
    pub(super) trusts_crd: bool,
    /// A whole pass moved nothing.
    pub(super) rewritten: Option<At>,
    /// The whole type was listed, or could not be.
    pub(super) proven: Option<(At, bool)>,
}

impl Default for Known {
    fn default() -> Self {
        Self { trusts_crd: true, rewritten: None, proven: None }
    }
}

/// The next step; `None` when the type is stored as it should be and can be read.
pub(super) fn next_step(live: &Value, wanted: &Value, needed: &BTreeSet<String>, known: &Known) -> Option<Step> {
    let (live, wanted) = (Definition::of(live), Definition::of(wanted));
    let at = live.at();
    if live.stores_like(wanted) {
        if !known.trusts_crd && known.rewritten.as_ref() != Some(&at) {
            return Some(Step::Rewrite);
        }
        return match &known.proven {
            Some((proven, readable)) if *proven == at => (!readable).then_some(Step::Union),
            _ => Some(Step::Prove),
        };
    }
    if !live.is_union_towards(wanted, needed) {
        return Some(Step::Union);
    }
    if known.rewritten.as_ref() != Some(&at) {
        return Some(Step::Rewrite);
    }
    let same: BTreeSet<String> = wanted.stored().into_iter().collect();
    let narrowed = live.stored().into_iter().collect::<BTreeSet<_>>() == same;
    Some(if narrowed { Step::Finish } else { Step::Narrow })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::{Known, Step, next_step};
    use crate::restore::object;
    use crate::restore::storage_versions::definition::{Definition, Schemas, needs_conversion, union};

    /// `!` behind a version's name: objects are stored in it.
    fn crd(generation: u32, versions: &[&str], stored: &[&str]) -> Value {
        let versions: Vec<Value> = versions
            .iter()
            .map(|name| {
                let schema = json!({"openAPIV3Schema": {"type": "object", "description": name.trim_end_matches('!')}});
                json!({"name": name.trim_end_matches('!'), "served": true, "storage": name.ends_with('!'), "schema": schema})
            })
            .collect();
        json!({"metadata": {"name": "things.a.example", "uid": "1", "generation": generation},
            "spec": {"group": "a.example", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
                "versions": versions, "conversion": {"strategy": "Webhook"}},
            "status": {"storedVersions": stored}})
    }

    fn none() -> BTreeSet<String> {
        BTreeSet::new()
    }

    /// Takes a step as the API server would.
    fn taken(step: Step, live: &mut Value, wanted: &Value, before: &Value, known: &mut Known) {
        let at = Definition::of(live).at();
        match step {
            Step::Union => *live = union(live, wanted, std::slice::from_ref(before), &none(), Schemas::Whole),
            Step::Rewrite => known.rewritten = Some(at),
            Step::Narrow => object::set(live, "/status", "storedVersions", wanted["status"]["storedVersions"].clone()),
            Step::Finish => {
                live["spec"] = wanted["spec"].clone();
                object::remove(live, "/metadata", "annotations");
            }
            Step::Prove => known.proven = Some((at, true)),
        }
        if matches!(step, Step::Union | Step::Finish) {
            let generation = live["metadata"]["generation"].as_u64().unwrap() + 1;
            live["metadata"]["generation"] = json!(generation);
        }
    }

    #[test]
    fn the_whole_way_is_walked_and_a_run_that_forgot_everything_goes_on_from_anywhere() {
        let (wanted, before) =
            (crd(1, &["v1alpha1!"], &["v1alpha1"]), crd(4, &["v1alpha1", "v1!"], &["v1alpha1", "v1"]));
        for forgetful in [false, true] {
            let (mut live, mut known, mut steps) = (before.clone(), Known::default(), Vec::new());
            while let Some(step) = next_step(&live, &wanted, &none(), &known) {
                // A killed run knows nothing, and finds out again before it goes on.
                if forgetful && !matches!(step, Step::Narrow | Step::Finish) && steps.last() != Some(&step) {
                    known = Known::default();
                }
                taken(step, &mut live, &wanted, &before, &mut known);
                steps.push(step);
                assert!(steps.len() < 10, "{steps:?}");
            }
            assert_eq!(steps, [Step::Union, Step::Rewrite, Step::Narrow, Step::Finish, Step::Prove], "{forgetful}");
            assert_eq!(live["spec"], wanted["spec"]);
            assert_eq!(live["status"], wanted["status"]);
        }
    }

    #[test]
    fn nothing_is_narrowed_or_finished_that_this_run_did_not_see_rewritten() {
        let (wanted, before) = (crd(1, &["v1alpha1!"], &["v1alpha1"]), crd(4, &["v1alpha1", "v1!"], &["v1"]));
        let mut live = union(&before, &wanted, &[], &none(), Schemas::Whole);
        let mut known = Known { rewritten: Some(Definition::of(&live).at()), ..Known::default() };
        assert_eq!(next_step(&live, &wanted, &none(), &known), Some(Step::Narrow));
        // Somebody shortens the list on their own: that proves nothing.
        live["status"]["storedVersions"] = json!(["v1alpha1"]);
        assert_eq!(next_step(&live, &wanted, &none(), &Known::default()), Some(Step::Rewrite));
        assert_eq!(next_step(&live, &wanted, &none(), &known), Some(Step::Finish));
        // Somebody changes the union and back: what was found out was about another state.
        live["metadata"]["generation"] = json!(9);
        assert_eq!(next_step(&live, &wanted, &none(), &known), Some(Step::Rewrite));
        known.rewritten = None;
        // A union towards another snapshot is none.
        let other = crd(1, &["v1alpha1!", "v1beta1"], &["v1alpha1"]);
        assert_eq!(next_step(&live, &other, &none(), &known), Some(Step::Union));
        // Nor is one that lacks a version in which objects are known to be stored.
        assert_eq!(next_step(&live, &wanted, &BTreeSet::from(["v2".to_owned()]), &known), Some(Step::Union));
    }

    #[test]
    fn a_type_that_cannot_be_read_goes_back_to_a_union_that_knows_the_lost_version() {
        let (wanted, before) = (crd(1, &["v1alpha1!"], &["v1alpha1"]), crd(4, &["v1alpha1", "v1!"], &["v1"]));
        let mut live = crd(7, &["v1alpha1!"], &["v1alpha1"]);
        assert_eq!(next_step(&live, &wanted, &none(), &Known::default()), Some(Step::Prove));
        let known = Known { proven: Some((Definition::of(&live).at(), false)), ..Known::default() };
        assert_eq!(next_step(&live, &wanted, &none(), &known), Some(Step::Union));
        live = union(&live, &wanted, &[before], &none(), Schemas::Whole);
        let names: Vec<_> = Definition::of(&live).version_names().into_iter().collect();
        assert_eq!(names, ["v1", "v1alpha1"]);
        let named = union(
            &crd(7, &["v1alpha1!"], &["v1alpha1"]),
            &wanted,
            &[],
            &BTreeSet::from(["v2".to_owned()]),
            Schemas::Whole,
        );
        assert!(Definition::of(&named).version_names().contains("v2"));
        assert!(!Definition::of(&named).serves("v2"));
    }

    #[test]
    fn an_update_suffices_exactly_when_every_stored_version_is_one_of_the_wanted_ones() {
        let wanted = crd(1, &["v1alpha1!", "v1"], &["v1alpha1"]);
        assert!(!needs_conversion(&crd(2, &["v1alpha1!", "v1"], &["v1alpha1"]), &wanted));
        assert!(needs_conversion(&crd(2, &["v1alpha1", "v1!"], &["v1alpha1", "v1"]), &wanted));
        // The list was shortened too early, but objects are written in v1 all the same.
        assert!(needs_conversion(&crd(2, &["v1alpha1", "v1!"], &["v1alpha1"]), &wanted));
        let both = crd(1, &["v1alpha1!", "v1"], &["v1alpha1", "v1"]);
        assert!(!needs_conversion(&crd(2, &["v1alpha1", "v1!"], &["v1"]), &both));
    }

    #[test]
    fn a_union_stores_at_the_wanted_version_converts_nothing_and_drops_schemas_when_told_so() {
        let mut wanted = crd(1, &["v1alpha1!"], &["v1alpha1"]);
        wanted["spec"]["versions"][0]["served"] = json!(false);
        let before = crd(4, &["v1alpha1", "v1!"], &["v1"]);
        let whole = union(&before, &wanted, &[], &none(), Schemas::Whole);
        let union_of = Definition::of(&whole);
        assert_eq!(
            (union_of.storage(), union_of.conversion(), union_of.read_version()),
            ("v1alpha1", "None", Some("v1alpha1"))
        );
        assert_eq!(whole["spec"]["versions"][1]["schema"], before["spec"]["versions"][1]["schema"]);
        assert_eq!(whole["status"], before["status"]);
        let open = union(&before, &wanted, &[], &none(), Schemas::Open);
        let schema = |at: usize| open["spec"]["versions"][at]["schema"]["openAPIV3Schema"].clone();
        assert_eq!(schema(0)["description"], "v1alpha1");
        assert_eq!(schema(1), json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}));
    }
}
