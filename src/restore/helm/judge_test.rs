//! Each state, by what makes it: one thing changed in a release that is in sync. Then what is said of a plan: the wanted
//! state is that release, the live one is what an upgrade of the platform made of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::judge::{judge, state_of};
use super::sample::{Sample, stored};
use super::verdict::{Differs, State, Strange, Unknown, Verdict};
use super::view::{HELM_RELEASES, HelmView, OCI_REPOSITORIES, SECRETS};
use crate::restore::{Action, Operation, TypeAddress};

const RELEASE: &str = "cluster/helm.toolkit.fluxcd.io/helmreleases/cozy-demo/demo.json";
const CHART: &str = "cluster/source.toolkit.fluxcd.io/helmcharts/cozy-system/cozy-demo-demo.json";
const STORED_2: &str = "cluster/core/secrets/cozy-demo/sh.helm.release.v1.demo.v2.json";
const STORED_3: &str = "cluster/core/secrets/cozy-demo/sh.helm.release.v1.demo.v3.json";

fn state(view: &HelmView) -> State {
    state_of(view, view.get(HELM_RELEASES, "cozy-demo", "demo").unwrap())
}

/// The state after a change.
fn after(change: impl FnOnce(&mut Sample)) -> State {
    let mut sample = Sample::in_sync();
    change(&mut sample);
    state(&sample.view())
}

fn unknown(why: Unknown) -> State {
    State::Unknown { why }
}

#[test]
fn one_that_nothing_was_done_to_is_in_sync() {
    assert_eq!(after(|_| {}), State::InSync);
    assert_eq!(state(&Sample::upgraded().view()), State::InSync);
    // Made anew, or written to: another generation.
    assert_eq!(after(|sample| sample.release["metadata"]["generation"] = json!(1)), State::InSync);
    let rendered = |field: &'static str, generation: i64| {
        after(|sample| {
            sample.release["spec"][field] = json!({"labels": {"a": "b"}});
            sample.release["metadata"]["generation"] = json!(generation);
        })
    };
    assert_eq!(rendered("commonMetadata", 3), State::InSync);
    assert_eq!(rendered("commonMetadata", 4), unknown(Unknown::NotYetObserved));
    assert_eq!(rendered("postRenderers", 4), unknown(Unknown::NotYetObserved));
    assert_eq!(after(|sample| sample.release["spec"]["suspend"] = json!(true)), State::Suspended);
    let deleted = |sample: &mut Sample| sample.release["metadata"]["deletionTimestamp"] = json!("2026-11-23T10:00:00Z");
    assert_eq!(after(deleted), State::BeingDeleted);
}

#[test]
fn another_chart_or_other_values_are_out_of_sync() {
    let chart =
        |revision: &'static str| after(|sample| sample.chart["status"]["artifact"]["revision"] = json!(revision));
    let differs = |offered: &str| State::OutOfSync {
        why: Differs::Chart { released: "cozy-demo 0.35.5".to_owned(), offered: format!("cozy-demo {offered}") },
    };
    assert_eq!(chart("0.36.2"), differs("0.36.2"));
    // What follows the `+` counts: Flux puts the HelmChart's generation there.
    assert_eq!(chart("0.35.5+1"), differs("0.35.5+1"));
    let renamed = after(|sample| sample.chart["status"]["observedChartName"] = json!("cozy-other"));
    assert!(matches!(renamed, State::OutOfSync { why: Differs::Chart { .. } }));

    let values = State::OutOfSync { why: Differs::Values };
    assert_eq!(after(|sample| sample.release["spec"]["values"]["logLevel"] = json!("debug")), values);
    assert_eq!(after(|sample| sample.values["data"]["values.yaml"] = json!("replicas: 2\nenabled: on")), values);
    assert_eq!(after(|sample| sample.release["spec"]["values"]["more"] = Value::Null), values);
    let deep = |asked: Value| {
        after(|sample| {
            sample.stored[1]["config"]["deep"] = json!([{"a": 1}]);
            sample.release["spec"]["values"]["deep"] = asked;
        })
    };
    assert_eq!(deep(json!([{"a": 1}])), State::InSync);
    for other in [json!([{"a": 2}]), json!([{"a": 1}, {}]), json!([{}]), json!([{"a": 1, "b": 1}])] {
        assert_eq!(deep(other), values);
    }
}

#[test]
fn a_stored_release_that_the_status_does_not_tell_of_is_not_its_own() {
    let not_observed = |recorded, stored| State::Unmanaged { why: Strange::NotObserved { recorded, stored } };
    assert_eq!(after(|sample| sample.stored.push(stored(3, "deployed", "0.36.2"))), not_observed(2, 3));
    assert_eq!(after(|sample| drop(sample.stored.pop())), not_observed(2, 1));
    // 10 is newer than 9, and both are newer than 2.
    let many = |sample: &mut Sample| sample.stored.extend([9, 10].map(|version| stored(version, "deployed", "1")));
    assert_eq!(after(many), not_observed(2, 10));
    for (pointer, value) in [
        ("/info/status", json!("superseded")),
        ("/info/last_deployed", json!("2026-11-23T10:00:03Z")),
        ("/info/first_deployed", json!("2026-11-23T10:00:03Z")),
        ("/chart/metadata/version", json!("0.36.2")),
        ("/namespace", json!("cozy-other")),
    ] {
        let mut sample = Sample::in_sync();
        let namespace = sample.stored[1]["namespace"].clone();
        *sample.stored[1].pointer_mut(pointer).unwrap() = value;
        let mut secret = super::release::tests::secret(&sample.stored.pop().unwrap());
        secret["metadata"]["namespace"] = namespace;
        sample.more.push((SECRETS, secret));
        assert_eq!(state(&sample.view()), not_observed(2, 2), "{pointer}");
    }
    let no_history = State::Unmanaged { why: Strange::NoHistory };
    assert_eq!(after(|sample| sample.release["status"]["history"] = json!([])), no_history);
    // The newest entry counts, wherever it stands.
    let turned = after(|sample| sample.release["status"]["history"].as_array_mut().unwrap().reverse());
    assert_eq!(turned, State::InSync);
}

#[test]
fn pending_failed_and_missing_releases_are_told_apart() {
    for pending in ["pending-install", "pending-upgrade", "pending-rollback"] {
        let locked = after(|sample| {
            sample.stored.push(stored(3, pending, "0.36.2"));
            sample.release["status"]["history"] = Value::Null;
            sample.chart = Value::Null;
        });
        assert_eq!(locked, State::Locked { pending: pending.to_owned() }, "whatever else is wrong");
    }
    let of_status = |status: &'static str| {
        after(|sample| {
            sample.stored[1]["info"]["status"] = json!(status);
            sample.observe();
        })
    };
    assert_eq!(of_status("failed"), State::Failed);
    assert_eq!(of_status("uninstalled"), State::NotInstalled);
    assert_eq!(of_status("uninstalling"), unknown(Unknown::UnreadableRelease));
    assert_eq!(after(|sample| sample.stored.clear()), State::NotInstalled);
    // One whose name begins so is another's.
    let neighbour = |sample: &mut Sample| {
        let mut other = stored(7, "deployed", "1");
        other["name"] = json!("demo.v1");
        sample.stored.push(other);
    };
    assert_eq!(after(neighbour), State::InSync);
    let elsewhere = after(|sample| sample.release["spec"]["storageNamespace"] = json!("elsewhere"));
    assert_eq!(elsewhere, State::NotInstalled);
}

#[test]
fn what_cannot_be_seen_is_said_to_be_unknown() {
    let chart = || Unknown::NoChart { source: "HelmChart cozy-system/cozy-demo-demo".to_owned() };
    let map = || "ConfigMap cozy-demo/defaults".to_owned();
    type Change<'a> = &'a dyn Fn(&mut Sample);
    let cases: Vec<(Change<'_>, Unknown)> = vec![
        (&|sample| sample.chart = Value::Null, chart()),
        (&|sample| sample.chart["status"] = json!({}), chart()),
        (&|sample| sample.chart["spec"]["version"] = json!("0.35.5"), Unknown::ChartWillChange { field: "version" }),
        (&|sample| sample.release["spec"]["chart"] = Value::Null, Unknown::ChartReference),
        (&|sample| sample.values = Value::Null, Unknown::NoValues { source: map() }),
        (
            &|sample| sample.values["data"]["values.yaml"] = json!("a: [hunter2"),
            Unknown::UnreadableValues { source: map() },
        ),
        (&|sample| sample.values["data"]["values.yaml"] = json!("on: 1"), Unknown::UnreadableValues { source: map() }),
        (&|sample| sample.release["spec"]["kubeConfig"] = json!({}), Unknown::OtherCluster),
    ];
    for (change, why) in cases {
        assert_eq!(after(change), unknown(why));
    }
    let unreadable = after(|sample| {
        let mut secret = super::release::tests::secret(&sample.stored.pop().unwrap());
        secret["data"]["release"] = json!("hunter2");
        sample.more.push((SECRETS, secret));
    });
    assert_eq!(unreadable, unknown(Unknown::UnreadableRelease));
    // A HelmRelease that is none, or that is damaged in the repository, is named by its place.
    let broken: HelmView = [(RELEASE.to_owned(), Value::Null)].into_iter().collect();
    let verdict = judge(&HelmView::default(), &broken, &[action(RELEASE, update())]).remove(0);
    assert_eq!((verdict.release.as_str(), verdict.after), ("cozy-demo/demo", unknown(Unknown::UnreadableRelease)));
}

#[test]
fn values_come_from_maps_secrets_and_paths_in_their_order() {
    let composed = after(|sample| {
        sample.stored[1]["config"] = json!({"logLevel": "info", "replicas": 1.0, "enabled": true,
            "deep": {"port": 8080, "name": "0x"}, "password": "hunter2", "raw": "a,b", "large": 1e21});
        sample.observe();
        sample.values["data"] = json!({"values.yaml": "logLevel: warning\nreplicas: 3\nenabled: on\n", "port": "8080",
            "name": "'0x'", "raw": "a,b"});
        sample.release["spec"]["values"]["replicas"] = json!(1);
        sample.release["spec"]["values"]["large"] = serde_json::from_str("1000000000000000000000").unwrap();
        sample.release["spec"]["valuesFrom"] = json!([
            {"kind": "ConfigMap", "name": "defaults"},
            {"kind": "ConfigMap", "name": "defaults", "valuesKey": "port", "targetPath": "deep.port"},
            {"kind": "ConfigMap", "name": "defaults", "valuesKey": "name", "targetPath": "deep.name"},
            {"kind": "ConfigMap", "name": "defaults", "valuesKey": "raw", "targetPath": "raw", "literal": true},
            {"kind": "ConfigMap", "name": "defaults", "valuesKey": "none", "optional": true},
            {"kind": "Secret", "name": "none", "optional": true},
            {"kind": "Secret", "name": "password"},
        ]);
        let data = json!({"values.yaml": STANDARD.encode("password: hunter2")});
        let metadata = json!({"name": "password", "namespace": "cozy-demo"});
        sample.more.push((SECRETS, json!({"metadata": metadata, "data": data})));
    });
    assert_eq!(composed, State::InSync);
    for path in ["list[0]", "a\\.b", "a..b"] {
        let state = after(|sample| {
            let reference = json!({"kind": "ConfigMap", "name": "defaults", "targetPath": path});
            sample.release["spec"]["valuesFrom"] = json!([reference]);
        });
        assert!(matches!(state, State::Unknown { why: Unknown::UnreadableValues { .. } }), "{path}: {state}");
    }
}

#[test]
fn an_oci_artifact_is_known_by_its_digest() {
    let of_revision = |revision: &str, recorded: &str| {
        after(|sample| {
            sample.release["spec"]["chart"] = Value::Null;
            sample.release["spec"]["chartRef"] = json!({"kind": "OCIRepository", "name": "oci"});
            sample.release["status"]["history"][0]["ociDigest"] = json!(recorded);
            let metadata = json!({"name": "oci", "namespace": "cozy-demo"});
            let source = json!({"metadata": metadata, "status": {"artifact": {"revision": revision}}});
            sample.more.push((OCI_REPOSITORIES, source));
        })
    };
    assert_eq!(of_revision("0.35.5@sha256:01", "sha256:01"), State::InSync);
    assert_eq!(of_revision("latest@sha256:01", "latest@sha256:01"), State::InSync);
    assert_eq!(of_revision("sha256:01", "sha256:01"), State::InSync);
    let other = of_revision("0.35.5@sha256:02", "sha256:01");
    assert!(matches!(other, State::OutOfSync { why: Differs::Chart { .. } }), "{other}");
}

fn action(path: &str, operation: Operation) -> Action {
    let address = TypeAddress {
        group: String::new(),
        version: "v1".to_owned(),
        resource: String::new(),
        kind: String::new(),
        namespaced: true,
        has_status: true,
        custom: true,
    };
    let path = path.to_owned();
    let (bound, wanted, live, refused) = (None, None, None, None);
    let (needs, replaces, drops) = (Vec::new(), Vec::new(), Vec::new());
    Action { path, operation, address, wave: 0, bound, wanted, live, unchecked: true, refused, needs, replaces, drops }
}

fn update() -> Operation {
    Operation::Update { fields: Vec::new() }
}

fn delete() -> Operation {
    Operation::Delete { objects: 0, orphan: false }
}

/// Every action of a whole plan.
fn whole() -> Vec<Action> {
    let mut actions: Vec<Action> = [RELEASE, CHART, STORED_2].iter().map(|path| action(path, update())).collect();
    actions.push(action(STORED_3, delete()));
    actions
}

#[test]
fn a_plan_that_leaves_out_a_part_of_a_release_is_refused() {
    let (live, wanted) = (Sample::upgraded().view(), Sample::in_sync().view());
    assert_eq!(judge(&live, &wanted, &whole()), []);
    for left_out in [RELEASE, STORED_2, STORED_3, CHART] {
        let actions: Vec<Action> = whole().into_iter().filter(|action| action.path != left_out).collect();
        let [verdict] = <[Verdict; 1]>::try_from(judge(&live, &wanted, &actions)).unwrap();
        assert!(verdict.is_refused() && verdict.after.then() == "upgrade", "{left_out}: {verdict:?}");
    }
    // Let go of and taken back: only references to owners.
    let readopt = Operation::Readopt { uids: Vec::new() };
    assert_eq!(judge(&live, &wanted, &[action(RELEASE, readopt)]), []);
    // What goes with its CRD or its namespace is not there afterwards.
    let crd = "cluster/apiextensions.k8s.io/customresourcedefinitions/_/helmreleases.helm.toolkit.fluxcd.io.json";
    let recreate = Operation::Recreate { reason: String::new(), orphan: false };
    assert_eq!(judge(&live, &wanted, &[action(crd, recreate)]), []);
    let namespace = action("cluster/core/namespaces/_/cozy-demo.json", Operation::Delete { objects: 9, orphan: false });
    let back = [namespace, action(RELEASE, Operation::Create { after_gone: true })];
    assert_eq!(judge(&live, &wanted, &back)[0].after, State::NotInstalled);
}

#[test]
fn what_a_plan_is_not_to_blame_for_is_only_said_or_not_even_that() {
    let mut failed = Sample::in_sync();
    failed.stored[1]["info"]["status"] = json!("failed");
    failed.observe();
    let (failed, fine) = (failed.view(), Sample::in_sync().view());
    let back = [action(RELEASE, update()), action(STORED_2, update())];
    let as_in_snapshot = judge(&fine, &failed, &back);
    assert_eq!(as_in_snapshot[0].after, State::Failed);
    assert!(!as_in_snapshot[0].is_refused());
    assert_eq!(judge(&failed, &fine, &[action(CHART, update())]), [], "so it is now");
    // A lock is named all the same.
    let mut locked = Sample::in_sync();
    locked.stored.push(stored(3, "pending-upgrade", "0.36.2"));
    let stays = judge(&locked.view(), &fine, &[action(CHART, update())]);
    assert_eq!(stays[0].after.to_string(), "locked: its newest release is pending-upgrade");
    assert!(!stays[0].is_refused());
    // What cannot be known is no better than what is known to be wrong.
    let mut no_chart = Sample::in_sync();
    no_chart.chart = Value::Null;
    let refused = judge(&no_chart.view(), &fine, &[action(STORED_2, delete())]);
    assert_eq!(refused[0].after, State::Unmanaged { why: Strange::NotObserved { recorded: 2, stored: 1 } });
    assert!(refused[0].is_refused());
    assert!(judge(&fine, &fine, &[action(CHART, delete())])[0].is_refused());
}
