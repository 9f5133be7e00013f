//! Owners that come back, and owners that do not, with garbage collection at work.

use serde_json::{Value, json};
use snapback::restore::{SkipReason, Wait};

use super::site::{Site, actions};
use crate::harness::control_plane::Options;

const MAPS: &str = "/api/v1/namespaces/family/configmaps";

fn owned(name: &str, owners: &[&Value]) -> Value {
    let owner = |owner: &&Value| {
        json!({"apiVersion": "v1", "kind": owner["kind"], "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"]})
    };
    json!({"metadata": {"name": name, "ownerReferences": owners.iter().map(owner).collect::<Vec<_>>()}})
}

/// Returns when garbage collection took something that was made after everything else.
async fn collected(site: &Site) {
    let nobody =
        json!({"kind": "ConfigMap", "metadata": {"name": "nobody", "uid": "00000000-0000-0000-0000-000000000000"}});
    site.post(MAPS, owned("probe", &[&nobody])).await;
    site.until(async || site.get(&format!("{MAPS}/probe")).await.is_none()).await;
}

async fn owners(site: &Site, name: &str) -> Vec<String> {
    let object = site.get(&format!("{MAPS}/{name}")).await.unwrap();
    let owners = object["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
    owners.iter().map(|owner| owner["uid"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_with_an_owner_that_stays_gone() {
    let mut site = Site::start(Options::default().controllers()).await;
    site.namespace("family").await;
    site.namespace("elsewhere").await;
    site.only(&["cluster/*/*/family/**"]);
    let make = async |name: &str| site.post(MAPS, json!({"metadata": {"name": name}})).await;
    let (first, second) = (make("first").await, make("second").await);
    site.post(MAPS, owned("child-of-two", &[&first, &second])).await;
    let pods = "/api/v1/namespaces/family/pods";
    let pod = json!({"metadata": {"name": "worker"}, "spec": {"containers": [{"name": "w", "image": "w:1"}]}});
    let pod = site.post(pods, pod).await;
    let scratch = site.post(MAPS, owned("scratch-of-pod", &[&pod])).await;
    site.post(MAPS, owned("scratch-of-scratch", &[&scratch])).await;
    // While nobody collects, something has an owner in another namespace, which is none.
    let controllers = "kube-controller-manager";
    tokio::task::block_in_place(|| site.control_plane().stop_server(controllers));
    let foreign = "/api/v1/namespaces/elsewhere/configmaps";
    let foreign = site.post(foreign, json!({"metadata": {"name": "foreign"}})).await;
    site.post(MAPS, owned("child-of-foreign", &[&foreign])).await;
    let wanted = site.snapshot().await;

    site.delete(&format!("{MAPS}/child-of-foreign")).await;
    tokio::task::block_in_place(|| site.control_plane().start_server(controllers));
    site.delete(&format!("{MAPS}/first?propagationPolicy=Background")).await;
    site.until(async || owners(&site, "child-of-two").await.len() == 1).await;
    site.delete(&format!("{pods}/worker")).await;
    for name in ["scratch-of-pod", "scratch-of-scratch"] {
        site.until(async || site.get(&format!("{MAPS}/{name}")).await.is_none()).await;
    }
    collected(&site).await;

    let restored = site.restore(&wanted, Wait::Skip).await;
    let steps = actions(&restored.plan);
    let path = |name: &str| format!("cluster/core/configmaps/family/{name}.json");
    let create_first = format!("create {}", path("first"));
    assert!(steps.contains(&create_first) && steps.contains(&format!("update {}", path("child-of-two"))), "{steps:#?}");
    let gone: Vec<&str> = restored
        .plan
        .skipped
        .iter()
        .filter(|skipped| skipped.reason == SkipReason::OwnersStayGone)
        .map(|skipped| skipped.path.as_str())
        .collect();
    assert_eq!(gone, [path("scratch-of-pod"), path("scratch-of-scratch")], "a pod is never brought back");

    collected(&site).await;
    let first_now = site.get(&format!("{MAPS}/first")).await.unwrap()["metadata"]["uid"].as_str().unwrap().to_owned();
    let second = second["metadata"]["uid"].as_str().unwrap().to_owned();
    assert_eq!(owners(&site, "child-of-two").await, [first_now, second], "both owners, in their order");
    assert!(owners(&site, "child-of-foreign").await.is_empty(), "it lives, without the owner that is none");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stays_is_let_go_of_before_its_owner_and_the_owners_type_go() {
    let site = Site::start(Options::default().controllers()).await;
    site.namespace("family").await;
    // Garbage collection leaves alone whom a type owned that is missing.
    let lost = json!({"kind": "Widget", "metadata": {"name": "w", "uid": "11111111-1111-1111-1111-111111111111"}});
    let owned_by = |name: &str, widget: &Value, data: &str| {
        let mut object = owned(name, &[widget]);
        object["metadata"]["ownerReferences"][0]["apiVersion"] = json!("db.example/v1");
        object["data"] = json!({"a": data});
        object
    };
    for name in ["kept", "edited"] {
        site.post(MAPS, owned_by(name, &lost, "1")).await;
    }
    let wanted = site.snapshot().await;

    // Then the type and the owner come back, and the references name what is there.
    let controllers = "kube-controller-manager";
    tokio::task::block_in_place(|| site.control_plane().stop_server(controllers));
    site.crd("widgets", "Widget", "Namespaced").await;
    let widget = json!({"apiVersion": "db.example/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {}});
    let widget = site.post("/apis/db.example/v1/namespaces/family/widgets", widget).await;
    site.patch(&format!("{MAPS}/kept"), owned_by("kept", &widget, "1")).await;
    site.patch(&format!("{MAPS}/edited"), owned_by("edited", &widget, "2")).await;
    // Its own, which was never there: that one goes with it.
    site.post(MAPS, owned_by("extra", &widget, "1")).await;
    tokio::task::block_in_place(|| site.control_plane().start_server(controllers));

    let restored = site.restore(&wanted, Wait::Skip).await;
    let dangers: Vec<String> =
        restored.plan.dangers().iter().map(|danger| format!("{} {}", danger.path, danger.text)).collect();
    for name in ["kept", "edited"] {
        let danger = format!(
            "cluster/core/configmaps/family/{name}.json loses its reference to an owner that is not there in the snapshot"
        );
        assert!(dangers.contains(&danger), "{dangers:#?}");
    }
    collected(&site).await;
    for name in ["kept", "edited"] {
        assert!(owners(&site, name).await.is_empty(), "{name}");
        assert_eq!(site.get(&format!("{MAPS}/{name}")).await.unwrap()["data"]["a"], "1");
    }
    assert!(site.get(&format!("{MAPS}/extra")).await.is_none());
}
