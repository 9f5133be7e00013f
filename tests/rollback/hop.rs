//! A hop of the small CozyStack to its next release, rolled back and undone by the real command while the platform's
//! installer and Flux's real helm-controller run the whole time.

use rig::installer::Release;

use crate::harness::audit::AuditEvent;
use crate::harness::control_plane::{ControlPlane, Options};
use crate::harness::snapback::Snapback;

/// Number and status of each of Helm's releases, as their secrets say.
fn releases(cluster: &ControlPlane) -> Vec<String> {
    let mut names: Vec<String> = cluster
        .list("secrets")
        .iter()
        .filter(|secret| secret["type"] == "helm.sh/release.v1")
        .map(|secret| format!("{} {}", secret["metadata"]["name"], secret["metadata"]["labels"]["status"]))
        .collect();
    names.sort();
    names
}

/// Releases that Helm made by itself since so many requests were in the audit log: it writes each into a secret.
fn releases_made(cluster: &ControlPlane, since: usize) -> Vec<String> {
    let events = cluster.audit_log();
    let made = |event: &&AuditEvent| {
        let path = event.uri.split('?').next().unwrap_or_default();
        event.is_write() && event.verb == "create" && !event.is_ours() && path.ends_with("/secrets")
    };
    events.iter().skip(since).filter(made).map(|event| format!("{} by {}", event.uri, event.agent)).collect()
}

#[test]
fn a_hop_of_a_platform_that_fights_is_rolled_back_and_undone() {
    let cluster = ControlPlane::start(&Options::default().fighting());
    let snapback = Snapback::new().with_kubeconfig(&cluster.kubeconfig());
    snapback.ok(&["init"]);
    snapback.ok(&["backup", "--label", "pre-upgrade"]);
    let before = releases(&cluster);
    cluster.upgrade_to("0.37.2");
    let after = releases(&cluster);
    assert_ne!(before, after);

    // Tenants' objects of a type would lose a field with its older version: that is said apart.
    let run = snapback.run(&["rollback", "--yes"]);
    assert_eq!(run.code, 4, "{}", run.all());
    assert!(run.stderr.contains("3 objects outside of what is restored would lose fields"), "{}", run.stderr);
    assert!(run.stderr.contains("`snapback rollback 1 --lose-fields --yes` accepts that"), "{}", run.stderr);
    for line in [
        "| deployment cozy-system/cozystack: held still meanwhile, applies the platform every minute",
        "| deployment cozy-fluxcd/helm-controller: held still meanwhile, upgrades and rolls back releases",
        "! secrets cozy-cilium/sh.helm.release.v1.cilium.v2 is deleted",
        "plans.backups.cozystack.io tenant-foo/cache is outside of what is restored and loses what v1alpha1 does not know",
        "outside the scope: ",
    ] {
        assert!(run.stdout.contains(line), "{line}\n{}", run.stdout);
    }

    let begun = cluster.audit_log().len();
    let back = snapback.json(&["rollback", "--yes", "--lose-fields", "--no-wait"]);
    assert_eq!(back["outcome"], serde_json::json!({"done": {}}), "{back:#}");
    assert_eq!(back["proof"]["holds"], true, "{back:#}");
    // The older platform runs, all of it is ready, and Flux did nothing: no release has a newer number.
    cluster.wait_until_landed(Release::V0_36_2);
    assert_eq!(releases(&cluster), before);
    assert_eq!(releases_made(&cluster, begun), Vec::<String>::new());
    let again = snapback.run(&["rollback", "--dry-run"]);
    assert!(again.stdout.ends_with("nothing to do: everything in this scope is as it was\n"), "{}", again.all());

    // What is left to see is what was left on purpose: pods and the like are counted, not listed.
    let diff = snapback.run(&["diff", "1", "live"]).stdout;
    assert!(diff.contains(" that a restore never touches ("), "{diff}");
    for kind in ["Pod", "ReplicaSet", "Endpoints", "EndpointSlice"] {
        assert!(!diff.contains(&format!("+ {kind} ")) && !diff.contains(&format!("- {kind} ")), "{kind}\n{diff}");
    }

    let undone = snapback.json(&["undo", "--yes", "--no-wait"]);
    assert_eq!(undone["outcome"], serde_json::json!({"done": {}}), "{undone:#}");
    cluster.wait_until_landed(Release::V0_37_2);
    assert_eq!(releases(&cluster), after);
    assert_eq!(snapback.json(&["verify"])["sound"], true);

    // With nothing held still they do work while it writes: that they did not above is the quiesce's doing.
    let begun = cluster.audit_log().len();
    snapback.run(&["restore", "1", "--yes", "--lose-fields", "--allow-helm-upgrade", "--no-wait"]);
    assert!(!releases_made(&cluster, begun).is_empty());
}
