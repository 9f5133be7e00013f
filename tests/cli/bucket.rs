//! The main job with the repository in a bucket, and every way in which a bucket cannot be had.

use std::fs;

use insta::assert_snapshot;

use crate::harness::control_plane::ControlPlane;
use crate::harness::s3::{ACCESS_KEY, S3Server, SECRET_KEY};
use crate::harness::snapback::{Run, Snapback};

/// With what every AWS tool reads, and never this machine's own.
fn with_bucket(server: &S3Server, place: &str) -> Snapback {
    Snapback::new()
        .with_variable("SNAPBACK_REPOSITORY", place)
        .with_variable("AWS_ENDPOINT_URL", &server.endpoint())
        .with_variable("AWS_EC2_METADATA_DISABLED", "true")
        .hiding(server.endpoint(), "ENDPOINT")
}

fn with_keys(snapback: Snapback, secret: &str) -> Snapback {
    snapback.with_variable("AWS_ACCESS_KEY_ID", ACCESS_KEY).with_variable("AWS_SECRET_ACCESS_KEY", secret)
}

#[test]
fn the_main_job_is_done_in_a_bucket_as_in_a_folder() {
    let (cluster, _turn) = ControlPlane::shared_in_turn();
    let server = S3Server::start();
    let place = format!("s3://{}/clusters/prod", server.bucket());
    let snapback = with_keys(with_bucket(&server, &place), SECRET_KEY).with_kubeconfig(&cluster.kubeconfig());
    let mut said: Vec<Run> = Vec::new();
    let mut ok = |arguments: &[&str]| {
        let run = snapback.ok(arguments);
        said.push(run.clone());
        run
    };
    cluster.apply(
        "{apiVersion: v1, kind: Namespace, metadata: {name: cli-bucket}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: cli-bucket}, data: {mode: production}}",
    );
    assert!(ok(&["init", "-vv"]).stdout.contains(&format!("in {place}\n")));
    ok(&["backup", "--label", "pre-upgrade", "-vv"]);
    // Nothing of it lies on this machine any more.
    assert_eq!(fs::read_dir(snapback.home().join(".local/state/snapback/spool/s3")).unwrap().count(), 0);
    assert!(!snapback.repository().exists());
    // What did not change adds one file.
    let files = || {
        walkdir::WalkDir::new(server.folder("bucket-0"))
            .into_iter()
            .filter(|entry| entry.as_ref().unwrap().file_type().is_file())
            .count()
    };
    let before = files();
    ok(&["backup"]);
    assert_eq!(files(), before + 1);

    cluster.kubectl(&["patch", "cm", "a", "-n", "cli-bucket", "--type=merge", "-p", r#"{"data":{"mode":"test"}}"#]);
    let mode = || cluster.kubectl(&["get", "cm", "a", "-n", "cli-bucket", "-o", "jsonpath={.data.mode}"]);
    let part = ["--only", "cm/cli-bucket/a"];
    assert!(ok(&[&["diff", "pre-upgrade", "live"], &part[..]].concat()).stdout.contains("mode"));
    ok(&[&["restore", "pre-upgrade", "--yes", "--no-wait"], &part[..]].concat());
    assert_eq!(mode(), "production");
    ok(&["undo", "--yes", "--no-wait"]);
    assert_eq!(mode(), "test");
    ok(&["history", "cm/cli-bucket/a"]);
    ok(&["verify"]);

    // Whoever has the files and no snapback at all.
    let copy = server.folder("bucket-0").join("clusters/prod");
    let out = snapback.home().join("out");
    let rescued = std::process::Command::new("sh").arg(copy.join("restore.sh")).arg("1").arg(&out).output().unwrap();
    assert!(rescued.status.success(), "{rescued:?}");
    let map = fs::read_to_string(out.join("cluster/core/configmaps/cli-bucket/a.json")).unwrap();
    assert!(map.contains("production"));

    // A byte that is not what it was.
    let pack = walkdir::WalkDir::new(copy.join("packs"))
        .into_iter()
        .map(Result::unwrap)
        .find(|entry| entry.file_type().is_file());
    let pack = pack.unwrap().into_path();
    let mut bytes = fs::read(&pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&pack, bytes).unwrap();
    let damaged = snapback.run(&["verify"]);
    assert_eq!(damaged.code, 5, "{}", damaged.all());
    said.push(damaged);
    for run in said {
        assert!(!run.all().contains(SECRET_KEY), "{}", run.all());
    }
}

#[test]
fn a_bucket_that_cannot_be_had_says_why_and_what_to_do() {
    let mut server = S3Server::start();
    let place = format!("s3://{}", server.bucket());
    let snapshots = |snapback: Snapback| snapback.run(&["snapshots"]).all();
    assert_snapshot!(snapshots(with_keys(with_bucket(&server, &place), SECRET_KEY)), @r"
    exit 1
    --- stdout
    --- stderr
    error: there is no repository at `s3://bucket-0`
    hint: run `snapback init --repo s3://bucket-0` to make one, or name another with --repo
    ");
    assert_snapshot!(snapshots(with_keys(with_bucket(&server, &place), "wrong")), @r"
    exit 1
    --- stdout
    --- stderr
    error: cannot read `repo.json`: the server answers 403 SignatureDoesNotMatch: The request signature we calculated does not match the signature you provided. Check your key and signing method.
    hint: these are not the keys of this server: are AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the profile, or `s3` in the configuration meant for another one?
    ");
    assert_snapshot!(snapshots(with_bucket(&server, &place)), @r"
    exit 1
    --- stdout
    --- stderr
    error: cannot read `repo.json`: there are no credentials for the bucket
    caused by: other: the credential provider was not enabled: no credentials found in chain. Attempted: Environment: the credential provider was not enabled: environment variable not set; Profile: the credential provider was not enabled; WebIdentityToken: the credential provider was not enabled: $AWS_WEB_IDENTITY_TOKEN_FILE was not set; EcsContainer: the credential provider was not enabled: ECS provider not configured; Ec2InstanceMetadata: the credential provider was not enabled: IMDS disabled by AWS_EC2_METADATA_DISABLED env var set to `true`
    hint: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, or name keys under `s3` in the configuration (docs/s3.md)
    ");
    assert_snapshot!(snapshots(with_keys(with_bucket(&server, "s3://another"), SECRET_KEY)), @r"
    exit 1
    --- stdout
    --- stderr
    error: cannot read `repo.json`: the server answers 404 NoSuchBucket: The specified bucket does not exist.
    hint: snapback makes no buckets: make it first, or name another one with --repo
    ");
    assert_snapshot!(snapshots(with_keys(with_bucket(&server, "s3://NoBucket/a"), SECRET_KEY)), @r"
    exit 2
    --- stdout
    --- stderr
    error: `s3://NoBucket/a` names no bucket: after `s3://` come 3 to 63 small letters, digits, `.` and `-`
    hint: a bucket is named as `s3://BUCKET/PREFIX`
    ");
    server.stop();
    let gone = with_keys(with_bucket(&server, &place), SECRET_KEY);
    assert_snapshot!(snapshots(gone), @r"
    exit 1
    --- stdout
    --- stderr
    error: cannot read `repo.json`: the server does not answer
    caused by: io error: client error (Connect): tcp connect error: Connection refused (os error 111)
    hint: is it the right server, and is it up? AWS_ENDPOINT_URL or `s3.endpoint` in the configuration names it
    ");
}

#[test]
fn a_configuration_names_keys_and_server() {
    let server = S3Server::start();
    let snapback = Snapback::new();
    let place = format!("s3://{}/a", server.bucket());
    fs::write(snapback.home().join("secret"), SECRET_KEY).unwrap();
    let write = |keys: &str| {
        let endpoint = server.endpoint();
        let config = format!("repository: {place}\ns3:\n  endpoint: {endpoint}\n  region: us-east-1\n{keys}");
        fs::write(snapback.home().join("snapback.yaml"), config).unwrap();
    };
    fs::write(snapback.home().join("key"), ACCESS_KEY).unwrap();
    write("  access_key: {file: key}\n  secret_key: {file: secret}\n");
    snapback.ok(&["init"]);
    assert_eq!(snapback.json(&["snapshots"])["repository"]["place"], place);
    write("  access_key: {file: key}\n");
    assert_snapshot!(snapback.run(&["snapshots"]).all(), @r"
    exit 2
    --- stdout
    --- stderr
    error: `s3.access_key` and `s3.secret_key` in the configuration belong together: name both or none
    ");
    write(&format!("  access_key: {{file: key}}\n  secret_key: {SECRET_KEY}\n"));
    let refused = snapback.run(&["snapshots"]);
    assert!(refused.code == 2 && !refused.all().contains(SECRET_KEY), "{}", refused.all());
}
