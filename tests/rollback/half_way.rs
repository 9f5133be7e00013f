//! A type on its way to another storage version, in a transaction that dies or is given up in the middle: it ends at the
//! wanted version, or as it was, and never in between.

use serde_json::{Value, json};
use snapback::journal::{Event, Outcome, Reason};
use snapback::rollback::RollbackError;

use super::case::{Case, kinds};
use super::kills::{check_installer, installed};
use crate::harness::control_plane::Options;
use crate::harness::sample::soak;
use crate::journal::countdown::Side;
use crate::restore::site::Site;
use crate::restore::storage_versions_type::{GROUP, Type, open, version};

const STEPS: [&str; 4] = ["union", "rewritten", "narrowed", "crd-done"];

/// A type whose objects are stored at its older version.
async fn older<'a>(site: &'a Site, plural: &'static str) -> Type<'a> {
    let own = Type::install(site, plural, &[version("v1alpha1", true, &open())]).await;
    for name in ["a", "b"] {
        own.post("v1alpha1", "default", name, &json!({"size": 1})).await;
    }
    own
}

/// Gives it the newer version, and stores an object there. The CRD as it is then.
async fn upgrade(own: &Type<'_>) -> Value {
    let versions = [version("v1alpha1", false, &open()), version("v1", true, &open())];
    own.upgrade(&versions, &json!({"strategy": "None"})).await;
    let url = own.object_url("v1", "default", "b");
    let size = own.site.get(&url).await.unwrap()["spec"]["size"].as_i64().unwrap();
    own.site.patch(&url, json!({"spec": {"size": size + 1}})).await;
    assert_eq!(own.stored()["default/b"], "v1");
    own.crd().await
}

/// What of a CRD says how its objects are stored, with whatever marks it as being half-way.
fn form(crd: &Value) -> Value {
    json!({"spec": crd["spec"], "annotations": crd["metadata"]["annotations"]})
}

async fn assert_form(own: &Type<'_>, crd: &Value, what: &str) {
    assert_eq!(form(&own.crd().await), form(crd), "{what}");
    let version =
        crd["spec"]["versions"].as_array().unwrap().iter().find(|version| version["storage"] == true).unwrap();
    let list = format!("/apis/{GROUP}/{}/{}", version["name"].as_str().unwrap(), own.plural);
    own.site.until(async || own.site.get(&list).await.is_some()).await;
    assert_eq!(own.site.get(&list).await.unwrap()["items"].as_array().unwrap().len(), 2, "{what}");
}

fn end_of(kinds: &[&'static str], from: &str) -> Vec<&'static str> {
    let at = kinds.iter().rposition(|kind| *kind == from).unwrap();
    kinds[at..].to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_or_given_up_between_any_two_steps_a_type_ends_on_either_side() {
    let site = Site::start(Options::default()).await;
    older(&site, "walks").await;
    let mut case = Case::of(site).await;
    case.scope = "everything";
    let own = Type { site: &case.site, plural: "walks" };
    let wanted = own.crd().await;

    upgrade(&own).await;
    let mut journal = case.begin().await;
    let report = case.drive(&mut journal).await.unwrap();
    assert_eq!(report.outcome, Some(Outcome::Done {}), "{report:#?}");
    let all = kinds(&journal);
    let steps: Vec<_> = all.iter().copied().filter(|kind| STEPS.contains(kind)).collect();
    assert_eq!(steps, STEPS, "{all:?}");
    let at = |kind: &str| all.iter().position(|found| *found == kind).unwrap();
    assert!(at("round") < at("union") && at("crd-done") < at("round-done"), "{all:?}");
    assert_form(&own, &wanted, "without a kill").await;
    case.check("without a kill").await;

    let every = STEPS.iter().flat_map(|step| [(*step, Side::Before), (*step, Side::After)]);
    // Before a record is after the effect of the one before it.
    let sample =
        [("union", Side::After), ("rewritten", Side::Before), ("narrowed", Side::After), ("crd-done", Side::Before)];
    for (step, side) in every.filter(|kill| soak() || sample.contains(kill)) {
        let what = format!("killed {side:?} `{step}`");
        upgrade(&own).await;
        let id = case.dies(at(step), side).await;
        let mut journal = case.resume(&id).await.unwrap();
        let report = case.drive(&mut journal).await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
        assert_eq!(report.outcome, Some(Outcome::Done {}), "{what}: {report:#?}");
        assert!(kinds(&journal).contains(&"crd-done"), "{what}: {:?}", kinds(&journal));
        assert_form(&own, &wanted, &what).await;
        assert!(own.is_stored_at("v1alpha1"), "{what}: {:?}", own.stored());
        case.check(&what).await;
    }

    // Given up: finished when all objects are rewritten, else put back as it was.
    for (step, side, finished) in [
        ("union", Side::After, false),
        ("rewritten", Side::Before, false),
        ("rewritten", Side::After, true),
        ("crd-done", Side::Before, true),
    ] {
        let what = format!("given up after being killed {side:?} `{step}`");
        let upgraded = upgrade(&own).await;
        let id = case.dies(at(step), side).await;
        let mut journal = case.resume(&id).await.unwrap();
        let reason = Reason::Asked {};
        journal.append(Event::GivenUp { reason: reason.clone() }).await.unwrap();
        let report = case.drive(&mut journal).await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
        assert_eq!(report.outcome, Some(Outcome::Failed { reason }), "{what}");
        let after = end_of(&kinds(&journal), "given-up");
        let end = if finished { "crd-done" } else { "crd-reverted" };
        assert!(after.contains(&end), "{what}: {after:?}");
        assert_form(&own, if finished { &wanted } else { &upgraded }, &what).await;
    }

    // Where nothing is stored at the older version any more, the way back is a conversion too.
    upgrade(&own).await;
    case.site.patch(&own.object_url("v1", "default", "a"), json!({"spec": {"size": 9}})).await;
    assert!(own.is_stored_at("v1"), "{:?}", own.stored());
    let migrated =
        case.site.patch(&format!("{}/status", own.url()), json!({"status": {"storedVersions": ["v1"]}})).await;
    let id = case.dies(at("rewritten"), Side::Before).await;
    assert!(own.is_stored_at("v1alpha1"), "{:?}", own.stored());
    let mut journal = case.resume(&id).await.unwrap();
    journal.append(Event::GivenUp { reason: Reason::Asked {} }).await.unwrap();
    case.drive(&mut journal).await.unwrap();
    assert!(kinds(&journal).contains(&"crd-reverted"), "{:?}", kinds(&journal));
    assert_form(&own, &migrated, "migrated").await;
    assert_eq!(own.crd().await["status"]["storedVersions"], json!(["v1"]));
    assert!(own.is_stored_at("v1"), "{:?}", own.stored());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_that_cannot_be_moved_ends_as_it_was() {
    let site = Site::start(Options::default()).await;
    older(&site, "refuseds").await;
    // It was there before the upgrade and stays: somebody wants it so.
    let rule = json!({"apiGroups": [GROUP], "apiVersions": ["*"], "operations": ["UPDATE"], "resources": ["refuseds"]});
    let admission = "/apis/admissionregistration.k8s.io/v1";
    site.post(
        &format!("{admission}/validatingadmissionpolicies"),
        json!({"metadata": {"name": "frozen"}, "spec": {"failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [{"expression": "object.metadata.name != 'b' || object.spec.size < 3", "message": "b is frozen"}]}}),
    )
    .await;
    site.post(
        &format!("{admission}/validatingadmissionpolicybindings"),
        json!({"metadata": {"name": "frozen"}, "spec": {"policyName": "frozen", "validationActions": ["Deny"]}}),
    )
    .await;
    let case = Case::of(site).await;
    let site = &case.site;
    let own = Type { site, plural: "refuseds" };
    let upgraded = upgrade(&own).await;
    let frozen = own.object_url("v1", "default", "b");
    // Behind the policy's back: from now on nobody may write it.
    freeze(&own);
    site.until(async || {
        let body = Some(serde_json::to_vec(&site.get(&frozen).await.unwrap()).unwrap());
        site.cluster.send(http::Method::PUT, &frozen, body).await.is_err()
    })
    .await;

    let mut journal = case.begin().await;
    let report = case.drive(&mut journal).await.unwrap();
    let Some(Outcome::Unproven { unexplained }) = report.outcome else { panic!("{report:#?}") };
    assert!(unexplained >= 1);
    assert!(report.failures().iter().any(|step| step.path == own.crd_path()), "{:#?}", report.rounds);
    let all = kinds(&journal);
    assert!(all.contains(&"crd-reverted") && !all.contains(&"narrowed"), "{all:?}");
    assert_form(&own, &upgraded, "refused").await;
}

/// Makes an object what the policy does not let anybody write, behind the API server's back.
fn freeze(own: &Type<'_>) {
    let key = format!("/registry/{GROUP}/{}/default/b", own.plural);
    tokio::task::block_in_place(|| {
        let plane = own.site.control_plane();
        let stored = plane.etcdctl(&["get", &key, "--print-value-only"]);
        let mut object: Value = serde_json::from_slice(&stored).unwrap();
        object["spec"]["size"] = json!(7);
        plane.etcdctl(&["put", &key, &object.to_string()]);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_that_can_be_brought_to_no_end_keeps_nothing_held_and_is_named() {
    let site = Site::start(Options::default().controllers()).await;
    installed(&site).await;
    older(&site, "stucks").await;
    let case = Case::of(site).await;
    let own = Type { site: &case.site, plural: "stucks" };
    upgrade(&own).await;
    let mut journal = case.begin().await;
    case.drive(&mut journal).await.unwrap();
    let union = kinds(&journal).iter().position(|kind| *kind == "union").unwrap();

    upgrade(&own).await;
    let id = case.dies(union + 1, Side::Before).await;
    // Somebody deletes the type meanwhile, and one of its objects does not go.
    let held = own.object_url("v1alpha1", "default", "a");
    case.site.patch(&held, json!({"metadata": {"finalizers": ["a.example/hold"]}})).await;
    case.site.delete(&own.url()).await;
    for _ in 0..2 {
        let mut journal = case.resume(&id).await.unwrap();
        let error = case.drive(&mut journal).await.unwrap_err();
        let RollbackError::HalfWay { crd, .. } = &error else { panic!("{error:?}") };
        assert_eq!(crd, "stucks.stored.example");
        assert!(error.to_string().ends_with("the CRD `stucks.stored.example` is being deleted"), "{error}");
        check_installer(&case.site, "half-way").await;
    }
    case.site.patch(&held, json!({"metadata": {"finalizers": null}})).await;
    case.site.until(async || case.site.get(&own.url()).await.is_none()).await;
    let mut journal = case.resume(&id).await.unwrap();
    let report = case.drive(&mut journal).await.unwrap();
    let reason = Reason::CrdStuck { crd: "stucks.stored.example".to_owned() };
    assert_eq!(report.outcome, Some(Outcome::Failed { reason }));
}
