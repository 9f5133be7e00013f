//! Everything that needs a repository and no cluster: made, missing, half-written, newer, not one; unknown snapshots.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use insta::assert_snapshot;
use snapback::store::ContentHash;

use super::normal::normal;
use crate::harness::snapback::Snapback;

#[test]
fn init_makes_a_private_repository_and_says_that_it_is_not_encrypted() {
    let snapback = Snapback::new();
    let run = snapback.ok(&["init"]);
    let id = fs::read_to_string(snapback.repository().join("repo.json")).unwrap();
    let id: serde_json::Value = serde_json::from_str(&id).unwrap();
    let short = &id["id"].as_str().unwrap()[..8];
    assert_snapshot!(run.all().replace(short, "ID"), @r"
    exit 0
    --- stdout
    made the repository ID in snapshots
    --- stderr
    note: the repository is not encrypted: Kubernetes Secrets will lie in it in clear, in files that only you can read
    next: snapback backup --label pre-upgrade
    ");
    let mode = fs::metadata(snapback.repository()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    assert_snapshot!(snapback.run(&["init"]).all(), @r"
    exit 4
    --- stdout
    --- stderr
    error: there is a repository at `snapshots` already
    hint: run `snapback backup` to add a snapshot to it, or name another folder with --repo
    ");
    assert_snapshot!(snapback.ok(&["snapshots"]).all(), @r"
    exit 0
    --- stdout
    --- stderr
    no snapshots yet; run `snapback backup`
    ");
    let document = snapback.json(&["snapshots"]);
    assert_eq!(document["schema"], "snapback/v1");
    assert_eq!(document["snapshots"], serde_json::json!([]));
    assert_eq!(document["repository"]["id"], id["id"]);
}

#[test]
fn a_repository_is_never_made_by_another_command() {
    let snapback = Snapback::new();
    assert_snapshot!(snapback.run(&["snapshots"]).all(), @r"
    exit 1
    --- stdout
    --- stderr
    error: there is no repository at `snapshots`
    hint: run `snapback init --repo snapshots` to make one, or name another with --repo
    ");
    assert_snapshot!(snapback.run(&["backup", "--repo", "else where"]).all(), @r"
    exit 1
    --- stdout
    --- stderr
    error: there is no repository at `else where`
    hint: run `snapback init --repo 'else where'` to make one, or name another with --repo
    ");
    assert!(!snapback.repository().exists() && !snapback.home().join("else where").exists());
    let document = snapback.json(&["snapshots"]);
    assert_eq!(document["error"]["exitCode"], 1);
}

#[test]
fn a_file_is_no_repository() {
    let snapback = Snapback::new();
    fs::write(snapback.home().join("letter.txt"), "dear").unwrap();
    for (command, operation, name) in [("init", "list", "."), ("snapshots", "read", "repo.json")] {
        for place in ["letter.txt", "letter.txt/below"] {
            let run = snapback.run(&[command, "--repo", place]);
            let expected = format!(
                "error: cannot {operation} `{name}`\ncaused by: Not a directory (os error 20)\n\
                 hint: a repository is a folder: what --repo names is a file, or lies below one\n"
            );
            assert_eq!((run.code, run.stderr.as_str()), (1, expected.as_str()), "{command} {place}");
        }
    }
}

#[test]
fn what_is_no_repository_is_said_to_be_none() {
    let snapback = Snapback::new();
    fs::create_dir(snapback.repository()).unwrap();
    fs::write(snapback.repository().join("letter.txt"), "dear").unwrap();
    assert_snapshot!(snapback.run(&["snapshots"]).all(), @r"
    exit 1
    --- stdout
    --- stderr
    error: `snapshots` is not a repository: it holds `letter.txt`, but no `repo.json`
    hint: name the repository with --repo; `snapback init` makes one in an empty folder
    ");
    assert_snapshot!(snapback.run(&["init"]).all(), @r"
    exit 4
    --- stdout
    --- stderr
    error: `snapshots` is not empty: it holds `letter.txt`
    hint: give an empty or a new folder: `snapback init --repo FOLDER`
    ");
}

#[test]
fn a_half_written_repository_and_one_of_a_newer_format_are_refused() {
    let snapback = Snapback::new();
    snapback.ok(&["init"]);
    let file = snapback.repository().join("repo.json");
    let text = fs::read_to_string(&file).unwrap();
    let (above, _) = text.split_once("\"sha256\"").unwrap();
    let above = above.replacen("\"format\": 1", "\"format\": 2", 1);
    let newer = format!("{above}\"sha256\": \"{}\"}}\n", ContentHash::of(above.as_bytes()));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&file, newer).unwrap();
    assert_snapshot!(snapback.run(&["snapshots"]).all(), @r"
    exit 4
    --- stdout
    --- stderr
    error: `repo.json` has format 2, and this program reads format 1
    hint: use the snapback that wrote it, or a later one
    ");
    fs::write(&file, text).unwrap();
    fs::remove_dir_all(snapback.repository().join("log")).unwrap();
    assert_snapshot!(snapback.run(&["snapshots"]).all(), @r"
    exit 1
    --- stdout
    --- stderr
    error: the repository at `snapshots` is half-written: its log has no entry 0
    hint: if the folder `packs` in it is empty, `init` was interrupted: delete it all and run `snapback init`; else its log was lost: look for a copy
    ");
}

#[test]
fn snapshots_that_are_not_there_and_names_that_are_none() {
    let snapback = Snapback::new();
    snapback.ok(&["init"]);
    assert_snapshot!(snapback.run(&["show", "7"]).all(), @r"
    exit 1
    --- stdout
    --- stderr
    error: there is no snapshot `7`
    hint: the repository has no snapshots yet; run `snapback backup`
    ");
    assert_snapshot!(snapback.run(&["ls", "latest"]).all(), @r"
    exit 1
    --- stdout
    --- stderr
    error: the repository has no snapshots yet
    hint: run `snapback backup`
    ");
    assert_snapshot!(snapback.run(&["show", "latest~x"]).all(), @r"
    exit 2
    --- stdout
    --- stderr
    error: `latest~x` is not a snapshot: after `latest~` comes a number
    hint: `latest~1` is the one before the newest
    ");
    assert_snapshot!(snapback.run(&["show", "live"]).all(), @r"
    exit 2
    --- stdout
    --- stderr
    error: `live` is the cluster itself, not a stored snapshot
    hint: name one that `snapback snapshots` lists
    ");
    assert_snapshot!(snapback.run(&["diff", "live", "live"]).all(), @r"
    exit 2
    --- stdout
    --- stderr
    error: `live` compared with itself shows nothing
    hint: run `snapback diff latest`
    ");
}

#[test]
fn the_newest_log_entry_is_remembered_for_the_owner_only_and_its_loss_is_noticed() {
    let snapback = Snapback::new();
    snapback.ok(&["init"]);
    let heads = snapback.home().join(".local/state/snapback/heads");
    let remembered: Vec<_> = fs::read_dir(&heads).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [file] = remembered.as_slice() else { panic!("{remembered:?}") };
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(file).unwrap();
    fs::write(file, text.replacen('0', "5", 1)).unwrap();
    let file = file.file_name().unwrap().to_str().unwrap();
    // What is left can be read; nothing is added, and verify calls it damage.
    assert_snapshot!(snapback.run(&["snapshots"]).all(), @r"
    exit 0
    --- stdout
    --- stderr
    warning: log entry 5 is not the one that this machine saw: it is gone
    no snapshots yet; run `snapback backup`
    ");
    assert_snapshot!(snapback.run(&["backup"]).all().replace(file, "REPOSITORY"), @r"
    exit 5
    --- stdout
    --- stderr
    error: log entry 5 is not the one that this machine saw: it is gone
    hint: run `snapback verify`, and look for a copy of the repository that has the entry
    hint: if you know why it is gone: `rm HOME/.local/state/snapback/heads/REPOSITORY` makes this machine forget it
    ");
    assert_snapshot!(normal(&snapback.run(&["verify"]).all()), @r"
    exit 5
    --- stdout
    damaged log/00000000000000000005.json: log entry 5 is not the one that this machine saw: it is gone
      costs #5
    1 file damaged: checked every byte, object and reference of 4 files and 0 snapshots (N B read)
    --- stderr
    ");
    let document = snapback.json(&["verify", "--level", "names"]);
    assert_eq!((&document["sound"], &document["remembered"]["number"]), (&false.into(), &5.into()));
}

#[test]
fn a_damaged_file_is_named_with_what_it_costs() {
    let snapback = Snapback::new();
    snapback.ok(&["init"]);
    let file = snapback.repository().join("restore.sh");
    let mut bytes = fs::read(&file).unwrap();
    let last = bytes.len() - 2;
    bytes[last] ^= 1;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&file, &bytes).unwrap();
    assert_snapshot!(normal(&snapback.run(&["verify"]).all()), @r"
    exit 5
    --- stdout
    damaged restore.sh: its SHA-256 is HASH, and log entry 0 says HASH
      costs no snapshot anything
    1 file damaged: checked every byte, object and reference of 4 files and 0 snapshots (N B read)
    --- stderr
    ");
    let file = snapback.repository().join("repo.json");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&file, "{}").unwrap();
    assert_snapshot!(normal(&snapback.run(&["verify", "--quiet"]).all()), @r"
    exit 5
    --- stdout
    damaged repo.json: its last line is not a SHA-256; its SHA-256 is HASH, and log entry 0 says HASH
      costs no snapshot anything
    damaged restore.sh: its SHA-256 is HASH, and log entry 0 says HASH
      costs no snapshot anything
    2 files damaged: checked every byte, object and reference of 4 files and 0 snapshots (N B read)
    --- stderr
    ");
}
