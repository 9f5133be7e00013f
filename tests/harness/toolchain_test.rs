//! `scripts/toolchain` with a compiler that only notes what it is asked: the real one takes minutes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on is a failed test")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Notes what it builds in `$NOTES`, and fails at the program that `$NOTES.fail` names. Every module lies at one place,
/// which holds whatever crds.txt looks for.
const GO: &str = r#"#!/bin/sh
set -e
case $1 in
list) case "$*" in *' -m '*) echo "$MODULES" ;; *) echo module v0 ;; esac ;;
mod) printf '{\n\t"Dir": "%s"\n}\n' "$MODULES" ;;
build)
    while [ "$1" != -o ]; do shift; done
    if [ -e "$NOTES.fail" ] && [ "$3" = "$(cat "$NOTES.fail")" ]; then exit 1; fi
    echo "$3" >>"$NOTES"
    echo built >"$2"
    chmod 755 "$2" ;;
*) exit 2 ;;
esac
"#;
const SCHEDULER: &str = "k8s.io/kubernetes/cmd/kube-scheduler";

struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        let bench = Self(tempfile::tempdir().unwrap());
        bench.program("bin/go", GO);
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/toolchain.d");
        for line in fs::read_to_string(scripts.join("crds.txt")).unwrap().lines().filter(|line| !line.starts_with('#'))
        {
            for glob in line.split(' ').skip(2) {
                let file = bench.path("modules").join(glob.replace('*', "x"));
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, "kind: CustomResourceDefinition\n").unwrap();
            }
        }
        fs::create_dir_all(bench.path("modules/kustomize/stage")).unwrap();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn program(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn run(&self, arguments: &[&str], assets: Option<&Path>) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/toolchain");
        let path = std::env::var("PATH").unwrap();
        let mut command = Command::new(script);
        command
            .args(arguments)
            .env("PATH", format!("{}:{path}", self.path("bin").display()))
            .env("SNAPBACK_CACHE", self.path("cache"))
            .env("MODULES", self.path("modules"))
            .env("NOTES", self.path("notes"))
            .env_remove("KUBEBUILDER_ASSETS");
        if let Some(assets) = assets {
            command.env("KUBEBUILDER_ASSETS", assets);
        }
        command.output().unwrap()
    }

    /// Runs it to a good end: the folder, and what it built this time.
    fn built(&self, assets: Option<&Path>) -> (PathBuf, Vec<String>) {
        let output = self.run(&[], assets);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let folder = PathBuf::from(String::from_utf8(output.stdout).unwrap().lines().last().unwrap());
        (folder, self.notes())
    }

    /// What was built since the last look.
    fn notes(&self) -> Vec<String> {
        let notes = fs::read_to_string(self.path("notes")).unwrap_or_default();
        let _ = fs::remove_file(self.path("notes"));
        notes.lines().map(|package| package.rsplit('/').find(|part| *part != "v3").unwrap().to_owned()).collect()
    }
}

#[test]
fn the_toolchain_takes_what_kubebuilder_has_and_builds_nothing_twice() {
    let bench = Bench::new();
    // What `setup-envtest` installs.
    let assets = bench.path("assets");
    for program in ["etcd", "kube-apiserver", "kubectl"] {
        bench.program(&format!("assets/{program}"), "#!/bin/sh\necho theirs\n");
    }
    // Cut off in the middle.
    fs::write(bench.path("notes.fail"), SCHEDULER).unwrap();
    assert!(!bench.run(&[], Some(&assets)).status.success());
    assert_eq!(bench.notes(), ["kube-controller-manager"]);
    assert!(!bench.run(&["--path"], Some(&assets)).status.success(), "it is not complete");

    fs::remove_file(bench.path("notes.fail")).unwrap();
    let (folder, built) = bench.built(Some(&assets));
    assert_eq!(built, ["kube-scheduler", "etcdctl", "etcdutl", "kwok", "helm", "helm-controller", "versitygw"]);
    assert!(folder.starts_with(bench.path("cache")));
    for (program, text) in [("etcd", "theirs"), ("kube-apiserver", "theirs"), ("kubectl", "theirs"), ("kwok", "built")]
    {
        assert!(fs::read_to_string(folder.join(program)).unwrap().contains(text), "{program}");
    }
    let path = bench.run(&["--path"], Some(&assets));
    assert!(path.status.success());
    assert_eq!(String::from_utf8(path.stdout).unwrap().trim(), folder.to_str().unwrap());
    assert_eq!(bench.built(Some(&assets)), (folder.clone(), Vec::new()));

    // Without them the three are built, into a folder of its own: the one before still means the same.
    let (ours, built) = bench.built(None);
    assert_eq!(built, ["server", "kube-apiserver", "kubectl"]);
    assert_ne!(ours, folder);
    assert!(fs::read_to_string(ours.join("etcd")).unwrap().contains("built"));
    assert!(fs::read_to_string(folder.join("etcd")).unwrap().contains("theirs"));
}
