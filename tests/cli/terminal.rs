//! On a terminal: the question before a restore, colours, and no colours where they are not wanted. The terminal is
//! util-linux's `script`.

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use crate::harness::control_plane::ControlPlane;
use crate::harness::snapback::Snapback;

/// Runs a command on a terminal and types an answer.
pub(super) fn on_a_terminal(
    snapback: &Snapback,
    arguments: &str,
    variables: &[(&str, &str)],
    typed: &str,
) -> (i32, String) {
    let mut child = started_on_a_terminal(snapback, arguments, variables);
    child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

fn started_on_a_terminal(snapback: &Snapback, arguments: &str, variables: &[(&str, &str)]) -> Child {
    let line = format!("{} {arguments}", env!("CARGO_BIN_EXE_snapback"));
    let plain = snapback.command::<&str>(&[]);
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]).env_clear();
    for (name, value) in plain.get_envs() {
        script.env(name, value.unwrap_or_default());
    }
    script.env("TERM", "xterm").envs(variables.iter().copied()).current_dir(snapback.home());
    script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

#[test]
fn what_would_steer_a_terminal_is_spelled_out_on_one_and_left_alone_in_a_pipe() {
    let (cluster, _turn) = ControlPlane::shared_in_turn();
    cluster.kubectl(&["create", "namespace", "cli-steering"]);
    cluster.kubectl_with_input(
        &["create", "-f", "-"],
        r#"{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: cli-steering}, data: {text: "one\n\u202etwo \x7f\x1b[2J\n"}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: plain, namespace: cli-steering}, data: {text: "one\ntwo\n"}}"#,
    );
    let snapback = Snapback::new().with_kubeconfig(&cluster.kubeconfig());
    snapback.ok(&["init"]);
    snapback.ok(&["backup", "--only", "cm/cli-steering"]);
    let text = "one\n\u{202e}two \u{7f}\u{1b}[2J\n";
    let steers = |text: &str| text.contains(['\u{202e}', '\u{7f}']) || text.contains("\u{1b}[2J");
    for (arguments, data) in
        [("show 1:cm/cli-steering/a", "/data/text"), ("show 1:cm/cli-steering/a --output json", "/object/data/text")]
    {
        let (code, shown) = on_a_terminal(&snapback, arguments, &[], "");
        assert!(code == 0 && !steers(&shown), "{shown:?}");
        let json = shown.split_once('{').map(|(_, rest)| format!("{{{rest}")).unwrap();
        let document: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(document.pointer(data).unwrap(), text);
    }
    let (_, plain) = on_a_terminal(&snapback, "show 1:cm/cli-steering/plain", &[], "");
    assert!(plain.contains("  text: |\r\n    one\r\n    two\r\n"), "{plain:?}");
    // In a pipe everything is as it is.
    assert!(steers(&snapback.ok(&["show", "1:cm/cli-steering/a", "--output", "json"]).stdout));
    let yaml = snapback.ok(&["show", "1:cm/cli-steering/a"]).stdout;
    assert_eq!(serde_saphyr::from_str::<serde_json::Value>(&yaml).unwrap()["data"]["text"], text);
}

#[test]
fn a_restore_asks_once_and_only_a_yes_is_a_yes() {
    let (cluster, _turn) = ControlPlane::shared_in_turn();
    cluster.apply(
        "{apiVersion: v1, kind: Namespace, metadata: {name: cli-terminal}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: cli-terminal}, data: {mode: production}}",
    );
    let snapback = Snapback::new().with_kubeconfig(&cluster.kubeconfig());
    snapback.ok(&["init"]);
    snapback.ok(&["backup"]);
    let mode = || cluster.kubectl(&["get", "cm", "a", "-n", "cli-terminal", "-o", "jsonpath={.data.mode}"]);
    cluster.kubectl(&["patch", "cm", "a", "-n", "cli-terminal", "--type=merge", "-p", r#"{"data":{"mode":"test"}}"#]);

    let restore = "restore 1 --only cm/cli-terminal";
    for answer in ["n\n", "\n", "perhaps\n"] {
        let (code, text) = on_a_terminal(&snapback, restore, &[], answer);
        assert_eq!(code, 4, "{text}");
        assert!(text.contains("[y/N]") && text.contains("that was not a yes; nothing was changed"), "{text}");
    }
    assert_eq!(mode(), "test");
    assert_eq!(snapback.json(&["snapshots"])["snapshots"].as_array().unwrap().len(), 1);

    let (code, text) = on_a_terminal(&snapback, restore, &[], "y\n");
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("\u{1b}[32mproven: no unexplained difference"), "{text}");
    assert_eq!(mode(), "production");
    assert_eq!(snapback.json(&["snapshots"])["snapshots"][1]["label"], "before-restore");

    let (_, coloured) = on_a_terminal(&snapback, "verify", &[], "");
    assert!(coloured.contains("\u{1b}[32mno damage\u{1b}[0m"), "{coloured}");
    let (_, plain) = on_a_terminal(&snapback, "verify", &[("NO_COLOR", "1")], "");
    assert!(!plain.contains("\u{1b}[32m") && plain.contains("no damage"), "{plain}");
}

#[test]
fn a_plan_that_is_not_the_one_that_was_read_changes_nothing() {
    let (cluster, _turn) = ControlPlane::shared_in_turn();
    cluster.apply(
        "{apiVersion: v1, kind: Namespace, metadata: {name: cli-moved}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: cli-moved}, data: {mode: production}}",
    );
    let snapback = Snapback::new().with_kubeconfig(&cluster.kubeconfig());
    snapback.ok(&["init"]);
    snapback.ok(&["backup"]);
    cluster.kubectl(&["patch", "cm", "a", "-n", "cli-moved", "--type=merge", "-p", r#"{"data":{"mode":"test"}}"#]);
    let restore = "restore 1 --only cm/cli-moved/a --only cm/cli-moved/b";
    let mut child = started_on_a_terminal(&snapback, restore, &[]);
    let mut shown = Vec::new();
    let mut stdout = child.stdout.take().unwrap();
    while !shown.ends_with(b"[y/N] ") {
        let mut byte = [0];
        assert_eq!(stdout.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&shown));
        shown.extend(byte);
    }
    // While the plan is read, the cluster goes on.
    cluster.kubectl(&["create", "configmap", "b", "-n", "cli-moved"]);
    child.stdin.take().unwrap().write_all(b"y\n").unwrap();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(10), "{rest}");
    assert!(
        rest.contains("the cluster moved while you were reading the plan of the restore; nothing was changed"),
        "{rest}"
    );
    assert!(rest.contains(&format!("run `snapback {restore}` again")), "{rest}");
    assert_eq!(cluster.kubectl(&["get", "cm", "-n", "cli-moved", "a", "-o", "jsonpath={.data.mode}"]), "test");
    cluster.kubectl(&["get", "cm", "-n", "cli-moved", "b"]);
}
