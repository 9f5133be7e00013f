//! The kill matrix of a rollback on a real control plane (I7, I8): a process that dies on either side of a record, and
//! another one that goes on, end where one that lives would. The third side, after an effect, is before the next record.
//! Every record with SNAPBACK_SOAK=1, a sample otherwise. The records of a type's conversion are in `half_way`.

use serde_json::json;
use snapback::journal::Outcome;

use super::case::Case;
use crate::harness::control_plane::Options;
use crate::harness::sample::soak;
use crate::journal::countdown::Side;
use crate::restore::site::Site;

const MAPS: &str = "/api/v1/namespaces/cozy-system/configmaps";
pub(super) const INSTALLER: &str = "/apis/apps/v1/namespaces/cozy-system/deployments/cozystack";

/// With an installer that is held still, and two objects.
pub(super) async fn installed(site: &Site) {
    site.namespace("cozy-system").await;
    let labels = json!({"app": "cozystack"});
    let container = json!({"name": "installer", "image": "example.org/installer:v1"});
    let template = json!({"metadata": {"labels": labels}, "spec": {"containers": [container]}});
    let spec = json!({"replicas": 1, "selector": {"matchLabels": labels}, "template": template});
    let installer =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "cozystack"}, "spec": spec});
    site.post("/apis/apps/v1/namespaces/cozy-system/deployments", installer).await;
    for name in ["edited", "deleted"] {
        site.post(MAPS, json!({"metadata": {"name": name}, "data": {"a": "1"}})).await;
    }
    site.until(async || site.get(INSTALLER).await.is_some_and(|it| it["status"]["readyReplicas"] == 1)).await;
}

/// Something to put back: an edit, a removal, an addition.
async fn accident(site: &Site) {
    site.patch(&format!("{MAPS}/edited"), json!({"data": {"a": "2"}})).await;
    site.delete(&format!("{MAPS}/deleted")).await;
    site.post(MAPS, json!({"metadata": {"name": "added"}})).await;
}

/// What was held runs and bears no mark.
pub(super) async fn check_installer(site: &Site, what: &str) {
    let installer = site.get(INSTALLER).await.unwrap();
    assert_eq!(installer["spec"]["replicas"], 1, "{what}");
    assert!(!installer["metadata"]["annotations"].to_string().contains("snapback"), "{what}: {installer:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_record_a_rollback_ends_as_if_it_had_lived() {
    let site = Site::start(Options::default().controllers()).await;
    installed(&site).await;
    let case = Case::of(site).await;
    accident(&case.site).await;
    let mut journal = case.begin().await;
    let report = case.drive(&mut journal).await.unwrap();
    assert_eq!(report.outcome, Some(Outcome::Done {}), "{report:#?}");
    let records = journal.records().len();
    case.check("without a kill").await;
    check_installer(&case.site, "without a kill").await;

    // Record 0 is the decision: before it nothing was done. The last ones are seldom interesting.
    let all = (2..records).flat_map(|record| [(record, Side::Before), (record, Side::After)]);
    let sample = all.enumerate().filter(|(number, _)| soak() || number % 5 == 1).map(|(_, kill)| kill);
    for (record, side) in sample {
        let what = format!("killed {side:?} record {record} of {records}");
        accident(&case.site).await;
        let id = case.dies(record, side).await;
        match case.resume(&id).await {
            Some(mut journal) => {
                let report = case.drive(&mut journal).await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
                assert_eq!(report.outcome, Some(Outcome::Done {}), "{what}: {report:#?}");
            }
            // It died after its last record.
            None => assert_eq!((record, side), (records - 1, Side::After), "{what}"),
        }
        case.check(&what).await;
        check_installer(&case.site, &what).await;
    }
}
