//! The whole story of a snapshot on a real control plane: taken, looked at, compared, put back, proven.

use insta::assert_snapshot;

use super::normal::normal;
use super::watched::{CANARY_BASE64, OTHER, Watched, base64, fill};
use crate::harness::control_plane::{ControlPlane, Options};
use crate::harness::snapback::Snapback;

#[test]
fn a_snapshot_is_taken_looked_at_compared_and_put_back() {
    let cluster = ControlPlane::start(&Options::default());
    fill(&cluster, "tenant-a", "story.example");
    let snapback = Watched(Snapback::new().with_kubeconfig(&cluster.kubeconfig()));
    snapback.run(&["init"]);

    // Taken.
    let taken = snapback.json(&["backup", "--label", "pre-upgrade"]);
    assert_eq!(taken["snapshot"]["number"], 1);
    assert_eq!(taken["snapshot"]["complete"], true);
    assert!(taken["snapshot"]["objects"].as_u64().unwrap() > 100 && taken["newBytes"].as_u64().unwrap() > 1000);
    // Logs go to standard error, and secrets go nowhere.
    let logged = snapback.run(&["backup", "-vvv"]);
    assert!(logged.stdout.starts_with("snapshot #2 (") && logged.code == 0, "{}", logged.all());
    assert_eq!(snapback.json(&["snapshots"])["snapshots"].as_array().unwrap().len(), 2);

    // Looked at.
    assert_snapshot!(snapback.shown(&["show", "#1"]), @r"
    exit 0
    --- stdout
    snapshot #1 (ID) pre-upgrade
      taken      DATE CLOCK UTC by snapback 0.1.0
      of         context `throwaway`, Kubernetes v1.37.2, cluster UID
      revision   N
      scope      everything
      holds      N objects of N types, N B
      stored in  1 pack, N B
      state      complete
      source     cluster is complete
      source     etcd is not configured: add `etcd:` to snapback.yaml to take its snapshot
      source     proxmox is not configured: add `proxmox:` to snapback.yaml to take its backup jobs and storages
      id         HASH
    --- stderr
    ");
    assert_snapshot!(snapback.shown(&["ls", "pre-upgrade:cm/tenant-a"]), @r"
    exit 0
    --- stdout
        N B  cluster/core/configmaps/tenant-a/doomed.json
        N B  cluster/core/configmaps/tenant-a/settings.json
    --- stderr
    ");
    let shown = snapback.run(&["show", "latest:cm/tenant-a/settings"]).stdout;
    assert!(
        shown.contains("  script: |\n    one\n    two\n    three\n")
            && (shown.contains("looks-like-a-bool: 'no'") || shown.contains("looks-like-a-bool: \"no\"")),
        "{shown}"
    );
    assert!(snapback.run(&["show", "latest:db/tenant-a/orders"]).stdout.contains("size: 9007199254740993"));
    let secret = snapback.run(&["show", "latest~1:secret/tenant-a/password"]).stdout;
    assert!(
        secret.contains("value: (masked, 15 bytes)") && secret.contains("last-applied-configuration: (masked"),
        "{secret}"
    );
    assert!(snapback.0.ok(&["show", "latest:secrets/tenant-a/password", "--reveal"]).stdout.contains(CANARY_BASE64));
    assert_snapshot!(snapback.shown(&["show", "latest:secrets/tenant-a/pasword"]), @r"
    exit 1
    --- stdout
    --- stderr
    error: there is no `secrets/tenant-a/pasword` in the snapshot
    hint: did you mean `secrets/tenant-a/password`?
    ");
    assert_snapshot!(snapback.shown(&["show", "pre-upgrad"]), @r"
    exit 1
    --- stdout
    --- stderr
    error: there is no snapshot `pre-upgrad`
    hint: did you mean `pre-upgrade` (#1)?
    ");
    assert_snapshot!(snapback.shown(&["ls", "latest:../../etc"]), @r"
    exit 2
    --- stdout
    --- stderr
    error: `../../etc` is not a path inside a snapshot
    hint: paths look like `cluster/core/configmaps/NAMESPACE/NAME.json`; `snapback ls latest` lists them
    ");
    assert_snapshot!(snapback.shown(&["diff", "latest"]), @r"
    exit 0
    --- stdout
    no differences
    --- stderr
    reading the cluster
    ");

    // An accident.
    cluster.kubectl(&[
        "patch",
        "configmap",
        "settings",
        "-n",
        "tenant-a",
        "--type=merge",
        "-p",
        r#"{"data":{"mode":"test","script":"one\n2\nthree\n"}}"#,
    ]);
    cluster.kubectl(&[
        "patch",
        "secret",
        "password",
        "-n",
        "tenant-a",
        "--type=merge",
        "-p",
        &format!(r#"{{"stringData":{{"value":"{OTHER}"}}}}"#),
    ]);
    cluster.kubectl(&["delete", "configmap", "doomed", "-n", "tenant-a"]);
    cluster.kubectl(&["create", "configmap", "extra", "-n", "tenant-a"]);
    cluster.kubectl(&["delete", "crd", "databases.story.example"]);

    // Compared.
    let diff = snapback.run(&["diff", "pre-upgrade", "live", "--exit-code"]);
    assert_snapshot!(normal(&diff.all()), @r#"
    exit 1
    --- stdout
    cluster-wide
      - CustomResourceDefinition databases.story.example

    namespace tenant-a
      - ConfigMap doomed
      + ConfigMap extra
      ~ ConfigMap settings
          ~ data.mode: "production" -> "test"
          ~ data.script:
              one
            - two
            + 2
              three
          and N fields of noise
      - Database orders
      ~ Secret password
          ~ data.value: "(masked, 15 bytes)" -> "(masked, 15 bytes)" (differs)
          and N fields of noise

    1 added, 2 changed, 3 removed
    1 object differs that a restore never touches (automanaged-apiservices); --all-fields shows them
    --- stderr
    reading the cluster
    "#);
    let document = snapback.json(&["diff", "latest"]);
    assert_eq!(
        document["summary"],
        serde_json::json!({"added": 1, "changed": 2, "removed": 3, "noiseOnly": 0, "neverList": 1})
    );
    let all = snapback.json(&["diff", "latest", "--all-fields"]);
    let rules: Vec<&str> =
        all["changes"].as_array().unwrap().iter().filter_map(|one| one["neverList"].as_str()).collect();
    assert_eq!(rules, ["automanaged-apiservices"]);
    assert_eq!(document["after"]["live"], true);
    let only = snapback.json(&["diff", "latest", "--only", "cm"]);
    assert_eq!(only["changes"].as_array().unwrap().len(), 3);
    assert!(snapback.0.ok(&["diff", "latest", "--reveal"]).stdout.contains(&base64(OTHER)));

    // What a restore would do; it writes nothing.
    let before = cluster.audit_log().len();
    assert_snapshot!(snapback.shown(&["restore", "pre-upgrade", "--dry-run"]), @r#"
    exit 0
    --- stdout
    restore to snapshot #1 (ID, DATE CLOCK UTC) in context `throwaway`, scope everything
    plan: create 3, update 2, delete 1, skip 1
      ! configmaps tenant-a/extra is deleted
      + customresourcedefinitions.apiextensions.k8s.io databases.story.example
      + configmaps tenant-a/doomed
      ~ configmaps tenant-a/settings: data.mode, data.script, and N of noise
      ~ secrets tenant-a/password: data.value, and N of noise
      + databases.story.example tenant-a/orders *
      = apiservices.apiregistration.k8s.io v1.story.example: left alone, the API server makes them from what it serves
    *: no dry run could check 1 action
    dry run: nothing was changed
    --- stderr
    reading the cluster
    comparing with the cluster
    planning
    "#);
    assert_eq!(cluster.audit_log()[before..].iter().filter(|event| event.is_ours() && event.is_write()).count(), 0);
    assert_eq!(snapback.json(&["snapshots"])["snapshots"].as_array().unwrap().len(), 2);
    assert_snapshot!(snapback.shown(&["restore", "pre-upgrade"]).lines().filter(|line| !line.starts_with("  ")).collect::<Vec<_>>().join("\n"), @r"
    exit 4
    --- stdout
    restore to snapshot #1 (ID, DATE CLOCK UTC) in context `throwaway`, scope everything
    plan: create 3, update 2, delete 1, skip 1
    *: no dry run could check 1 action
    --- stderr
    reading the cluster
    comparing with the cluster
    planning
    error: the restore changes the cluster and there is no terminal to ask on; nothing was changed
    hint: run `snapback restore 1 --yes`
    ");

    // Put back, and proven.
    assert_snapshot!(snapback.shown(&["restore", "pre-upgrade", "--yes"]), @r#"
    exit 0
    --- stdout
    restore to snapshot #1 (ID, DATE CLOCK UTC) in context `throwaway`, scope everything
    plan: create 3, update 2, delete 1, skip 1
      ! configmaps tenant-a/extra is deleted
      + customresourcedefinitions.apiextensions.k8s.io databases.story.example
      + configmaps tenant-a/doomed
      ~ configmaps tenant-a/settings: data.mode, data.script, and N of noise
      ~ secrets tenant-a/password: data.value, and N of noise
      + databases.story.example tenant-a/orders *
      = apiservices.apiregistration.k8s.io v1.story.example: left alone, the API server makes them from what it serves
    *: no dry run could check 1 action
    1 round, N writes
      expected in 1 object: crd-conditions (the API server writes a CRD's status when it accepts it)
      expected in 3 objects: creation-timestamp (the API server sets it when an object is made)
      expected in 1 object: never-list (a restore never touches it)
      expected in 5 objects: resource-version (it counts writes and only goes up)
      expected in 3 objects: uid (the API server gives each new object a UID of its own)
    proven: no unexplained difference
    `snapback undo` goes back to snapshot #3 (ID), what was there before
    --- stderr
    reading the cluster
    comparing with the cluster
    planning
    reading the cluster
    what is there now is snapshot #3 (ID)
    comparing with the cluster
    planning
    round 1
    restoring
    reading the cluster
    comparing with the cluster
    planning
    "#);
    assert_snapshot!(snapback.shown(&["diff", "pre-upgrade", "live", "--only", "cm/tenant-a", "--only", "secrets"]), @r#"
    exit 0
    --- stdout
    no differences
    3 objects differ in noise only (uid, times, resourceVersion, generation, managedFields, status); --all-fields shows them
    --- stderr
    reading the cluster
    "#);
    let all = snapback.run(&["diff", "pre-upgrade", "live", "--only", "cm/tenant-a/doomed", "--all-fields"]).stdout;
    assert!(all.contains("~ metadata.uid: ") && all.contains("~ metadata.creationTimestamp: "), "{all}");
    let again = snapback.json(&["restore", "pre-upgrade", "--dry-run"]);
    assert_eq!(again["plan"]["actions"], serde_json::json!([]));
    // What was there before is a snapshot too, but never `latest`: that would undo the restore.
    for (name, number) in [("latest", 2), ("latest~1", 1), ("before-restore", 3)] {
        assert_eq!(snapback.json(&["show", name])["snapshot"]["number"], number, "{name}");
    }
    let decoded = cluster.kubectl(&["get", "secret", "password", "-n", "tenant-a", "-o", "jsonpath={.data.value}"]);
    assert_eq!(decoded, CANARY_BASE64);

    // The repository is whole, and knows what became of each object.
    assert_snapshot!(snapback.shown(&["verify"]), @r"
    exit 0
    --- stdout
    no damage: checked every byte, object and reference of 19 files and 3 snapshots (N B read)
    --- stderr
    checking packs
    ");
    assert_eq!(snapback.json(&["verify", "--level", "bytes"])["sound"], true);
    snapback.run(&["backup"]);
    assert_snapshot!(snapback.shown(&["history", "cm/tenant-a/settings"]), @r#"
    exit 0
    --- stdout
    #1 pre-upgrade  DATE CLOCK UTC  first seen, the same in 1 more snapshot
    #3 before-restore  DATE CLOCK UTC  changed
        ~ data.mode: "production" -> "test"
        ~ data.script:
            one
          - two
          + 2
            three
        and N fields of noise
    #4  DATE CLOCK UTC  changed
        ~ data.mode: "test" -> "production"
        ~ data.script:
            one
          - 2
          + two
            three
        and N fields of noise
    --- stderr
    "#);
    assert_snapshot!(snapback.shown(&["history", "secret/tenant-a/password"]), @r#"
    exit 0
    --- stdout
    #1 pre-upgrade  DATE CLOCK UTC  first seen, the same in 1 more snapshot
    #3 before-restore  DATE CLOCK UTC  changed
        ~ data.value: "(masked, 15 bytes)" -> "(masked, 15 bytes)" (differs)
        and N fields of noise
    #4  DATE CLOCK UTC  changed
        ~ data.value: "(masked, 15 bytes)" -> "(masked, 15 bytes)" (differs)
        and N fields of noise
    --- stderr
    "#);
}
