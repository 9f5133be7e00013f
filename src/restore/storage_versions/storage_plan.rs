//! What bringing a type to another storage version will do, as a value.
//!
//! Invariant: it holds names of fields and of rules, never a value (I10).

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::validation::BrokenRule;
use crate::restore::plan::Danger;

/// A type whose objects are stored at versions that the wanted CRD does not have among its own. Every object of it in
/// the cluster is written anew, in the scope or not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoragePlan {
    /// Versions that objects may be stored in now.
    pub from: Vec<String>,
    /// The version that they will be stored in.
    pub to: String,
    /// Objects of the type that the scope covers.
    pub objects: u64,
    /// Objects of the type that the scope does not cover.
    pub objects_outside: u64,
    /// Objects that the scope covers and that are not the same afterwards.
    pub losses: Vec<ObjectLoss>,
    /// Objects that the scope does not cover and that are not the same afterwards: they need a yes of their own.
    pub losses_outside: Vec<ObjectLoss>,
    /// Why the objects could not be looked at, if they could not: then nobody knows what is lost.
    pub unreadable: Option<Unreadable>,
    /// Rules of the older schema that only the API server can judge, such as `spec.host: pattern`.
    pub unchecked: Vec<String>,
}

/// Why the objects of a type cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unreadable {
    /// The server's words.
    pub problem: String,
    /// Objects are stored at a version that was taken off the CRD.
    pub lost_version: bool,
}

/// What one object loses, and what the older schema has against what is left of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectLoss {
    /// Path inside a snapshot.
    pub path: String,
    /// Fields that the older schema does not know.
    pub dropped: Vec<String>,
    /// Rules of the older schema that it breaks: it stays as it is, but its next change is refused.
    pub broken: Vec<BrokenRule>,
}

impl StoragePlan {
    /// Versions that objects may be stored in now and will not be.
    pub fn others(&self) -> Vec<&str> {
        self.from.iter().map(String::as_str).filter(|version| *version != self.to).collect()
    }

    /// Objects that are no part of what is restored lose something, or nobody can tell. A type that cannot be read because
    /// a version was taken off its CRD too early is repaired without asking: it is of no use to anyone as it is.
    pub fn needs_its_own_consent(&self) -> bool {
        !self.losses_outside.is_empty() || self.unreadable.as_ref().is_some_and(|unreadable| !unreadable.lost_version)
    }

    /// Objects outside the scope that lose something which `reviewed` does not name: what nobody said yes to.
    pub fn beyond<'a>(&'a self, reviewed: &'a Self) -> impl Iterator<Item = &'a ObjectLoss> {
        self.losses_outside.iter().filter(|loss| {
            !reviewed.losses_outside.iter().any(|known| {
                known.path == loss.path
                    && loss.dropped.iter().all(|field| known.dropped.contains(field))
                    && loss.broken.iter().all(|broken| known.broken.contains(broken))
            })
        })
    }

    /// What a person should read before saying yes: of the type, and of each object outside the scope.
    pub(in crate::restore) fn dangers(&self, crd: &str) -> Vec<Danger> {
        let danger = |path: &str, text: String| Danger { path: path.to_owned(), text };
        let mut dangers = Vec::new();
        if let Some(Unreadable { problem, .. }) = &self.unreadable {
            let text = format!("is stored anew at {}, and nobody can tell what is lost with it: {problem}", self.to);
            dangers.push(danger(crd, text));
        }
        let dropped = Tally::of(&self.losses, |loss| &loss.dropped);
        if dropped.objects > 0 {
            dangers.push(danger(crd, format!("loses what {} does not know: {dropped}", self.to)));
        }
        let broken = Tally::of(&self.losses, |loss| &loss.broken);
        if broken.objects > 0 {
            dangers.push(danger(crd, format!("breaks rules of {}: {broken}", self.to)));
        }
        for loss in &self.losses_outside {
            let mut parts = Vec::new();
            if !loss.dropped.is_empty() {
                parts.push(format!("loses what {} does not know: {}", self.to, loss.dropped.join(", ")));
            }
            if !loss.broken.is_empty() {
                let rules: Vec<String> = loss.broken.iter().map(ToString::to_string).collect();
                parts.push(format!("breaks rules of {}: {}", self.to, rules.join(", ")));
            }
            dangers.push(danger(&loss.path, format!("is outside of what is restored and {}", parts.join(", and "))));
        }
        dangers
    }
}

impl fmt::Display for BrokenRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.field, self.rule)
    }
}

/// Names from several objects, each once, and in how many objects they were.
struct Tally {
    names: BTreeSet<String>,
    objects: usize,
}

impl Tally {
    fn of<T: fmt::Display>(losses: &[ObjectLoss], part: impl Fn(&ObjectLoss) -> &Vec<T>) -> Self {
        let losing = || losses.iter().map(&part).filter(|names| !names.is_empty());
        Self { names: losing().flatten().map(ToString::to_string).collect(), objects: losing().count() }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        write!(f, "{} in {} object{}", names.join(", "), self.objects, if self.objects == 1 { "" } else { "s" })
    }
}

#[cfg(test)]
mod tests {
    use super::{BrokenRule, ObjectLoss, StoragePlan, Unreadable};

    fn loss(path: &str, dropped: &[&str], broken: &[&str]) -> ObjectLoss {
        let broken = broken.iter().map(|field| BrokenRule { field: (*field).to_owned(), rule: "enum".to_owned() });
        ObjectLoss {
            path: path.to_owned(),
            dropped: dropped.iter().map(|field| (*field).to_owned()).collect(),
            broken: broken.collect(),
        }
    }

    #[test]
    fn fields_are_named_once_for_the_type_and_for_each_object_outside_the_scope() {
        let plan = StoragePlan {
            to: "v1alpha1".to_owned(),
            losses: vec![loss("a", &["spec.tls"], &[]), loss("b", &["spec.tls", "spec.size"], &["spec.mode"])],
            losses_outside: vec![loss("c", &["spec.tls"], &[]), loss("d", &["spec.tls"], &["spec.mode"])],
            ..StoragePlan::default()
        };
        let dangers: Vec<String> =
            plan.dangers("crd").iter().map(|danger| format!("{} {}", danger.path, danger.text)).collect();
        assert_eq!(
            dangers,
            [
                "crd loses what v1alpha1 does not know: spec.size, spec.tls in 2 objects",
                "crd breaks rules of v1alpha1: spec.mode (enum) in 1 object",
                "c is outside of what is restored and loses what v1alpha1 does not know: spec.tls",
                "d is outside of what is restored and loses what v1alpha1 does not know: spec.tls, and breaks rules of \
                 v1alpha1: spec.mode (enum)"
            ]
        );
    }

    #[test]
    fn what_is_lost_outside_the_scope_is_asked_for_and_a_broken_type_is_repaired_without_asking() {
        let unreadable = |lost_version| Some(Unreadable { problem: "x".to_owned(), lost_version });
        let inside = vec![loss("a", &["spec.tls"], &[])];
        let plan = StoragePlan { losses: inside.clone(), unreadable: unreadable(true), ..StoragePlan::default() };
        assert!(!plan.needs_its_own_consent());
        assert!(StoragePlan { unreadable: unreadable(false), ..StoragePlan::default() }.needs_its_own_consent());
        assert!(StoragePlan { losses_outside: inside, ..StoragePlan::default() }.needs_its_own_consent());
    }

    #[test]
    fn what_was_not_reviewed_is_told() {
        let with = |losses: Vec<ObjectLoss>| StoragePlan { losses_outside: losses, ..StoragePlan::default() };
        let reviewed = with(vec![loss("a", &["x", "y"], &["z"]), loss("b", &["x"], &[])]);
        let later = with(vec![loss("a", &["x"], &[]), loss("b", &["x", "new"], &[]), loss("c", &["x"], &[])]);
        let beyond: Vec<&str> = later.beyond(&reviewed).map(|loss| loss.path.as_str()).collect();
        assert_eq!(beyond, ["b", "c"]);
        assert_eq!(reviewed.beyond(&reviewed).count(), 0);
    }
}
