//! A conversion that is killed, hindered, or begun by somebody else's hand, step by step.

use std::sync::Mutex;

use async_trait::async_trait;
use http::Method;
use serde_json::{Value, json};
use snapback::journal::JournalError;
use snapback::progress::Silent;
use snapback::restore::{
    Conversion, Milestone, RestoreOptions, StorageError, StorageRecord, StorageStep, Taken, apply,
};
use snapback::snapshot::Selection;

use super::site::Site;
use super::storage_versions_type::{
    GROUP, Type, converge, dead_webhook, essence_without_status, open, options, plan_back, version,
};
use crate::harness::control_plane::Options;
use StorageStep::{Finish, Narrow, Prove, Rewrite, Union};

fn old() -> Vec<Value> {
    vec![version("v1alpha1", true, &open())]
}

fn new() -> Vec<Value> {
    vec![version("v1alpha1", false, &open()), version("v1", true, &open())]
}

/// A type with three objects, stored at the older version.
async fn installed<'a>(site: &'a Site, plural: &'static str) -> Type<'a> {
    let own = Type::install(site, plural, &old()).await;
    for name in ["a", "b", "c"] {
        own.post("v1alpha1", "default", name, &json!({"size": 1})).await;
    }
    own
}

/// Its upgrade, and two objects stored at the newer version.
async fn upgrade(own: &Type<'_>, conversion: &Value) {
    own.upgrade(&new(), conversion).await;
    for (namespace, name) in [("default", "d"), ("kube-public", "e")] {
        own.post("v1", namespace, name, &json!({"size": 1})).await;
    }
}

/// Both, with the CRD as it was.
async fn upgraded<'a>(site: &'a Site, plural: &'static str) -> (Type<'a>, Value) {
    let own = installed(site, plural).await;
    let wanted = own.crd().await;
    upgrade(&own, &json!({"strategy": "None"})).await;
    (own, wanted)
}

fn conversion<'a>(site: &'a Site, wanted: &Value, others: &[Value]) -> Conversion<'a> {
    Conversion::new(&site.cluster, wanted.clone(), others.to_vec(), &RestoreOptions::new(Selection::everything()))
}

/// Takes so many steps, or all; what they were.
async fn walk(conversion: &mut Conversion<'_>, most: usize) -> Result<Vec<StorageStep>, StorageError> {
    let mut steps = Vec::new();
    while steps.len() < most {
        let Some(step) = conversion.next_step().await? else { break };
        steps.push(step);
        conversion.take(step, &Silent).await?;
    }
    Ok(steps)
}

/// Puts an object into etcd behind the API server's back, as one that was left behind.
fn smuggle(own: &Type<'_>, namespace: &str, name: &str) {
    let mut object = own.object("v1", name, &json!({"size": 3}));
    object["metadata"]["namespace"] = json!(namespace);
    object["metadata"]["uid"] = json!("00000000-0000-4000-8000-000000000001");
    object["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
    let key = format!("/registry/{GROUP}/{}/{namespace}/{name}", own.plural);
    tokio::task::block_in_place(|| own.site.control_plane().etcdctl(&["put", &key, &object.to_string()]));
}

/// All is as the wanted CRD has it.
async fn assert_back(own: &Type<'_>, wanted: &Value, objects: usize) {
    let crd = own.crd().await;
    assert_eq!(crd["spec"], wanted["spec"], "{}", own.plural);
    assert_eq!(crd["status"]["storedVersions"], json!(["v1alpha1"]));
    assert!(own.is_stored_at("v1alpha1"), "{:?}", own.stored());
    let list = own.site.get(&format!("/apis/{GROUP}/v1alpha1/{}", own.plural)).await.unwrap();
    assert_eq!(list["items"].as_array().unwrap().len(), objects, "{}", own.plural);
}

/// What a driver would write down, until it cannot.
#[derive(Default)]
struct Recorder {
    records: Mutex<Vec<(String, Milestone)>>,
    dies_at: Option<Milestone>,
}

#[async_trait]
impl StorageRecord for Recorder {
    async fn milestone(&self, crd: &str, milestone: Milestone) -> Result<(), JournalError> {
        if self.dies_at == Some(milestone) {
            let source = std::io::Error::other("the disk is full");
            return Err(JournalError::Local { operation: "append to", path: "journal".into(), source });
        }
        self.records.lock().unwrap().push((crd.to_owned(), milestone));
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_step_is_taken_that_could_not_be_written_down() {
    let site = Site::start(Options::default()).await;
    let (own, wanted) = upgraded(&site, "firsts").await;
    for step in [Union, Rewrite, Narrow, Finish] {
        // What this very step would change.
        let touched = async || match step {
            Rewrite => json!(own.stored()),
            Narrow => own.crd().await["status"]["storedVersions"].clone(),
            _ => own.crd().await["spec"].clone(),
        };
        let before = touched().await;
        let record = Recorder { dies_at: Some(Milestone::About(step)), ..Recorder::default() };
        let error = walk(&mut conversion(&site, &wanted, &[]).recorded_by(&record), 20).await.unwrap_err();
        assert!(matches!(error, StorageError::Journal(_)), "{step:?}: {error}");
        assert_eq!(touched().await, before, "{step:?}");
    }
    walk(&mut conversion(&site, &wanted, &[]), 20).await.unwrap();
    assert_back(&own, &wanted, 5).await;
}

/// Seven types at once: six conversions that were killed, each after one step more, and a type that somebody broke by
/// hand. The next restore knows nothing of what was before it, and reads all it needs from the cluster (I7).
#[tokio::test(flavor = "multi_thread")]
async fn killed_between_any_two_steps_or_made_unreadable_the_same_restore_run_again_ends_well() {
    let site = Site::start(Options::default()).await;
    let mut killed = Vec::new();
    for plural in ["zeros", "ones", "twos", "threes", "fours", "fives"] {
        killed.push(installed(&site, plural).await);
    }
    let broken = installed(&site, "brokens").await;
    let snapshot = site.snapshot().await;
    let mut wanted = Vec::new();
    for own in killed.iter().chain([&broken]) {
        wanted.push(own.crd().await);
        let conversion = if own.plural == "brokens" { json!({"strategy": "None"}) } else { dead_webhook() };
        upgrade(own, &conversion).await;
    }
    for (killed_after, own) in killed.iter().enumerate() {
        let before = own.crd().await;
        let first = walk(&mut conversion(&site, &wanted[killed_after], &[before]), killed_after).await.unwrap();
        assert_eq!(first, [Union, Rewrite, Narrow, Finish, Prove][..killed_after]);
        if killed_after == 1 {
            // In the middle of a pass: one object is written already.
            let url = own.object_url("v1alpha1", "default", "d");
            site.until(async || site.cluster.get(&url).await.is_ok()).await;
            let object = site.get(&url).await.unwrap();
            site.send(Method::PUT, &url, Some(object)).await;
        }
    }
    // As a runbook would have it, without the one step that takes long. Nobody knows any more what v1 was.
    let union = vec![version("v1alpha1", true, &open()), version("v1", false, &open())];
    broken.upgrade(&union, &json!({"strategy": "None"})).await;
    site.patch(&format!("{}/status", broken.url()), json!({"status": {"storedVersions": ["v1alpha1"]}})).await;
    site.patch(&broken.url(), json!({"spec": {"versions": old()}})).await;
    let list = format!("/apis/{GROUP}/v1alpha1/brokens");
    site.until(async || site.cluster.get(&list).await.is_err()).await;

    let types: Vec<&Type<'_>> = killed.iter().chain([&broken]).collect();
    let mine = options(&types, None);
    let (live, plan) = plan_back(&site, &snapshot, &mine).await;
    let converted: Vec<&str> = plan.conversions().map(|(crd, _)| crd).collect();
    let mut expected: Vec<String> = killed[..4].iter().chain([&broken]).map(Type::crd_path).collect();
    expected.sort();
    assert_eq!(converted, expected);
    for (crd, storage) in plan.conversions() {
        let repaired = storage.unreadable.as_ref().map(|unreadable| unreadable.lost_version);
        let known = [(killed[0].crd_path(), Some(false)), (broken.crd_path(), Some(true))];
        let known = known.into_iter().find(|(path, _)| path == crd).and_then(|(_, lost)| lost);
        assert_eq!(repaired, known, "{crd}");
    }
    let recorder = Recorder::default();
    let applied = apply(&site.cluster, &plan, &live, &snapshot, &mine, &Silent, &recorder).await.unwrap();
    assert_eq!(applied.failures().count(), 0, "{:#?}", applied.steps);
    let recorded = recorder.records.into_inner().unwrap();
    let of = |own: &Type<'_>| -> Vec<Milestone> {
        let name = format!("{}.{GROUP}", own.plural);
        let mut all: Vec<_> = recorded.iter().filter(|(crd, _)| *crd == name).map(|(_, seen)| *seen).collect();
        // An API server that is not that far yet is asked again.
        all.dedup();
        all
    };
    let [union, rewrite, narrow, finish, prove] = [Union, Rewrite, Narrow, Finish, Prove].map(Milestone::About);
    let (rewritten, readable) = (Milestone::Rewritten { objects: 5 }, Milestone::Readable);
    assert_eq!(of(&killed[0]), [union, rewrite, rewritten, narrow, finish, prove, readable]);
    assert_eq!(of(&killed[1]), [rewrite, rewritten, narrow, finish, prove, readable]);
    assert_eq!(of(&killed[3]), [rewrite, rewritten, finish, prove, readable]);

    // What could not be read before is compared now.
    let (plans, _) = converge(&site, &snapshot, &mine).await;
    assert!(plans.len() <= 1, "{plans:#?}");
    for (own, wanted) in types.iter().zip(&wanted) {
        assert_back(own, wanted, 3).await;
        assert_eq!(essence_without_status(&own.crd().await), essence_without_status(wanted), "{}", own.plural);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_hinders_it_the_type_can_be_read_and_the_next_run_ends_well() {
    let site = Site::start(Options::default()).await;
    let (left, left_wanted) = upgraded(&site, "lefts").await;
    let (refused, refused_wanted) = upgraded(&site, "refuseds").await;
    let (fought, fought_wanted) = upgraded(&site, "foughts").await;

    // An object at the newer version turns up behind the last pass, again and again.
    let before = left.crd().await;
    let mut hindered = conversion(&site, &left_wanted, &[before]);
    let mut broken = 0;
    let error = loop {
        let step = hindered.next_step().await.unwrap().expect("it cannot end well");
        if step == Finish {
            smuggle(&left, "default", &format!("left-{broken}"));
        }
        match hindered.take(step, &Silent).await {
            Ok(Taken::Broken { problem }) => {
                assert!(problem.contains("v1"), "{problem}");
                broken += 1;
            }
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(&error, StorageError::PutBack { crd, .. } if crd == "lefts.stored.example"), "{error}");
    assert_eq!(broken, 3);
    site.until(async || site.get(&format!("/apis/{GROUP}/v1/lefts")).await.is_some()).await;
    walk(&mut conversion(&site, &left_wanted, &[]), 20).await.unwrap();
    assert_back(&left, &left_wanted, 8).await;

    // An object that nobody may write keeps its version on the CRD.
    let policies = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
    let rule = json!({"apiGroups": [GROUP], "apiVersions": ["*"], "operations": ["UPDATE"], "resources": ["refuseds"]});
    site.post(
        policies,
        json!({"metadata": {"name": "frozen"}, "spec": {"failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [{"expression": "object.metadata.name != 'd'", "message": "d is frozen"}]}}),
    )
    .await;
    site.post(
        "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
        json!({"metadata": {"name": "frozen"}, "spec": {"policyName": "frozen", "validationActions": ["Deny"]}}),
    )
    .await;
    let frozen = refused.object_url("v1", "default", "d");
    site.until(async || {
        let body = Some(serde_json::to_vec(&site.get(&frozen).await.unwrap()).unwrap());
        site.cluster.send(Method::PUT, &frozen, body).await.is_err()
    })
    .await;
    let error = walk(&mut conversion(&site, &refused_wanted, &[]), 20).await.unwrap_err();
    let StorageError::ObjectsRefused { count: 1, first, .. } = &error else { panic!("{error}") };
    assert_eq!(first.path, refused.path("default", "d"));
    assert!(first.reason.contains("d is frozen"), "{error}");
    assert!(refused.crd().await["status"]["storedVersions"].as_array().unwrap().contains(&json!("v1")));
    assert!(site.get(&frozen).await.is_some());
    site.delete(&format!("{policies}/frozen")).await;
    site.until(async || {
        let body = Some(serde_json::to_vec(&site.get(&frozen).await.unwrap()).unwrap());
        site.cluster.send(Method::PUT, &frozen, body).await.is_ok()
    })
    .await;
    walk(&mut conversion(&site, &refused_wanted, &[]), 20).await.unwrap();
    assert_back(&refused, &refused_wanted, 5).await;

    // Whoever installed the upgrade writes its CRD back after every step.
    let theirs = fought.crd().await["spec"].clone();
    let mut contended = conversion(&site, &fought_wanted, &[]);
    let error = loop {
        match contended.next_step().await {
            Ok(Some(step)) => drop(contended.take(step, &Silent).await.unwrap()),
            Ok(None) => panic!("it cannot end while somebody fights it"),
            Err(error) => break error,
        }
        site.patch(&fought.url(), json!({"spec": theirs})).await;
    };
    assert!(matches!(error, StorageError::Contended { .. }), "{error}");
    walk(&mut conversion(&site, &fought_wanted, &[]), 20).await.unwrap();
    assert_back(&fought, &fought_wanted, 5).await;

    // One that is gone, or going, is left alone.
    site.delete(&fought.url()).await;
    site.until(async || site.get(&fought.url()).await.is_none()).await;
    let error = walk(&mut conversion(&site, &fought_wanted, &[]), 20).await.unwrap_err();
    assert!(matches!(error, StorageError::Gone { .. }), "{error}");
    site.patch(&left.object_url("v1alpha1", "default", "a"), json!({"metadata": {"finalizers": ["a.example/hold"]}}))
        .await;
    site.delete(&left.url()).await;
    let error = walk(&mut conversion(&site, &left_wanted, &[]), 20).await.unwrap_err();
    assert!(matches!(error, StorageError::Ending { .. }), "{error}");
}
