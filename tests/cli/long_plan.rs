//! A plan of more lines than anybody reads on a terminal.

use serde_json::json;

use crate::harness::control_plane::ControlPlane;
use crate::harness::snapback::Snapback;

#[test]
fn a_plan_that_stops_says_how_all_of_it_is_seen() {
    let (cluster, _turn) = ControlPlane::shared_in_turn();
    let snapback = Snapback::new().with_kubeconfig(&cluster.kubeconfig());
    let map = |number: usize| {
        let metadata = json!({"name": format!("m{number:02}"), "namespace": "cli-long"});
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    };
    let space = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "cli-long"}});
    let items: Vec<_> = std::iter::once(space).chain((0..43).map(map)).collect();
    cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string());
    snapback.ok(&["init"]);
    snapback.ok(&["backup"]);
    cluster.kubectl(&["delete", "configmaps", "--all", "-n", "cli-long"]);
    let command = ["restore", "1", "--only", "cm/cli-long", "--dry-run"];
    let shown = snapback.ok(&command).stdout;
    assert_eq!(shown.lines().filter(|line| line.starts_with("  + configmaps cli-long/m")).count(), 40, "{shown}");
    assert!(
        shown.contains("  and 3 more; the same command with --dry-run --output json prints all of them\n"),
        "{shown}"
    );
    assert_eq!(snapback.json(&command)["plan"]["actions"].as_array().unwrap().len(), 43);
}
