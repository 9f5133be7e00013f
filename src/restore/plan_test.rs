//! Every dangerous line and every reason to leave something alone, as a person reads them before saying yes. Those of a
//! type's conversion are tested beside their text.

use super::plan::{Operation, Plan, SkipReason};

/// A plan with this one action, from the text that a reviewed plan is stored as.
fn plan(path: &str, operation: &Operation, pods: &[&str]) -> Plan {
    let address = serde_json::json!({"group": "", "version": "v1", "resource": "configmaps", "kind": "ConfigMap",
        "namespaced": true, "has_status": false, "custom": false});
    let action = serde_json::json!({"path": path, "operation": operation, "address": address, "wave": 1, "bound": null,
        "wanted": null, "live": null, "unchecked": false, "refused": null, "needs": [], "replaces": [], "drops": []});
    let hash = crate::store::ContentHash::of(b"");
    let tokens = if pods.is_empty() { serde_json::json!({}) } else { serde_json::json!({path: pods}) };
    let plan = serde_json::json!({"live": hash, "wanted": hash, "scope": "", "actions": [action], "skipped": [],
        "explained": 0, "uids": {}, "tokens": tokens});
    serde_json::from_value(plan).unwrap()
}

fn danger(path: &str, operation: &Operation, pods: &[&str]) -> Option<String> {
    let plan = plan(path, operation, pods);
    plan.danger(&plan.actions[0])
}

#[test]
fn what_takes_something_away_says_so() {
    const MAP: &str = "cluster/core/configmaps/a/b.json";
    const CLAIM: &str = "cluster/core/persistentvolumeclaims/a/b.json";
    const ACCOUNT: &str = "cluster/core/serviceaccounts/a/b.json";
    let deleted = |objects| Operation::Delete { objects, orphan: false };
    let recreated = Operation::Recreate { reason: "spec.selector: immutable".to_owned(), orphan: true };
    let (made, lasting) = (Operation::Create { after_gone: false }, vec!["uid".to_owned()]);
    for (path, operation, pods, expected) in [
        (MAP, &deleted(0), &[][..], Some("is deleted")),
        (MAP, &deleted(1), &[], Some("is deleted, and 1 object with it")),
        (MAP, &deleted(12), &[], Some("is deleted, and 12 objects with it")),
        (CLAIM, &deleted(0), &[], Some("is deleted; its data stays, since the volume is set to Retain first")),
        (ACCOUNT, &deleted(0), &["web-1"], Some("is deleted; the token of pod web-1 ends with it")),
        (ACCOUNT, &deleted(0), &["web-1", "web-2"], Some("is deleted; the tokens of pods web-1, web-2 end with it")),
        (MAP, &recreated, &[], Some("is deleted and made anew, with a new UID: spec.selector: immutable")),
        (
            CLAIM,
            &recreated,
            &[],
            Some(
                "is deleted and made anew, with a new UID: spec.selector: immutable; its data stays, since the volume is \
                 set to Retain first",
            ),
        ),
        (
            ACCOUNT,
            &made,
            &["web-1"],
            Some("is made anew, with a new UID; the token of pod web-1 ends: it has to be started again"),
        ),
        (
            MAP,
            &Operation::Release { uids: lasting.clone(), lasting },
            &[],
            Some("loses its reference to an owner that is not there in the snapshot"),
        ),
        (MAP, &Operation::Release { uids: vec!["uid".to_owned()], lasting: Vec::new() }, &[], None),
        (MAP, &Operation::Readopt { uids: vec!["uid".to_owned()] }, &[], None),
        (MAP, &made, &[], None),
        (MAP, &Operation::Update { fields: vec!["data".to_owned()] }, &[], None),
    ] {
        assert_eq!(danger(path, operation, pods).as_deref(), expected, "{operation:?}");
    }
}

#[test]
fn what_is_left_alone_says_why() {
    let reasons = [
        (SkipReason::NeverList { rule: "events".to_owned() }, super::never_list::rule("events").unwrap().reason),
        (SkipReason::NeverList { rule: "of a later program".to_owned() }, "never-list: of a later program"),
        (SkipReason::WasTerminating, "it was being deleted when the snapshot was taken"),
        (SkipReason::NotServed { api_version: "a/v1".to_owned() }, "the cluster does not serve a/v1 of it"),
        (
            SkipReason::VolumeAtRisk { fields: "spec.accessModes".to_owned(), volume: Some("pv-1".to_owned()) },
            "spec.accessModes, and deleting a claim can take its volume's data with it; to have it back as it was, set the \
             persistentVolumeReclaimPolicy of volume pv-1 to Retain, stop the pods that use the claim, delete the claim, and \
             restore again",
        ),
        (
            SkipReason::VolumeAtRisk { fields: "spec".to_owned(), volume: None },
            "spec, and deleting a claim can take its volume's data with it; to have it back as it was, set the \
             persistentVolumeReclaimPolicy of its volume to Retain, stop the pods that use the claim, delete the claim, and \
             restore again",
        ),
        (SkipReason::TooLarge { bytes: 20 << 20 }, "it has 20 MiB, and no API server takes an object of that size"),
        (
            SkipReason::OwnersStayGone,
            "its owners are gone and never brought back; garbage collection would take it at once",
        ),
        (
            SkipReason::UnreadInside { types: vec!["a.b".to_owned(), "c".to_owned()] },
            "what it holds of a.b, c could not be listed, is in no snapshot, and would go with it",
        ),
        (
            SkipReason::Unsaved,
            "it could not be read when the snapshot of before was taken, so `undo` could not bring it back; restoring the \
             same snapshot once more saves it first",
        ),
        (SkipReason::NoNamespace, "its namespace neither exists nor comes back"),
        (
            SkipReason::ComparedLater { objects: 3 },
            "its type is converted first, then its objects are compared (3 differ as they are)",
        ),
        (
            SkipReason::TypeInUse { objects: Some(3) },
            "it was added and has objects that would go with it (3); --delete-added-types deletes them",
        ),
        (SkipReason::TypeInUse { objects: None }, "it was added, and its objects cannot be listed"),
    ];
    for (reason, expected) in reasons {
        assert_eq!(reason.to_string(), expected);
    }
}
