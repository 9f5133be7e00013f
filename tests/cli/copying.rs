//! Snapshots in a second repository: `backup --also`, and `copy` for what did not arrive.

use std::fs;

use insta::assert_snapshot;
use serde_json::json;

use super::normal::normal;
use crate::harness::control_plane::ControlPlane;
use crate::harness::s3::{ACCESS_KEY, S3Server, SECRET_KEY};
use crate::harness::snapback::Snapback;

#[test]
fn a_backup_goes_to_two_places_and_says_aloud_when_one_of_them_did_not_get_it() {
    let (cluster, _turn) = ControlPlane::shared_in_turn();
    let mut server = S3Server::start();
    let place = format!("s3://{}/offsite", server.bucket());
    let snapback = Snapback::new()
        .with_kubeconfig(&cluster.kubeconfig())
        .with_variable("AWS_ENDPOINT_URL", &server.endpoint())
        .with_variable("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .with_variable("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        .with_variable("AWS_EC2_METADATA_DISABLED", "true");
    snapback.ok(&["init"]);
    // Nobody made it, and a backup never does.
    let missing = snapback.run(&["backup", "--quiet", "--also", &place]);
    assert_snapshot!(normal(&missing.all()), @r"
    exit 12
    --- stdout
    snapshot #1 (ID) is complete
    --- stderr
    error: snapshot #1 is not in `s3://bucket-0/offsite`: there is no repository at `s3://bucket-0/offsite`
    hint: run `snapback init --repo s3://bucket-0/offsite` to make one, or name another with --repo
    hint: it is safe in its own repository; `snapback copy 1 --to s3://bucket-0/offsite` sends it once more
    ");
    assert_eq!(missing.code, 12);
    snapback.ok(&["init", "--repo", &place]);
    let both = snapback.ok(&["backup", "--label", "pre-upgrade", "--also", &place]);
    assert!(both.stderr.contains(&format!("it is #1 in {place} too, ")), "{}", both.all());
    // Away for a while: the snapshot is safe here, and the exit code says that it is nowhere else.
    server.stop();
    let away = snapback.run(&["backup", "--also", &place]);
    assert_eq!(away.code, 12, "{}", away.all());
    let hint = format!("hint: it is safe in its own repository; `snapback copy 3 --to {place}` sends it once more\n");
    assert!(away.stdout.contains("snapshot #3 (") && away.stderr.contains(&hint), "{}", away.all());
    server.restart();

    // What is not there yet.
    let would = snapback.json(&["copy", "--to", &place, "--dry-run"]);
    let numbers: Vec<_> = would["wouldCopy"].as_array().unwrap().iter().map(|one| one["number"].clone()).collect();
    assert_eq!((numbers, &would["knownThere"]), (vec![json!(1), json!(3)], &json!(1)));
    assert_eq!(snapback.json(&["snapshots", "--repo", &place])["snapshots"].as_array().unwrap().len(), 1);
    let copied = snapback.ok(&["copy", "--to", &place]);
    assert!(
        copied.stdout.contains(&format!("2 snapshots copied to {place}, 0 B sent; 1 had been there\n")),
        "{}",
        copied.all()
    );
    let again = snapback.json(&["copy", "--to", &place]);
    assert_eq!((&again["copied"], &again["knownThere"]), (&json!([]), &json!(3)));
    // The same ids, and one whole repository.
    let ids = |arguments: &[&str]| {
        let listed = snapback.json(arguments);
        let mut ids: Vec<String> =
            listed["snapshots"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(&["snapshots"]), ids(&["snapshots", "--repo", &place]));
    assert_eq!(snapback.json(&["verify", "--repo", &place])["sound"], true);
    // And back again, from where nothing is lost.
    snapback.ok(&["init", "--repo", "third"]);
    snapback.ok(&["copy", "pre-upgrade", "--repo", &place, "--to", "third"]);
    assert_eq!(snapback.json(&["snapshots", "--repo", "third"])["snapshots"][0]["label"], "pre-upgrade");

    // A repository is no copy of itself.
    let itself = snapback.run(&["copy", "--to", "snapshots"]);
    assert_snapshot!(itself.all(), @r"
    exit 4
    --- stdout
    --- stderr
    error: `snapshots` is the repository that is copied from, or a copy of its files
    hint: a copy has a history of its own: make it with `snapback init --repo PLACE`, in another place
    ");
    // What cannot be read here is named, and the rest arrives.
    let pack = walkdir::WalkDir::new(snapback.repository().join("packs")).into_iter().map(Result::unwrap);
    let pack = pack.filter(|entry| entry.file_type().is_file()).map(walkdir::DirEntry::into_path).next().unwrap();
    fs::remove_file(&pack).unwrap();
    snapback.ok(&["init", "--repo", "fourth"]);
    let damaged = snapback.run(&["copy", "--to", "fourth"]);
    assert_eq!(damaged.code, 5, "{}", damaged.all());
    assert!(damaged.stderr.contains("could not be copied"), "{}", damaged.all());
}
