//! Every command's JSON document, held against docs/json-output.md.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::control_plane::ControlPlane;
use crate::sources::etcd_recovery::configured;

const DOCUMENTED: &str = include_str!("../../docs/json-output.md");

/// Whether the page speaks of a field.
fn is_documented(field: &str) -> bool {
    [format!("`{field}`"), format!("`{field}:"), format!("\"{field}\"")].iter().any(|form| DOCUMENTED.contains(form))
}

fn fields(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// What a transaction says before it is carried out.
const TRANSACTION: &[&str] = &[
    "snapshot",
    "context",
    "scope",
    "dryRun",
    "notCompared",
    "plan",
    "missingRights",
    "helm",
    "heldStill",
    "setAside",
    "changedOutside",
    "changedOutsidePaths",
];

#[test]
fn every_document_has_the_fields_that_are_documented() {
    let cluster = ControlPlane::shared();
    let snapback = configured(cluster);
    let program = cluster.program("etcdutl");
    let etcdutl = ["--etcdutl", program.to_str().unwrap()];
    let object = "1:namespaces/kube-system";
    let documents: Vec<(&str, Vec<&str>, &[&str])> = vec![
        ("init", vec!["init"], &["repository"]),
        ("backup", vec!["backup"], &["snapshot", "newBytes", "seconds", "attempts", "unlistable", "skipped", "also"]),
        ("init", vec!["init", "--repo", "other"], &["repository"]),
        ("copy", vec!["copy", "--to", "other"], &["to", "copied", "knownThere", "notCopied", "wouldCopy"]),
        ("snapshots", vec!["snapshots"], &["repository", "snapshots"]),
        ("show", vec!["show", "1"], &["snapshot"]),
        ("show", vec!["show", object], &["snapshot", "path", "object"]),
        ("show", vec!["show", "1:cluster/_types.json"], &["snapshot", "path", "content"]),
        ("ls", vec!["ls", "1:cluster"], &["snapshot", "entries"]),
        ("diff", vec!["diff", "1"], &["before", "after", "summary", "notCompared", "changes"]),
        ("history", vec!["history", "namespaces/kube-system"], &["path", "versions"]),
        ("verify", vec!["verify"], &["sound", "remembered", "report"]),
        ("restore", vec!["restore", "1", "--dry-run", "--only", "ns/kube-system"], TRANSACTION),
        ("rollback", vec!["rollback", "1", "--dry-run"], TRANSACTION),
        ("restore", vec!["restore", "--never-list"], &["neverList"]),
        ("export", vec!["export", "1", "out"], &["destination", "objects", "secrets", "leftOut", "folders"]),
        (
            "etcd prepare",
            [&["etcd", "prepare", "1", "kit"][..], &etcdutl].concat(),
            &[
                "snapshot",
                "folder",
                "files",
                "installation",
                "revision",
                "revisionAhead",
                "hashed",
                "liveRevision",
                "writesLost",
            ],
        ),
        (
            "etcd restore",
            [&["etcd", "restore", "1", "--data-dir", "data"][..], &etcdutl].concat(),
            &["snapshot", "dataDir", "revision"],
        ),
        ("version", vec!["version"], &["version", "repositoryFormat", "jsonSchema"]),
        ("show", vec!["show", "99"], &["error"]),
    ];
    for (command, arguments, expected) in documents {
        let document = snapback.json(&arguments);
        assert_eq!((&document["schema"], &document["command"]), (&json!("snapback/v1"), &json!(command)));
        let expected: BTreeSet<&str> = expected.iter().copied().chain(["schema", "command"]).collect();
        assert_eq!(fields(&document), expected, "{arguments:?}");
        let inner =
            ["snapshot", "error", "plan", "summary", "report", "before", "after", "files"].map(|part| &document[part]);
        let inner = inner.into_iter().filter(|part| part.is_object()).flat_map(fields);
        for field in fields(&document).into_iter().chain(inner) {
            assert!(is_documented(field), "`{field}` of {arguments:?} is not in docs/json-output.md");
        }
    }
}
