//! A real control plane for one test: started by the same command that people use, ended with the test whatever happens
//! to it.
//!
//! The test holds the write end of a pipe that is the supervisor's standard input. When the test returns, panics or is
//! killed, the pipe closes, and the supervisor ends every server and removes the folder.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot start is a failed test")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use super::audit::{self, AuditEvent};
use rig::certificates::Validity;
use rig::control::{Action, ask};
use rig::description::{Description, EtcdEndpoint};
use rig::layout::Layout;

/// How many control planes run at once in this test process: each keeps half a core busy.
const AT_ONCE: usize = 3;

static RUNNING: Mutex<usize> = Mutex::new(0);
static ENDED: Condvar = Condvar::new();

/// What kind of control plane a test wants. The default: etcd and the API server, freshly made.
#[derive(Debug, Clone, Default)]
pub struct Options {
    arguments: Vec<String>,
    controllers: bool,
}

impl Options {
    /// With controller manager, scheduler, kwok and its nodes: pods run, volumes bind, owners are collected.
    pub fn controllers(mut self) -> Self {
        self.controllers = true;
        self
    }

    /// A copy of a cluster that was seeded before (`empty`, ...), which starts no slower than an empty one. All copies
    /// have the same cluster identity.
    pub fn template(self, name: &str) -> Self {
        self.argument(&format!("--template={name}"))
    }

    /// With any other option of `scripts/control-plane up`, such as `--encryption`.
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// With a second API server on the same etcd.
    pub fn second_api_server(self) -> Self {
        self.argument("--second-api-server")
    }

    /// With a flag for the API server, such as `--etcd-compaction-interval=10s`.
    pub fn api_server_flag(self, flag: &str) -> Self {
        self.argument(&format!("--api-server-flag={flag}"))
    }
}

/// A running control plane. Dropping it ends it.
pub struct ControlPlane {
    supervisor: Child,
    stdin: Option<ChildStdin>,
    description: Description,
    layout: Layout,
    permit: Option<Permit>,
}

impl ControlPlane {
    /// Starts one, waiting for its turn when enough are running in this process already.
    pub fn start(options: &Options) -> Self {
        let permit = Permit::take();
        Self::start_with(options, Some(permit))
    }

    /// Starts another one for a test that already has one (waiting for a turn could wait for oneself).
    pub fn start_beside(options: &Options, _other: &Self) -> Self {
        Self::start_with(options, None)
    }

    /// The one that all tests share that only read, or that write only to namespaces of their own and look at nothing
    /// else. Without controllers. It ends with the test process.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<ControlPlane> = OnceLock::new();
        SHARED.get_or_init(|| Self::start_with(&Options::default().template("empty"), None))
    }

    /// The same for a test that changes it with `restore`, `rollback` or `undo`: one at a time, as the lease wants it.
    pub fn shared_in_turn() -> (&'static Self, MutexGuard<'static, ()>) {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        (Self::shared(), turn)
    }

    fn start_with(options: &Options, permit: Option<Permit>) -> Self {
        let folder = tempfile::Builder::new().prefix("snapback-test-").tempdir().unwrap().keep();
        let mut command = rig_command();
        command.arg("up").arg(&folder).arg("--until-stdin-closes").args(&options.arguments);
        if !options.controllers {
            command.arg("--bare");
        }
        let mut supervisor = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let stdin = supervisor.stdin.take();
        let mut line = String::new();
        BufReader::new(supervisor.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line.is_empty() {
            panic!("the control plane did not come up: {}", supervisor.wait().unwrap());
        }
        let description = serde_json::from_str(&line).expect("the supervisor says what runs");
        Self { supervisor, stdin, description, layout: Layout::new(folder), permit }
    }

    /// The cluster's folder.
    pub fn folder(&self) -> &Path {
        self.layout.folder()
    }

    /// The process that owns the servers.
    pub fn supervisor_pid(&self) -> u32 {
        self.supervisor.id()
    }

    /// A kubeconfig of group system:masters.
    pub fn kubeconfig(&self) -> PathBuf {
        self.layout.kubeconfig()
    }

    /// The same for the second API server.
    pub fn second_kubeconfig(&self) -> PathBuf {
        self.layout.second_kubeconfig()
    }

    /// The API server's URL.
    pub fn server(&self) -> &str {
        &self.description.api_server.url
    }

    /// etcd's URL and the files that a client of it needs.
    pub fn etcd(&self) -> &EtcdEndpoint {
        &self.description.etcd
    }

    /// A program of the toolchain, such as `etcdutl`.
    pub fn program(&self, name: &str) -> PathBuf {
        self.description.toolchain.join(name)
    }

    /// A kubeconfig for a user without any rights of its own, in a group where one is given.
    pub fn kubeconfig_for(&self, user: &str, group: Option<&str>) -> PathBuf {
        self.write_kubeconfig(user, group, Validity::Current)
    }

    /// A kubeconfig whose client certificate has expired.
    pub fn expired_kubeconfig(&self) -> PathBuf {
        self.write_kubeconfig("expired", Some("system:masters"), Validity::Expired)
    }

    /// The administrator's kubeconfig with something changed: another user, another way to the server.
    pub fn changed_kubeconfig(&self, name: &str, change: impl FnOnce(&mut serde_json::Value)) -> PathBuf {
        let text = std::fs::read_to_string(self.kubeconfig()).unwrap();
        let mut config: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        change(&mut config);
        let path = self.new_file(&format!("kubeconfig-{name}"));
        std::fs::write(&path, config.to_string()).unwrap();
        path
    }

    fn write_kubeconfig(&self, user: &str, group: Option<&str>, validity: Validity) -> PathBuf {
        let port = self.server().rsplit_once(':').unwrap().1.parse().unwrap();
        let path = self.new_file(&format!("kubeconfig-{user}"));
        let certificate = rig::certificates::issue_client(&self.layout, user, group, validity).unwrap();
        rig::kubeconfig::write(&self.layout, port, &certificate, &path).unwrap();
        path
    }

    /// A path that no other test of a shared cluster has.
    fn new_file(&self, name: &str) -> PathBuf {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        self.folder().join(format!("{name}-{}", NUMBER.fetch_add(1, Ordering::Relaxed)))
    }

    /// A client of group system:masters that retries nothing.
    pub async fn client(&self) -> kube::Client {
        rig::probe::client_from(self.kubeconfig()).await.unwrap()
    }

    /// What the real kubectl prints; fails the test when kubectl fails.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.kubectl_with_input(arguments, "")
    }

    /// `kubectl apply` of YAML documents.
    pub fn apply(&self, yaml: &str) {
        self.kubectl_with_input(&["apply", "--server-side", "-f", "-"], yaml);
    }

    /// The same as [`ControlPlane::kubectl`], with something on its standard input.
    pub fn kubectl_with_input(&self, arguments: &[&str], input: &str) -> String {
        let output = self.run_kubectl(arguments, input);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {arguments:?}: {}\n{errors}", output.status);
        String::from_utf8(output.stdout).unwrap()
    }

    /// What kubectl says on standard error; fails the test when kubectl succeeds.
    pub fn kubectl_error(&self, arguments: &[&str]) -> String {
        let output = self.run_kubectl(arguments, "");
        assert!(!output.status.success(), "kubectl {arguments:?} succeeded");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Whether kubectl succeeds.
    pub fn kubectl_succeeds(&self, arguments: &[&str], input: &str) -> bool {
        self.run_kubectl(arguments, input).status.success()
    }

    fn run_kubectl(&self, arguments: &[&str], input: &str) -> Output {
        let mut kubectl = Command::new(self.program("kubectl"))
            .args(arguments)
            .env("KUBECONFIG", self.kubeconfig())
            // Its discovery cache is kept by port, and ports come back.
            .env("HOME", self.folder())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        kubectl.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        kubectl.wait_with_output().unwrap()
    }

    /// What the real etcdctl prints, with a client certificate.
    pub fn etcdctl(&self, arguments: &[&str]) -> Vec<u8> {
        let etcd = self.etcd();
        let output = Command::new(self.program("etcdctl"))
            .args(arguments)
            .env("ETCDCTL_ENDPOINTS", &etcd.url)
            .env("ETCDCTL_CACERT", &etcd.ca)
            .env("ETCDCTL_CERT", &etcd.certificate)
            .env("ETCDCTL_KEY", &etcd.key)
            .output()
            .unwrap();
        assert!(output.status.success(), "etcdctl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Every request so far, in the order of their answers. Ends with one request of its own, to `/version`: the log is
    /// written as requests are answered, so what came before that one is there.
    pub fn audit_log(&self) -> Vec<AuditEvent> {
        let (kubeconfig, log) = (self.kubeconfig(), self.layout.audit_log());
        self.audit_log_twice(&kubeconfig, &log)
    }

    /// The same of the second API server.
    pub fn second_audit_log(&self) -> Vec<AuditEvent> {
        let (kubeconfig, log) = (self.second_kubeconfig(), self.layout.second_audit_log());
        self.audit_log_twice(&kubeconfig, &log)
    }

    /// The API server writes an event after its answer: one that was answered just now may come behind the mark of
    /// another request. Behind two of them, one after the other, it is there.
    fn audit_log_twice(&self, kubeconfig: &Path, log: &Path) -> Vec<AuditEvent> {
        self.audit_log_to_a_mark(kubeconfig, log);
        self.audit_log_to_a_mark(kubeconfig, log)
    }

    fn audit_log_to_a_mark(&self, kubeconfig: &Path, log: &Path) -> Vec<AuditEvent> {
        static MARK: AtomicU32 = AtomicU32::new(0);
        let mark = format!("/version?mark={}", MARK.fetch_add(1, Ordering::Relaxed));
        self.kubectl(&["--kubeconfig", kubeconfig.to_str().unwrap(), "get", "--raw", &mark]);
        audit::events_until(log, &mark)
    }

    /// What runs now.
    pub fn status(&self) -> Description {
        ask(&self.layout, Action::Status).unwrap()
    }

    /// Starts a server that does not run and waits until it answers.
    pub fn start_server(&self, server: &str) {
        ask(&self.layout, Action::Start(server.to_owned())).unwrap();
    }

    /// Ends a server in order.
    pub fn stop_server(&self, server: &str) {
        ask(&self.layout, Action::Stop(server.to_owned())).unwrap();
    }

    /// Ends a server with SIGKILL.
    pub fn kill_server(&self, server: &str) {
        ask(&self.layout, Action::Kill(server.to_owned())).unwrap();
    }

    /// Keeps a server from running, as a machine that hangs would.
    pub fn pause_server(&self, server: &str) {
        ask(&self.layout, Action::Pause(server.to_owned())).unwrap();
    }

    /// Lets a paused server run on.
    pub fn resume_server(&self, server: &str) {
        ask(&self.layout, Action::Resume(server.to_owned())).unwrap();
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        drop(self.stdin.take());
        // Waiting keeps the machine from carrying more than the permits allow.
        let _ = self.supervisor.wait();
        // Still there only when the supervisor was killed.
        let _ = std::fs::remove_dir_all(self.folder());
        drop(self.permit.take());
    }
}

/// The right to run one more control plane.
struct Permit;

impl Permit {
    fn take() -> Self {
        let mut running = lock(&RUNNING);
        while *running >= AT_ONCE {
            running = ENDED.wait(running).unwrap_or_else(PoisonError::into_inner);
        }
        *running += 1;
        Self
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        *lock(&RUNNING) -= 1;
        ENDED.notify_one();
    }
}

/// A test that panicked while it held a lock has not broken the number in it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The real `rig` command: `$SNAPBACK_RIG`, else the one beside these tests, else `scripts/control-plane`, which builds it.
pub fn rig_command() -> Command {
    static BUILT: OnceLock<()> = OnceLock::new();
    if let Some(rig) = std::env::var_os("SNAPBACK_RIG") {
        return Command::new(rig);
    }
    // Cargo builds a dependency's library for its tests and not its command, so the one there may be an old one. The
    // same call as in scripts/test: with nothing to do it takes a tenth of a second.
    if let Some(cargo) = std::env::var_os("CARGO") {
        BUILT.get_or_init(|| {
            let mut build = Command::new(cargo);
            build.args(["build", "--workspace", "--bins", "--locked", "--quiet"]);
            // What cargo tells a test about its package would make ring's build script, which looks at these, and so
            // half of the tree new.
            for (name, _) in std::env::vars_os() {
                let name_text = name.to_string_lossy();
                if name_text.starts_with("CARGO_PKG_") || name_text.starts_with("CARGO_MANIFEST_") {
                    build.env_remove(name);
                }
            }
            assert!(build.status().unwrap().success(), "the rig command does not build");
        });
    }
    let tests = std::env::current_exe().unwrap();
    let rig = tests.parent().and_then(Path::parent).unwrap().join("rig");
    if rig.exists() {
        Command::new(rig)
    } else {
        Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/control-plane"))
    }
}
