//! Namespaces and types that were deleted and wait for a controller which the rollback itself holds still.

use serde_json::json;
use snapback::journal::Outcome;

use super::case::Case;
use super::kills::{check_installer, installed};
use crate::harness::control_plane::{ControlPlane, Options};
use crate::harness::fighting::BOUND;
use crate::harness::snapback::Snapback;
use crate::restore::site::Site;

/// The one of Flux: in the small CozyStack helm-controller puts it on each HelmRelease.
const FLUX: &str = "finalizers.fluxcd.io";

fn databases(namespace: &str) -> String {
    format!("/apis/db.example/v1/namespaces/{namespace}/databases")
}

async fn database(site: &Site, namespace: &str, finalizers: &[&str]) {
    let object = json!({"apiVersion": "db.example/v1", "kind": "Database",
        "metadata": {"name": "a", "finalizers": finalizers}});
    site.post(&databases(namespace), object).await;
}

/// Deletes it, and waits until it hangs on the database in it.
async fn deleted(site: &Site, namespace: &str) {
    site.delete(&format!("/api/v1/namespaces/{namespace}")).await;
    let object = format!("{}/a", databases(namespace));
    site.until(async || !site.get(&object).await.unwrap()["metadata"]["deletionTimestamp"].is_null()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_waits_for_a_held_controller_goes_and_comes_back() {
    let site = Site::start(Options::default().controllers()).await;
    site.crd("databases", "Database", "Namespaced").await;
    installed(&site).await;
    site.namespace("cozy-lost").await;
    database(&site, "cozy-lost", &[FLUX]).await;
    let mut case = Case::of(site).await;
    case.scope = "everything";

    // One that the snapshot has, and one that it does not have.
    let site = &case.site;
    deleted(site, "cozy-lost").await;
    site.namespace("cozy-extra").await;
    database(site, "cozy-extra", &[FLUX]).await;
    deleted(site, "cozy-extra").await;
    let said = case.snapback.run(&["rollback", "1", "--scope", "everything", "--dry-run"]);
    let line = format!(
        "  | databases.db.example cozy-extra/a, databases.db.example cozy-lost/a: finalizer {FLUX} is taken off, since \
         whoever would do so is held still\n"
    );
    assert!(said.stdout.contains(&line), "{}", said.all());
    let restore = case.snapback.run(&["restore", "1", "--only", "namespaces/cozy-extra", "--dry-run"]);
    let line = format!(
        "  ? databases.db.example cozy-extra/a: gone only when its controller has taken finalizer {FLUX} off\n"
    );
    assert!(restore.stdout.contains(&line), "{}", restore.all());

    let mut journal = case.begin().await;
    let report = case.drive(&mut journal).await.unwrap();
    assert_eq!(report.outcome, Some(Outcome::Done {}), "{report:#?}");
    assert!(report.rounds.iter().all(|round| round.failures.is_empty()), "{:#?}", report.rounds);
    let back = site.get(&format!("{}/a", databases("cozy-lost"))).await.unwrap();
    assert_eq!(back["metadata"]["finalizers"], json!([FLUX]));
    assert!(site.get("/api/v1/namespaces/cozy-extra").await.is_none());
    case.check("after the rollback").await;
    check_installer(site, "after the rollback").await;

    // And a type that was deleted.
    let crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/databases.db.example";
    site.delete(crd).await;
    let object = format!("{}/a", databases("cozy-lost"));
    site.until(async || !site.get(&object).await.unwrap()["metadata"]["deletionTimestamp"].is_null()).await;
    let mut journal = case.begin().await;
    let report = case.drive(&mut journal).await.unwrap();
    assert_eq!(report.outcome, Some(Outcome::Done {}), "{report:#?}");
    assert!(report.rounds.iter().all(|round| round.failures.is_empty()), "{:#?}", report.rounds);
    case.check("after the type came back").await;
}

#[test]
fn a_namespace_whose_helm_controller_was_stopped_before_it_was_deleted_comes_back() {
    let cluster = ControlPlane::start(&Options::default().fighting());
    let snapback = Snapback::new().with_kubeconfig(&cluster.kubeconfig());
    snapback.ok(&["init"]);
    snapback.ok(&["backup", "--label", "pre-upgrade"]);
    let [_, _, helm_controller] = BOUND;
    let releases = || {
        let mut names: Vec<String> = cluster
            .list("helmreleases")
            .iter()
            .map(|release| format!("{} {}", release["metadata"]["namespace"], release["metadata"]["name"]))
            .collect();
        names.sort();
        names
    };
    let before = releases();
    assert!(before.iter().any(|name| name.starts_with("\"cozy-metallb\" ")), "{before:?}");
    cluster.scale(helm_controller, 0);
    cluster.kubectl(&["delete", "namespace", "cozy-metallb", "--wait=false"]);

    let rollback = ["rollback", "--scope", "namespace=cozy-metallb", "--yes", "--no-wait"];
    let run = snapback.run(&rollback);
    assert_eq!(run.code, 0, "{}", run.all());
    assert!(run.stdout.contains("finalizer finalizers.fluxcd.io is taken off, since"), "{}", run.stdout);
    assert_eq!(releases(), before);
    let again = snapback.run(&["rollback", "--scope", "namespace=cozy-metallb", "--dry-run"]);
    assert!(again.stdout.ends_with("nothing to do: everything in this scope is as it was\n"), "{}", again.all());
}
