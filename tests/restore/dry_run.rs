//! Planning changes nothing (I5): the API server's audit log is the witness.

use serde_json::json;
use snapback::restore::Wait;

use super::site::{CRDS, Site};
use crate::harness::control_plane::Options;

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_asks_only_what_changes_nothing() {
    let site = Site::start(Options::default()).await;
    site.crd("databases", "Database", "Namespaced").await;
    let maps = "/api/v1/namespaces/default/configmaps";
    for name in ["edited", "deleted", "frozen"] {
        site.post(maps, json!({"metadata": {"name": name}, "immutable": name == "frozen", "data": {"a": "1"}})).await;
    }
    let wanted = site.snapshot().await;
    site.patch(&format!("{maps}/edited"), json!({"data": {"a": "2"}})).await;
    for name in ["deleted", "frozen"] {
        site.delete(&format!("{maps}/{name}")).await;
    }
    site.post(maps, json!({"metadata": {"name": "frozen"}, "immutable": true, "data": {"a": "2"}})).await;
    site.post(maps, json!({"metadata": {"name": "added"}})).await;
    site.delete(&format!("{CRDS}/databases.db.example")).await;
    site.until(async || site.get(&format!("{CRDS}/databases.db.example")).await.is_none()).await;

    let before = site.our_writes().await;
    let content = site.capture(Some(wanted.clone())).await.root();
    let (_, plan) = site.plan(&wanted).await;
    let counts = plan.counts();
    assert_eq!((counts.create, counts.update, counts.recreate, counts.delete), (2, 1, 1, 1), "{:#?}", plan.actions);
    assert_eq!(site.our_writes().await, before, "planning wrote something");
    // A deletion is a dry run by its body, which the audit log does not show: the objects are the witness.
    assert_eq!(site.capture(Some(wanted.clone())).await.root(), content, "planning changed something");
    let log = tokio::task::block_in_place(|| site.control_plane().audit_log());
    let tried: std::collections::BTreeSet<&str> =
        log.iter().filter(|event| event.dry_run.as_deref() == Some("All")).map(|event| event.verb.as_str()).collect();
    assert_eq!(tried, ["create", "delete", "update"].into(), "everything that can be is tried");
    assert!(plan.actions.iter().all(|action| !action.unchecked), "{:#?}", plan.actions);
    // The same plan, carried out, writes.
    site.restore(&wanted, Wait::Skip).await;
    assert!(site.our_writes().await.len() > before.len());
}
