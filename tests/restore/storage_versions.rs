//! Upgrades that gave a type another storage version, undone.

use serde_json::{Value, json};
use snapback::restore::{AddedTypes, Allowed, Operation, SkipReason, StoragePlan, Unrecorded};

use super::site::{Site, actions, essence};
use super::storage_versions_type::{
    GROUP, Type, converge, dead_webhook, essence_without_status, open, options, plan_back, version,
};
use crate::harness::control_plane::Options;

#[tokio::test(flavor = "multi_thread")]
async fn types_come_back_to_the_storage_version_of_the_snapshot() {
    let site = Site::start(Options::default()).await;
    site.post("/api/v1/namespaces", json!({"metadata": {"name": "tenant"}})).await;
    an_upgrade_to_another_storage_version_is_undone_and_redone(&site).await;
    a_dead_webhook_and_a_version_that_is_gone_take_two_rounds(&site).await;
    an_added_type_goes_only_when_nothing_goes_with_it_or_on_request(&site).await;
}

/// What the older version knows of a spec.
fn old_schema() -> Value {
    let port = json!({"type": "object", "properties": {"port": {"x-kubernetes-int-or-string": true}}});
    let embedded = json!({"type": "object", "x-kubernetes-embedded-resource": true,
        "properties": {"data": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}});
    let spec = json!({"type": "object", "properties": {
        "mode": {"type": "string", "enum": ["a", "b"]},
        "size": {"type": "integer", "minimum": 1},
        "ports": {"type": "array", "items": port},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "anything": {"type": "object", "additionalProperties": true},
        "maps": {"type": "object", "additionalProperties": port},
        "loose": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"known": port}},
        "template": embedded}});
    let status = json!({"type": "object", "properties": {"phase": {"type": "string"}}});
    json!({"type": "object", "properties": {"spec": spec, "status": status}})
}

/// A spec with something at every depth that the older version does not know.
fn new_spec() -> Value {
    json!({"mode": "c", "size": 0, "tls": {"secret": "x"},
        "ports": [{"port": 80}, {"port": "http", "name": "web"}],
        "labels": {"a.b/c": "d"}, "anything": {"text": "kept", "deep": {"lost": 1}},
        "maps": {"one": {"port": 1, "weight": 2}},
        "loose": {"x": {"y": 1}, "known": {"port": 1, "extra": true}},
        "template": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "t"}, "data": {"x": 1}, "more": 1}})
}

/// By a conversion the whole way, in one round, since the upgraded cluster can be read at the snapshot's version. The
/// fields that are lost are exactly those that the plan named, and the way back to the upgraded state brings them back.
async fn an_upgrade_to_another_storage_version_is_undone_and_redone(site: &Site) {
    let old = version("v1alpha1", true, &old_schema());
    let own = Type::install(site, "things", std::slice::from_ref(&old)).await;
    for name in ["kept", "edited", "deleted"] {
        own.post("v1alpha1", "default", name, &json!({"mode": "a", "size": 9_007_199_254_740_993_i64})).await;
        let status = format!("{}/status", own.object_url("v1alpha1", "default", name));
        site.patch(&status, json!({"status": {"phase": "Ready"}})).await;
    }
    own.post("v1alpha1", "tenant", "theirs", &json!({"mode": "b"})).await;
    let wanted = site.snapshot().await;
    let crd = own.crd().await;
    let edited = site.get(&own.object_url("v1alpha1", "default", "edited")).await.unwrap();

    own.upgrade(
        &[version("v1alpha1", false, &old_schema()), version("v1", true, &open())],
        &json!({"strategy": "None"}),
    )
    .await;
    site.patch(&own.object_url("v1", "default", "edited"), json!({"spec": new_spec()})).await;
    site.delete(&own.object_url("v1", "default", "deleted")).await;
    own.post("v1", "default", "added", &json!({"mode": "a"})).await;
    own.post("v1", "tenant", "newer", &new_spec()).await;
    own.post("v1", "tenant", "plain", &json!({"mode": "a"})).await;
    let stored = own.stored();
    assert!(stored.values().any(|at| at == "v1") && stored.values().any(|at| at == "v1alpha1"), "{stored:?}");
    let upgraded = site.snapshot().await;

    let mine = options(&[&own], Some("tenant"));
    let (_, plan) = plan_back(site, &wanted, &mine).await;
    let mut steps = actions(&plan);
    steps.sort();
    let (convert, path) = (format!("convert {}", own.crd_path()), |name: &str| own.path("default", name));
    let others = [
        format!("create {}", path("deleted")),
        format!("delete {}", path("added")),
        format!("update {}", path("edited")),
    ];
    assert_eq!(steps, [&[convert], others.as_slice()].concat(), "what is only stored otherwise does not differ");
    let storage = storage_of(&plan.actions[0].operation);
    assert_eq!(
        (storage.from.as_slice(), storage.to.as_str()),
        (["v1".to_owned(), "v1alpha1".to_owned()].as_slice(), "v1alpha1")
    );
    assert_eq!((storage.objects, storage.objects_outside), (3, 3));
    let paths =
        |losses: &[snapback::restore::ObjectLoss]| losses.iter().map(|loss| loss.path.clone()).collect::<Vec<_>>();
    assert_eq!(paths(&storage.losses), [path("edited")]);
    assert_eq!(paths(&storage.losses_outside), [own.path("tenant", "newer")]);
    assert!(storage.needs_its_own_consent());
    let expected = [
        "spec.anything.deep.lost",
        "spec.loose.known.extra",
        "spec.maps.one.weight",
        "spec.ports[1].name",
        "spec.template.more",
        "spec.tls",
    ];
    assert_eq!(storage.losses_outside[0].dropped, expected);
    let broken: Vec<String> = storage.losses_outside[0].broken.iter().map(ToString::to_string).collect();
    assert_eq!(broken, ["spec.mode (enum)", "spec.size (minimum)"]);
    let dangers: Vec<_> =
        plan.dangers().into_iter().filter(|danger| danger.path == own.path("tenant", "newer")).collect();
    assert!(dangers[0].text.contains("is outside of what is restored and loses what v1alpha1 does not know: spec.any"));

    let newer = site.get(&own.object_url("v1", "tenant", "newer")).await.unwrap();
    let (plans, _) = converge(site, &wanted, &mine).await;
    assert_eq!(plans.len(), 1, "one round: the cluster could be read at the snapshot's version");
    assert_eq!(own.crd().await["spec"], crd["spec"]);
    assert_eq!(own.crd().await["status"]["storedVersions"], json!(["v1alpha1"]));
    assert_eq!(essence_without_status(&own.crd().await), essence_without_status(&crd));
    assert!(own.is_stored_at("v1alpha1"), "{:?}", own.stored());
    let back = site.get(&own.object_url("v1alpha1", "default", "edited")).await.unwrap();
    assert_eq!(essence(&back), essence(&edited));
    assert_eq!(back["metadata"]["uid"], edited["metadata"]["uid"]);
    // The API server dropped what the plan said, no more and no less; the rest of it is as it was.
    let after = site.get(&own.object_url("v1alpha1", "tenant", "newer")).await.unwrap();
    let mut predicted = newer["spec"].clone();
    predicted.as_object_mut().unwrap().remove("tls");
    predicted["ports"][1].as_object_mut().unwrap().remove("name");
    predicted["maps"]["one"].as_object_mut().unwrap().remove("weight");
    predicted["loose"]["known"].as_object_mut().unwrap().remove("extra");
    predicted["template"].as_object_mut().unwrap().remove("more");
    predicted["anything"]["deep"].as_object_mut().unwrap().remove("lost");
    assert_eq!(after["spec"], predicted);
    assert_eq!(after["metadata"]["uid"], newer["metadata"]["uid"]);

    // Undo: what was dropped was not lost.
    let (plans, _) = converge(site, &upgraded, &options(&[&own], None)).await;
    assert!(plans.len() <= 2, "{plans:#?}");
    let redone = site.get(&own.object_url("v1", "tenant", "newer")).await.unwrap();
    assert_eq!(redone["spec"], newer["spec"]);
}

/// Nobody answers for the conversion, and the snapshot's version is not served any more: objects are compared after
/// their type was converted.
async fn a_dead_webhook_and_a_version_that_is_gone_take_two_rounds(site: &Site) {
    let old = |storage| version("v1alpha1", storage, &open());
    let dead = Type::install(site, "orphans", &[old(true)]).await;
    let gone = Type::install(site, "ghosts", &[old(true)]).await;
    for own in [&dead, &gone] {
        for name in ["kept", "edited"] {
            own.post("v1alpha1", "default", name, &json!({"size": 1})).await;
        }
    }
    let wanted = site.snapshot().await;
    let kept = site.get(&gone.object_url("v1alpha1", "default", "kept")).await.unwrap();

    dead.upgrade(&[old(false), version("v1", true, &open())], &dead_webhook()).await;
    let mut hidden = old(false);
    hidden["served"] = json!(false);
    gone.upgrade(&[hidden, version("v1", true, &open())], &json!({"strategy": "None"})).await;
    for own in [&dead, &gone] {
        own.post("v1", "default", "added", &json!({"size": 2})).await;
    }
    site.patch(&gone.object_url("v1", "default", "edited"), json!({"spec": {"size": 2}})).await;
    let list = format!("/apis/{GROUP}/v1/orphans");
    site.until(async || site.cluster.get(&list).await.is_err()).await;

    let both = options(&[&dead, &gone], None);
    let (_, plan) = plan_back(site, &wanted, &both).await;
    assert_eq!(actions(&plan), [format!("convert {}", gone.crd_path()), format!("convert {}", dead.crd_path())]);
    let later: Vec<_> = plan.skipped.iter().map(|skipped| &skipped.reason).collect();
    // Three objects differ as they are; of the type that nobody can read all of the snapshot's seem to be missing.
    assert_eq!(later, [&SkipReason::ComparedLater { objects: 3 }, &SkipReason::ComparedLater { objects: 2 }]);
    let problem = storage_of(&plan.actions[1].operation).unreadable.clone().unwrap().problem;
    assert!(problem.contains("conversion webhook"), "{problem}");
    assert!(storage_of(&plan.actions[1].operation).needs_its_own_consent());

    let (plans, _) = converge(site, &wanted, &both).await;
    assert_eq!(plans.len(), 2);
    let mut second = actions(&plans[1]);
    second.sort();
    let added = |own: &Type<'_>| format!("delete {}", own.path("default", "added"));
    assert_eq!(second, [added(&gone), added(&dead), format!("update {}", gone.path("default", "edited"))]);
    for own in [&dead, &gone] {
        assert!(own.is_stored_at("v1alpha1"), "{:?}", own.stored());
    }
    let after = site.get(&gone.object_url("v1alpha1", "default", "kept")).await.unwrap();
    assert_eq!(essence(&after), essence(&kept));
}

/// A CRD that the upgrade added goes when nothing would go with it.
async fn an_added_type_goes_only_when_nothing_goes_with_it_or_on_request(site: &Site) {
    let wanted = site.snapshot().await;
    let versions = [version("v1", true, &open())];
    let empty = Type::install(site, "empties", &versions).await;
    let own = Type::install(site, "owns", &versions).await;
    let used = Type::install(site, "used", &versions).await;
    for kind in [&own, &used] {
        kind.post("v1", "default", "mine", &json!({})).await;
    }
    for name in ["theirs", "more"] {
        used.post("v1", "tenant", name, &json!({})).await;
    }
    let types = [&empty, &own, &used];
    let mut keeping = options(&types, Some("tenant"));
    keeping.added_types = AddedTypes::KeepInUse;
    let (plans, proof) = converge(site, &wanted, &keeping).await;
    assert_eq!(plans.len(), 1);
    let kept: Vec<_> = plans[0].skipped.iter().map(|skipped| (skipped.path.as_str(), &skipped.reason)).collect();
    assert_eq!(kept, [(used.crd_path().as_str(), &SkipReason::TypeInUse { objects: Some(2) })]);
    for (kind, there) in [(&empty, false), (&own, false), (&used, true)] {
        assert_eq!(site.get(&kind.url()).await.is_some(), there, "{}", kind.plural);
    }
    assert!(site.get(&used.object_url("v1", "tenant", "theirs")).await.is_some());
    let explained = proof.explained.iter().find(|explained| explained.path == used.crd_path()).unwrap();
    assert_eq!(explained.by, [Allowed::TypeInUse]);

    // An object that comes between the plan and its turn keeps the type.
    let late = Type::install(site, "lates", &versions).await;
    let mut keeping = options(&[&late], None);
    keeping.added_types = AddedTypes::KeepInUse;
    let (live, plan) = plan_back(site, &wanted, &keeping).await;
    assert_eq!(actions(&plan), [format!("delete {}", late.crd_path())]);
    late.post("v1", "tenant", "late", &json!({})).await;
    let silent = snapback::progress::Silent;
    let applied =
        snapback::restore::apply(&site.cluster, &plan, &live, &wanted, &keeping, &silent, &Unrecorded).await.unwrap();
    assert_eq!(applied.failures().count(), 1, "{:?}", applied.steps);
    assert!(site.get(&late.object_url("v1", "tenant", "late")).await.is_some());

    // On request they all go.
    converge(site, &wanted, &options(&[&empty, &own, &used, &late], None)).await;
    for kind in [&used, &late] {
        site.until(async || site.get(&kind.url()).await.is_none()).await;
    }
}

fn storage_of(operation: &Operation) -> &StoragePlan {
    let Operation::Convert { storage } = operation else { panic!("{operation:?}") };
    storage
}
