//! The throwaway control plane itself: it works as a cluster does, and nothing of it outlives its test.

use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rig::description::Description;
use rig::process::ProcessState;

use super::again;
use super::control_plane::{ControlPlane, Options, rig_command};
use super::fighting::BOUND;

/// Whether something listens on the port of a URL.
fn listens(url: &str) -> bool {
    TcpStream::connect(url.trim_start_matches("https://")).is_ok()
}

/// Waits for something that is true soon; false when it never is.
fn soon(mut look: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(60) {
        if look() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    false
}

#[test]
fn two_run_side_by_side_and_leave_nothing_behind() {
    let one = ControlPlane::start(&Options::default());
    let other = ControlPlane::start_beside(&Options::default(), &one);
    one.apply("{apiVersion: v1, kind: Namespace, metadata: {name: only-in-one}}");
    assert!(one.kubectl(&["get", "namespaces", "-o", "name"]).contains("only-in-one"));
    assert!(!other.kubectl(&["get", "namespaces", "-o", "name"]).contains("only-in-one"));

    let (folder, server, etcd) = (one.folder().to_owned(), one.server().to_owned(), one.etcd().url.clone());
    assert!(listens(&server) && listens(&etcd));
    drop(one);
    assert!(!folder.exists());
    assert!(!listens(&server) && !listens(&etcd));
    assert!(listens(other.server()), "the other one goes on");
}

#[test]
fn servers_die_with_a_supervisor_that_is_killed() {
    let control_plane = ControlPlane::start(&Options::default());
    let killed = Command::new("kill").args(["-9", &control_plane.supervisor_pid().to_string()]).status().unwrap();
    assert!(killed.success());
    assert!(soon(|| !listens(control_plane.server())), "the API server outlived its supervisor");
    assert!(soon(|| !listens(&control_plane.etcd().url)), "etcd outlived its supervisor");
}

#[test]
fn everything_ends_when_the_holder_of_the_pipe_is_killed() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("cluster");
    // In the place of a test process: it holds the pipe, and SIGKILL gives it no chance to clean up.
    let mut holder = Command::new("sleep").arg("1000").stdout(Stdio::piped()).spawn().unwrap();
    let mut supervisor = rig_command()
        .arg("up")
        .arg(&folder)
        .args(["--bare", "--until-stdin-closes"])
        .stdin(holder.stdout.take().unwrap())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(supervisor.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let description: Description = serde_json::from_str(&line).unwrap();
    assert!(listens(&description.api_server.url));

    holder.kill().unwrap();
    holder.wait().unwrap();
    assert!(supervisor.wait().unwrap().success());
    assert!(!listens(&description.api_server.url) && !listens(&description.etcd.url));
    assert!(!folder.exists());
}

#[test]
fn a_test_that_panics_leaves_no_server_behind() {
    let output = again::alone("harness::control_plane_test::panics_while_two_clusters_run");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("on purpose"), "{said}");
    let clusters: Vec<Description> =
        said.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("cluster ")?).ok()).collect();
    assert_eq!(clusters.len(), 2, "{said}");
    for cluster in clusters {
        let servers = cluster.servers.iter().filter_map(|server| match server.state {
            ProcessState::Running { pid } => Some(pid),
            _ => None,
        });
        let pids: Vec<u32> = servers.chain([cluster.supervisor.pid]).collect();
        assert_eq!(pids.len(), 3, "etcd, the API server, the supervisor");
        let gone = |pid: &u32| !Path::new(&format!("/proc/{pid}")).exists();
        assert!(soon(|| pids.iter().all(gone)), "one of {pids:?} is still there");
        assert!(soon(|| !cluster.folder.exists()), "{} is still there", cluster.folder.display());
    }
}

#[test]
#[ignore = "run by a_test_that_panics_leaves_no_server_behind"]
fn panics_while_two_clusters_run() {
    // The one is dropped while the stack unwinds, the other is a static, which nothing ever drops.
    let own = ControlPlane::start(&Options::default().template("empty"));
    for cluster in [&own, ControlPlane::shared()] {
        println!("cluster {}", serde_json::to_string(&cluster.status()).unwrap());
    }
    panic!("on purpose");
}

#[test]
fn a_folder_that_holds_something_is_left_alone() {
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("precious"), "text").unwrap();
    for command in ["up", "down"] {
        let output = rig_command().arg(command).arg(place.path()).output().unwrap();
        assert!(!output.status.success(), "{command} of somebody's folder is refused");
    }
    assert_eq!(std::fs::read_to_string(place.path().join("precious")).unwrap(), "text");
}

#[test]
fn a_failed_start_says_why_and_leaves_nothing() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("cluster");
    let output =
        rig_command().arg("up").arg(&folder).args(["--bare", "--api-server-flag=--no-such-flag"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(said.contains("kube-apiserver ended") && said.contains("no-such-flag"), "{said}");
    assert!(!folder.exists());
}

#[test]
fn an_api_service_without_a_backend_is_unavailable() {
    let control_plane = ControlPlane::start(&Options::default());
    control_plane.apply(
        "
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1.gone.example}
spec:
  group: gone.example
  version: v1
  service: {name: nobody, namespace: default}
  insecureSkipTLSVerify: true
  groupPriorityMinimum: 1000
  versionPriority: 10
",
    );
    let reason = "--for=jsonpath={.status.conditions[?(@.type=='Available')].reason}=ServiceNotFound";
    control_plane.kubectl(&["wait", reason, "apiservice/v1.gone.example", "--timeout=60s"]);
    let client_error = control_plane.kubectl_error(&["get", "--raw", "/apis/gone.example/v1"]);
    assert!(client_error.contains("ServiceUnavailable"), "{client_error}");
}

#[test]
fn the_audit_log_tells_writes_from_dry_runs() {
    let control_plane = ControlPlane::start(&Options::default());
    control_plane.kubectl(&["create", "namespace", "written"]);
    control_plane.kubectl(&["create", "namespace", "tried", "--dry-run=server"]);
    let log = control_plane.audit_log();
    let ours: Vec<_> = log
        .iter()
        .filter(|event| event.verb == "create" && event.uri.starts_with("/api/v1/namespaces?"))
        .filter(|event| event.user == "kubernetes-admin")
        .collect();
    assert_eq!(ours.len(), 2, "{ours:?}");
    assert!(ours[0].is_write() && ours[0].code == 201);
    assert!(!ours[1].is_write() && ours[1].dry_run.as_deref() == Some("All"));
}

#[test]
fn pods_run_and_volumes_bind() {
    let control_plane = ControlPlane::start(&Options::default().controllers());
    control_plane.apply(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: registry.example/web}]}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data, namespace: default}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
",
    );
    control_plane.kubectl(&["wait", "--for=jsonpath={.status.phase}=Bound", "pvc/data", "--timeout=60s"]);
    control_plane.kubectl(&["wait", "--for=condition=Available", "deployment/web", "--timeout=60s"]);
    let phases = control_plane.kubectl(&["get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].status.phase}"]);
    assert_eq!(phases, "Running Running Running");
}

#[test]
fn secrets_are_encrypted_at_rest_on_request() {
    let stored = |options: &Options| {
        let control_plane = ControlPlane::start(options);
        control_plane.kubectl(&["create", "secret", "generic", "token", "--from-literal=word=open-sesame"]);
        let read = control_plane.kubectl(&["get", "secret", "token", "-o", "jsonpath={.data.word}"]);
        assert_eq!(read, "b3Blbi1zZXNhbWU=");
        let bytes = control_plane.etcdctl(&["get", "/registry/secrets/default/token", "--print-value-only"]);
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let plain = stored(&Options::default());
    assert!(plain.contains("open-sesame"), "without encryption the test can see the secret");
    let encrypted = stored(&Options::default().argument("--encryption"));
    assert!(encrypted.starts_with("k8s:enc:aescbc:v1:") && !encrypted.contains("open-sesame"), "{encrypted}");
}

#[test]
fn a_copied_cluster_has_what_was_seeded_and_goes_on_from_there() {
    let options = Options::default().template("empty");
    let one = ControlPlane::start(&options);
    let other = ControlPlane::start_beside(&options, &one);
    let identity = ["get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}"];
    assert_eq!(one.kubectl(&identity), other.kubectl(&identity));
    assert_ne!(one.server(), other.server());
    // Made by controllers, which do not run here.
    one.kubectl(&["get", "serviceaccount", "default", "-n", "default"]);
    one.kubectl(&["create", "namespace", "only-in-one"]);
    assert!(!other.kubectl(&["get", "namespaces", "-o", "name"]).contains("only-in-one"));
}

#[test]
fn a_server_that_is_killed_comes_back_on_its_port() {
    let control_plane = ControlPlane::start(&Options::default());
    control_plane.kubectl(&["create", "namespace", "kept"]);
    for server in ["etcd", "kube-apiserver"] {
        control_plane.kill_server(server);
        control_plane.start_server(server);
    }
    assert!(control_plane.kubectl(&["get", "namespaces", "-o", "name"]).contains("namespace/kept"));
}

/// The local addresses that a process listens on, as /proc/PID/net/tcp has them (little-endian hex), IPv6 included.
fn listening_addresses(pid: u32) -> Vec<String> {
    let Ok(files) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    let targets = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
    let sockets: Vec<String> = targets.map(|target| target.display().to_string()).collect();
    let mut addresses = Vec::new();
    for table in ["tcp", "tcp6"] {
        let text = std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        for line in text.lines() {
            // sl local_address rem_address st ... inode: proc(5); state 0A is LISTEN.
            let fields: Vec<&str> = line.split_whitespace().collect();
            if let [_, local, _, "0A", _, _, _, _, _, inode, ..] = fields[..]
                && sockets.contains(&format!("socket:[{inode}]"))
            {
                addresses.push(local.to_owned());
            }
        }
    }
    addresses
}

#[test]
fn everything_listens_on_loopback_only() {
    let control_plane = ControlPlane::start(&Options::default().fighting());
    let servers = control_plane.status().servers.into_iter().filter_map(|server| match server.state {
        ProcessState::Running { pid } => Some((server.name, pid)),
        _ => None,
    });
    let bound = BOUND.map(|(_, name)| (name.to_owned(), control_plane.processes(name)[0]));
    let mut listening = 0;
    for (name, pid) in servers.chain(bound) {
        for address in listening_addresses(pid) {
            assert!(address.starts_with("0100007F:"), "{name} listens on {address}");
            listening += 1;
        }
    }
    assert!(listening >= 5, "etcd, the API server, Flux and the installer listen: the test looks at the right place");
}
