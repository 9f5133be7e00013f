//! What a person is told when the cluster is not there, is another one, or does not let them in.

use std::fs;

use insta::assert_snapshot;

use crate::harness::control_plane::ControlPlane;
use crate::harness::snapback::Snapback;

const NOWHERE: &str = "\
apiVersion: v1
kind: Config
current-context: nowhere
clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]
users: [{name: u, user: {}}]
contexts: [{name: nowhere, context: {cluster: c, user: u}}, {name: broken, context: {cluster: gone, user: u}}]
";

#[test]
fn without_a_cluster_a_backup_says_what_is_wrong_and_commits_nothing() {
    let snapback = Snapback::new();
    snapback.ok(&["init"]);
    assert_snapshot!(snapback.run(&["backup"]).all(), @r"
    exit 1
    --- stdout
    --- stderr
    error: there is no kubeconfig: HOME/.kube/config
    hint: give one with --kubeconfig FILE, or set KUBECONFIG
    ");
    fs::write(snapback.home().join("nowhere.yaml"), NOWHERE).unwrap();
    assert_snapshot!(snapback.run(&["backup", "--kubeconfig", "nowhere.yaml"]).all(), @r"
    exit 1
    --- stdout
    --- stderr
    error: the API server https://127.0.0.1:1 cannot be reached: Connection refused (os error 111)
    hint: is it the right cluster? `kubectl config current-context` says which one is used; --context NAME names another
    ");
    assert_snapshot!(snapback.run(&["backup", "--kubeconfig", "nowhere.yaml", "--context", "prod"]).all(), @r"
    exit 1
    --- stdout
    --- stderr
    error: the kubeconfig has no context `prod`; it has `nowhere`, `broken`
    hint: name one of them with --context NAME
    ");
    assert_snapshot!(snapback.run(&["backup", "--kubeconfig", "nowhere.yaml", "--context", "broken"]).all(), @r"
    exit 1
    --- stdout
    --- stderr
    error: the kubeconfig `nowhere.yaml` cannot be used: it has no cluster `gone`
    ");
    assert_snapshot!(snapback.run(&["backup", "--kubeconfig", "missing.yaml"]).all(), @r"
    exit 1
    --- stdout
    --- stderr
    error: there is no kubeconfig: missing.yaml
    hint: give one with --kubeconfig FILE, or set KUBECONFIG
    ");
    fs::write(snapback.home().join("bad.yaml"), "clusters: [").unwrap();
    assert_snapshot!(snapback.run(&["backup", "--kubeconfig", "bad.yaml"]).all(), @r"
    exit 1
    --- stdout
    --- stderr
    error: the kubeconfig `bad.yaml` cannot be used: it is no YAML of the form of a kubeconfig
    ");
    assert_eq!(snapback.json(&["snapshots"])["snapshots"], serde_json::json!([]));
}

#[test]
fn wrong_arguments_of_a_backup_are_refused_before_anything_is_read() {
    let snapback = Snapback::new();
    snapback.ok(&["init"]);
    assert_snapshot!(snapback.run(&["backup", "--label", "12"]).all(), @r"
    exit 2
    --- stdout
    --- stderr
    error: `12` cannot be a label: a number names a snapshot already
    hint: a label is made of letters, digits, `.`, `_`, `-` and `+`, such as `pre-upgrade-0.37`
    ");
    for (label, shown, why) in [
        ("latest~2", "latest~2", "that name has a meaning already"),
        ("beef", "beef", "it looks like the beginning of an id"),
        ("a\u{202e}b", r"a\u{202e}b", "it holds characters that cannot be seen"),
    ] {
        let run = snapback.run(&["backup", "--label", label]);
        let error = format!("error: `{shown}` cannot be a label: {why}\n");
        assert!(run.code == 2 && run.stderr.starts_with(&error), "{}", run.all());
    }
    assert_snapshot!(snapback.run(&["backup", "--only", "a/b/c/d"]).all(), @r"
    exit 2
    --- stdout
    --- stderr
    error: `a/b/c/d` is no pattern: it is neither a path (these begin with cluster/, etcd/, proxmox/, files/ or state/) nor TYPE[.GROUP][/NAMESPACE[/NAME]]
    hint: a pattern is a glob on snapshot paths (`cluster/apps/**`) or TYPE[.GROUP][/NAMESPACE[/NAME]]
    ");
    assert_snapshot!(snapback.run(&["backup", "--scope", "some"]).all(), @r"
    exit 2
    --- stdout
    --- stderr
    error: invalid value 'some' for '--scope <SCOPE>'
      [possible values: everything, plan]

    For more information, try '--help'.
    ");
    assert_snapshot!(snapback.run(&["backup", "--config", "missing.yaml"]).all(), @r"
    exit 2
    --- stdout
    --- stderr
    error: cannot read the configuration `missing.yaml`
    caused by: No such file or directory (os error 2)
    ");
    fs::write(snapback.home().join("snapback.yaml"), "cluster:\n  contxt: prod\n").unwrap();
    assert_snapshot!(snapback.run(&["backup"]).all(), @r"
    exit 2
    --- stdout
    --- stderr
    error: `snapback.yaml`, line 2, column 3: unknown field `contxt`, expected one of context, kubeconfig
    ");
}

#[test]
fn someone_without_rights_and_someone_whose_certificate_expired_are_told_so() {
    let (cluster, _turn) = ControlPlane::shared_in_turn();
    let snapback = Snapback::new().hiding(cluster.server(), "SERVER");
    snapback.ok(&["init"]);
    let guest = cluster.kubeconfig_for("guest", None);
    assert_snapshot!(snapback.run(&["backup", "--kubeconfig", guest.to_str().unwrap()]).all(), @r#"
    exit 1
    --- stdout
    --- stderr
    error: GET /api/v1/namespaces/kube-system: the API server answered 403: Forbidden: namespaces "kube-system" is forbidden: User "guest" cannot get resource "namespaces" in API group "" in the namespace "kube-system"
    hint: deploy/backup-only-rbac.yaml has the permissions that a backup needs
    "#);
    let expired = cluster.expired_kubeconfig();
    let run = snapback.run(&["backup", "--kubeconfig", expired.to_str().unwrap()]);
    assert_eq!(run.code, 1, "{}", run.all());
    assert!(run.stderr.starts_with("error: the client certificate of user `throwaway` expired at "), "{}", run.stderr);
    assert!(run.stderr.contains("hint: get a new kubeconfig"), "{}", run.stderr);
    assert_eq!(snapback.json(&["snapshots"])["snapshots"], serde_json::json!([]));
}

#[test]
fn a_server_that_is_not_trusted_is_told_by_what_there_is_to_do_about_it() {
    let (cluster, _turn) = ControlPlane::shared_in_turn();
    let snapback = Snapback::new().hiding(cluster.server(), "SERVER");
    let changed = |key: &str, value: &str| {
        let text = fs::read_to_string(cluster.kubeconfig()).unwrap();
        let mut config: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        let server = &mut config["clusters"][0]["cluster"];
        if key == "certificate-authority" {
            server.as_object_mut().unwrap().remove("certificate-authority-data");
        }
        server[key] = value.into();
        let path = snapback.home().join(key);
        fs::write(&path, config.to_string()).unwrap();
        snapback.run(&["backup", "--kubeconfig", path.to_str().unwrap()])
    };
    snapback.ok(&["init"]);
    let stranger = rcgen::generate_simple_self_signed(["stranger".to_owned()]).unwrap().cert.pem();
    fs::write(snapback.home().join("ca.crt"), stranger).unwrap();
    let run = changed("certificate-authority", snapback.home().join("ca.crt").to_str().unwrap());
    assert_snapshot!(run.all(), @r"
    exit 1
    --- stdout
    --- stderr
    error: no trusted connection to SERVER: its certificate is not signed by the authority in the kubeconfig
    hint: is the kubeconfig of another cluster, or of this one before it was made anew? its certificate-authority-data must be this cluster's (on Talos: `talosctl kubeconfig`)
    ");
    assert_snapshot!(changed("tls-server-name", "cozystack.example").all(), @r#"
    exit 1
    --- stdout
    --- stderr
    error: no trusted connection to SERVER: its certificate is for another name (invalid peer certificate: certificate not valid for name "cozystack.example"; certificate is only valid for IpAddress(127.0.0.1), DnsName("localhost"), DnsName("kubernetes"), DnsName("kubernetes.default") or DnsName("kubernetes.default.svc"))
    hint: reach the server by a name that its certificate has: change `server` in the kubeconfig, or set `tls-server-name` beside it
    "#);
}

#[test]
fn types_that_may_not_be_listed_make_the_snapshot_partial_with_its_own_exit_code() {
    let (cluster, _turn) = ControlPlane::shared_in_turn();
    cluster.apply(
        "
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: cli-partial}, rules: [
  {apiGroups: ['*'], resources: ['*'], verbs: [list]},
  {apiGroups: [''], resources: [namespaces], verbs: [get]},
  {nonResourceURLs: ['*'], verbs: [get]}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: cli-partial}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cli-partial}, subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: cli-all}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: cli-few}, rules: [
  {apiGroups: [''], resources: [namespaces, configmaps], verbs: [get, list]},
  {apiGroups: [apiextensions.k8s.io], resources: [customresourcedefinitions], verbs: [list]},
  {apiGroups: [apiregistration.k8s.io], resources: [apiservices], verbs: [list]}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: cli-few}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cli-few}, subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: cli-few}]}
",
    );
    let snapback = Snapback::new();
    snapback.ok(&["init"]);
    let all = cluster.kubeconfig_for("cli-all", Some("cli-all"));
    snapback.ok(&["backup", "--kubeconfig", all.to_str().unwrap()]);
    let few = cluster.kubeconfig_for("cli-few", Some("cli-few"));
    let run = snapback.run(&["backup", "--label", "few", "--kubeconfig", few.to_str().unwrap()]);
    assert_eq!(run.code, 3, "{}", run.all());
    // A list, not one line that nobody can read.
    assert!(!run.stderr.contains("note: "), "each is said once: {}", run.stderr);
    let (_, list) = run.stderr.split_once("warning: cluster is partial, without ").unwrap();
    let lines: Vec<&str> = list.lines().skip(1).take_while(|line| line.starts_with("  ")).collect();
    assert!(lines.len() == 11 && lines[..10].iter().all(|line| line.starts_with("  cannot list ")), "{}", run.stderr);
    assert!(
        lines[10].starts_with("  and ") && lines[10].ends_with(" more; --output json has them all"),
        "{}",
        run.stderr
    );
    let shown = snapback.ok(&["show", "few"]).stdout;
    assert!(shown.contains("cluster is partial:\n") && shown.lines().all(|line| line.len() < 250), "{shown}");
    let again = snapback.json(&["backup", "--kubeconfig", few.to_str().unwrap()]);
    let unlistable = again["unlistable"].as_array().unwrap();
    assert!(unlistable.len() > 30 && unlistable.iter().any(|found| found["resource"] == "secrets"), "{again}");
    assert!(run.stdout.contains("few is partial"), "{}", run.stdout);
    let document = snapback.json(&["snapshots"]);
    assert_eq!(document["snapshots"][1]["complete"], false);
    // What could not be read is no difference, and a restore leaves it alone.
    let diff = snapback.json(&["diff", "few", "1"]);
    assert!(diff["notCompared"].as_array().unwrap().iter().any(|name| name == "secrets"), "{diff}");
    assert_eq!(diff["summary"]["removed"], 0, "{diff}");
    let all = all.to_str().unwrap();
    let plan = snapback.json(&["restore", "few", "--dry-run", "--kubeconfig", all]);
    assert!(plan["notCompared"].as_array().unwrap().iter().any(|name| name == "secrets"), "{plan}");
    let readable = ["namespaces", "configmaps", "customresourcedefinitions", "apiservices"];
    for action in plan["plan"]["actions"].as_array().unwrap() {
        // Other tests come and go in what could be read.
        let kind = action["path"].as_str().unwrap().split('/').nth(2).unwrap();
        assert!(action["action"] != "delete" || readable.contains(&kind), "{action}");
    }
}
