//! The real command with a configuration: every source in one snapshot, and what happens when one is missing.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::harness::control_plane::ControlPlane;
use crate::harness::proxmox::{Behaviour, Proxmox};
use crate::harness::snapback::Snapback;

fn with_repository() -> Snapback {
    let snapback = Snapback::new().with_kubeconfig(&ControlPlane::shared().kubeconfig());
    snapback.ok(&["init"]);
    snapback
}

fn configure(snapback: &Snapback, text: &str) {
    // One namespace of the cluster is enough here, and it is one that no other test writes to.
    let text = format!("capture:\n  only: [configmaps/kube-public, etcd/**, proxmox/**, files/**]\n{text}");
    std::fs::write(snapback.home().join("snapback.yaml"), text).unwrap();
}

fn etcd(required: bool) -> String {
    let etcd = ControlPlane::shared().etcd();
    let mut text = format!("etcd:\n  required: {required}\n  endpoints: ['{}']\n", etcd.url);
    for (key, path) in [("ca", &etcd.ca), ("cert", &etcd.certificate), ("key", &etcd.key)] {
        writeln!(text, "  {key}: {}", Path::new(path).display()).unwrap();
    }
    text
}

fn proxmox(stand_in: &Proxmox, required: bool) -> String {
    format!(
        "proxmox:\n  required: {required}\n  url: {}\n  token: {{file: {}}}\n  ca: {}\n",
        stand_in.url(),
        stand_in.token_file().display(),
        stand_in.ca().display()
    )
}

/// The states of the sources in the newest snapshot.
fn sources(snapback: &Snapback) -> Vec<(String, String)> {
    let document = snapback.json(&["snapshots"]);
    let newest = document["snapshots"].as_array().and_then(|snapshots| snapshots.last()).cloned().unwrap_or_default();
    let source = |source: &serde_json::Value| {
        (source["name"].as_str().unwrap().to_owned(), source["state"].as_str().unwrap().to_owned())
    };
    newest["sources"].as_array().unwrap_or_else(|| panic!("{document}")).iter().map(source).collect()
}

#[test]
fn one_backup_takes_every_source() {
    let stand_in = Proxmox::start(Behaviour::default());
    let snapback = with_repository();
    std::fs::create_dir(snapback.home().join("talos")).unwrap();
    std::fs::write(snapback.home().join("talos/controlplane.yaml"), "machine: {}\n").unwrap();
    let files = "files: [{label: talos, path: talos, required: true}]\n";
    configure(&snapback, &(etcd(true) + &proxmox(&stand_in, true) + files));
    let run = snapback.ok(&["backup", "--label", "pre-upgrade"]);
    assert!(!format!("{}{}", run.stdout, run.stderr).contains("0f9e8d7c"), "the token's secret is shown");
    let complete = |name: &str| (name.to_owned(), "complete".to_owned());
    assert_eq!(sources(&snapback), ["cluster", "etcd", "proxmox", "files/talos"].map(complete));

    for (folder, file) in [
        ("etcd", "snapshot.db"),
        ("etcd", "status.json"),
        ("proxmox", "storage.json"),
        ("files/talos", "controlplane.yaml"),
    ] {
        let listed = snapback.ok(&["ls", &format!("latest:{folder}")]).stdout;
        assert!(listed.contains(file), "{file} is not in\n{listed}");
    }
    assert!(snapback.ok(&["show", "pre-upgrade:proxmox/storage.json", "--reveal"]).stdout.contains("prune-backups"));
    snapback.ok(&["verify"]);
}

#[test]
fn a_missing_source_is_named_unless_it_is_required() {
    let stand_in = Proxmox::start(Behaviour { sys_audit: false, ..Behaviour::default() });
    let snapback = with_repository();
    configure(&snapback, &proxmox(&stand_in, false));
    let run = snapback.run(&["backup"]);
    assert_eq!(run.code, 3, "{}", run.all());
    assert!(run.stderr.contains("Permission check failed (/, Sys.Audit)"), "{}", run.all());
    assert!(sources(&snapback).contains(&("proxmox".to_owned(), "missing".to_owned())));

    configure(&snapback, &proxmox(&stand_in, true));
    let run = snapback.run(&["backup"]);
    assert_eq!(run.code, 1, "{}", run.all());
    assert!(run.stderr.contains("PVEAuditor") && !run.all().contains("0f9e8d7c"), "{}", run.all());
    assert_eq!(snapback.json(&["snapshots"])["snapshots"].as_array().unwrap().len(), 1, "nothing was committed");
}

#[test]
fn a_configuration_that_is_wrong_is_wrong_usage_with_its_line() {
    let snapback = with_repository();
    std::fs::write(snapback.home().join("snapback.yaml"), "etcd:\n  endpoint: x\n").unwrap();
    let run = snapback.run(&["backup"]);
    assert_eq!(run.code, 2, "{}", run.all());
    assert!(
        run.stderr.contains("snapback.yaml`, line 2, column 3") && run.stderr.contains("endpoint"),
        "{}",
        run.all()
    );
}

#[test]
fn ctrl_c_ends_the_etcd_command_and_leaves_no_file_of_it() {
    let snapback = with_repository();
    let script = "echo secret > \"$1\"; echo $$ > command.new; mv command.new command; sleep 3600";
    configure(&snapback, &format!("etcd:\n  command: [sh, -c, '{script}', sh, '{{}}']\n"));
    let child = snapback.command(&["backup"]).spawn().unwrap();
    let noted = snapback.home().join("command");
    while !noted.exists() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    let run = snapback.take(child.wait_with_output().unwrap());
    assert_eq!(run.code, 130, "{}", run.all());
    assert_eq!(std::fs::read_dir(snapback.repository().join("tmp")).unwrap().count(), 0);
    let pid = std::fs::read_to_string(noted).unwrap();
    let state = Command::new("ps").args(["-o", "stat=", "-p", pid.trim()]).output().unwrap().stdout;
    assert!(state.is_empty() || state.starts_with(b"Z"), "the command is still there");
}
