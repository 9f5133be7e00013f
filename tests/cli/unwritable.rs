//! A repository that cannot be written or goes away: what is there stays readable, nothing is said to be done.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use insta::assert_snapshot;

use crate::harness::control_plane::ControlPlane;
use crate::harness::snapback::{Run, Snapback};

/// Runs snapback as one whom permissions stop: tests often run as root, which they do not.
fn without_privileges(snapback: &Snapback, arguments: &[&str]) -> Run {
    let plain = snapback.command(arguments);
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return snapback.run(arguments);
    }
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-all", "--inh-caps=-all", "--"]).arg(plain.get_program()).args(plain.get_args());
    command.env_clear().current_dir(snapback.home());
    for (name, value) in plain.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    snapback.take(command.output().unwrap())
}

/// Sets the mode of every folder below and including this one.
fn set_folder_modes(folder: &Path, mode: u32) {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            set_folder_modes(&path, mode);
        }
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_repository_that_cannot_be_written_is_still_read() {
    let (cluster, _turn) = ControlPlane::shared_in_turn();
    cluster.apply(
        "{apiVersion: v1, kind: Namespace, metadata: {name: cli-sealed}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: cli-sealed}, data: {mode: production}}",
    );
    let snapback = Snapback::new().with_kubeconfig(&cluster.kubeconfig());
    snapback.ok(&["init"]);
    snapback.ok(&["backup"]);
    cluster.kubectl(&["patch", "cm", "a", "-n", "cli-sealed", "--type=merge", "-p", r#"{"data":{"mode":"test"}}"#]);
    set_folder_modes(&snapback.repository(), 0o500);
    let part = ["--only", "cm/cli-sealed/a"];
    for arguments in [
        &["snapshots"][..],
        &["show", "latest:cm/cli-sealed/a"],
        &["ls", "1:cm/cli-sealed"],
        &[&["diff", "1", "live"], &part[..]].concat(),
        &["history", "cm/cli-sealed/a"],
        &["verify"],
        &[&["restore", "1", "--dry-run"], &part[..]].concat(),
    ] {
        let run = without_privileges(&snapback, arguments);
        assert_eq!(run.code, 0, "{arguments:?}: {}", run.all());
    }
    // A restore needs a way back: without one nothing is changed.
    for arguments in [&["backup", "--quiet"][..], &[&["restore", "1", "--yes", "--quiet"], &part[..]].concat()] {
        let run = without_privileges(&snapback, arguments);
        let hint = "hint: this user may not read or write the repository: run as the user that it belongs to, or copy it to where this one may write\n";
        assert!(run.code == 1 && run.stderr.starts_with("error: cannot make a spool file\n"), "{}", run.all());
        assert!(run.stderr.contains("Permission denied") && run.stderr.ends_with(hint), "{}", run.all());
    }
    assert_eq!(cluster.kubectl(&["get", "cm", "a", "-n", "cli-sealed", "-o", "jsonpath={.data.mode}"]), "test");

    // Not even readable.
    set_folder_modes(&snapback.repository(), 0o000);
    assert_snapshot!(without_privileges(&snapback, &["snapshots"]).all(), @r"
    exit 1
    --- stdout
    --- stderr
    error: cannot read `repo.json`
    caused by: Permission denied (os error 13)
    hint: this user may not read or write the repository: run as the user that it belongs to, or copy it to where this one may write
    ");
    set_folder_modes(&snapback.repository(), 0o700);
    assert_eq!(snapback.json(&["snapshots"])["snapshots"].as_array().unwrap().len(), 1);
    fs::create_dir(snapback.home().join("sealed")).unwrap();
    set_folder_modes(&snapback.home().join("sealed"), 0o500);
    assert_snapshot!(without_privileges(&snapback, &["init", "--repo", "sealed/repository"]).all(), @r"
    exit 1
    --- stdout
    --- stderr
    error: cannot create `tmp`
    caused by: Permission denied (os error 13)
    hint: this user may not read or write the repository: run as the user that it belongs to, or copy it to where this one may write
    ");
}

#[test]
fn a_repository_that_goes_away_during_a_backup_is_not_called_half_written() {
    let (cluster, _turn) = ControlPlane::shared_in_turn();
    let snapback = Snapback::new().with_kubeconfig(&cluster.kubeconfig());
    snapback.ok(&["init"]);
    // The cluster is captured when etcd's turn comes.
    let config = format!("etcd: {{command: [rm, -r, {}]}}\n", snapback.repository().display());
    fs::write(snapback.home().join("snapback.yaml"), config).unwrap();
    let run = snapback.run(&["backup", "--quiet"]);
    let lines: Vec<&str> =
        run.stderr.lines().filter(|line| line.starts_with("error") || line.starts_with("hint")).collect();
    assert_eq!(run.code, 1, "{}", run.all());
    assert_snapshot!(lines.join("\n"), @r"
    error: the repository at `snapshots` went away while it was written to, and the snapshot with it
    hint: was its folder removed, or its disk unmounted? when it is back, run the command again
    hint: what lies at `snapshots` now is only what was written since, and of no use
    ");
}
