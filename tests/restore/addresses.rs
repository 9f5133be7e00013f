//! Services whose address another one has taken: a dry run does not see it.

use serde_json::{Value, json};
use snapback::restore::Wait;

use super::site::{Site, failures};

const SPACE: &str = "addresses";

fn service(name: &str, address: Option<&Value>) -> Value {
    let mut service = json!({"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}});
    if let Some(address) = address {
        service["spec"]["clusterIP"] = address.clone();
    }
    service
}

#[tokio::test(flavor = "multi_thread")]
async fn no_service_is_deleted_for_an_address_that_another_one_has() {
    let mut site = Site::in_namespace(SPACE).await;
    let services = format!("/api/v1/namespaces/{SPACE}/services");
    let mut addresses = Vec::new();
    for name in ["deleted", "moved"] {
        let made = site.post(&services, service(name, None)).await;
        addresses.push(made["spec"]["clusterIP"].clone());
    }
    let wanted = site.snapshot().await;
    for name in ["deleted", "moved"] {
        site.delete(&format!("{services}/{name}")).await;
    }
    let moved = site.post(&services, service("moved", None)).await;
    for (name, address) in ["thief-of-deleted", "thief-of-moved"].iter().zip(&addresses) {
        site.post(&services, service(name, Some(address))).await;
    }

    site.only(&[&format!("services/{SPACE}/deleted"), &format!("services/{SPACE}/moved")]);
    let (live, plan) = site.plan(&wanted).await;
    let path = |name: &str| format!("cluster/core/services/{SPACE}/{name}.json");
    let refused: Vec<(&str, String)> = plan
        .actions
        .iter()
        .map(|action| (action.operation.verb(), action.refused.as_ref().unwrap().to_string()))
        .collect();
    let held = |name: &str, address: &Value| format!("Service {SPACE}/{name} has its {}", address.as_str().unwrap());
    let thefts = [held("thief-of-deleted", &addresses[0]), held("thief-of-moved", &addresses[1])];
    assert_eq!(refused, [("create", thefts[0].clone()), ("recreate", thefts[1].clone())]);

    let applied = site.apply(&live, &plan, &wanted, &snapback::progress::Silent).await.unwrap();
    let failures = failures(&applied);
    assert_eq!(failures[&path("moved")], thefts[1]);
    assert!(failures[&path("deleted")].contains("spec.clusterIPs"), "{failures:?}");
    let kept = site.get(&format!("{services}/moved")).await.expect("it was not deleted in vain");
    assert_eq!(kept["metadata"]["uid"], moved["metadata"]["uid"]);

    // Once those are part of the restore, they go, and the addresses are free.
    site.only(&[&format!("cluster/*/*/{SPACE}/**")]);
    let restored = site.restore(&wanted, Wait::Skip).await;
    assert!(restored.plan.refusals().is_empty(), "{:#?}", restored.plan.refusals());
    for (name, address) in ["deleted", "moved"].iter().zip(&addresses) {
        assert_eq!(&site.get(&format!("{services}/{name}")).await.unwrap()["spec"]["clusterIP"], address);
    }
}
