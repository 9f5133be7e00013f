//! Etcd snapshots that a file holds or a command makes: real files of a real etcd, damaged on purpose.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use snapback::progress::Silent;
use snapback::source::etcd::{EtcdError, EtcdSource, capture_etcd};
use snapback::store::{SourceRecord, SourceState};

use super::taken::{content, document, paths, tree, writer};
use crate::harness::control_plane::ControlPlane;

/// Long enough for a command that works on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A snapshot that the real etcdctl saved, once for all tests.
fn saved() -> &'static [u8] {
    static SAVED: OnceLock<Vec<u8>> = OnceLock::new();
    SAVED.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("snapshot.db");
        ControlPlane::shared().etcdctl(&["snapshot", "save", path.to_str().unwrap()]);
        std::fs::read(path).unwrap()
    })
}

/// A folder with the snapshot in it as `snapshot.db`, and a place for a command's file.
struct Bench {
    folder: tempfile::TempDir,
    scratch: PathBuf,
}

impl Bench {
    fn new(snapshot: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("snapshot.db"), snapshot).unwrap();
        let scratch = folder.path().join("tmp");
        std::fs::create_dir(&scratch).unwrap();
        Self { folder, scratch }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self, allow_unhashed: bool) -> EtcdSource {
        EtcdSource::File { path: self.path("snapshot.db"), allow_unhashed }
    }

    /// A shell script, to which `$0` is this folder and `$1` the path that it is given.
    fn script(&self, script: &str, takes_path: bool, timeout: Duration) -> EtcdSource {
        let mut argv =
            vec!["sh".to_owned(), "-c".to_owned(), script.to_owned(), self.folder.path().display().to_string()];
        if takes_path {
            argv.push("{}".to_owned());
        }
        EtcdSource::Command { argv, timeout }
    }

    async fn taken(&self, source: &EtcdSource) -> (SourceRecord, snapback::store::SnapshotTree) {
        let mut writer = writer();
        let record = capture_etcd(source, &self.scratch, &mut writer, &Silent).await.unwrap();
        self.is_swept();
        (record, tree(writer).await)
    }

    /// Captures and expects an error that leaves nothing behind.
    async fn refused(&self, source: &EtcdSource) -> EtcdError {
        let mut writer = writer();
        let error = capture_etcd(source, &self.scratch, &mut writer, &Silent).await.unwrap_err();
        assert!(paths(&tree(writer).await).await.is_empty());
        self.is_swept();
        error
    }

    /// No file of a command is left (I10).
    fn is_swept(&self) {
        assert_eq!(std::fs::read_dir(&self.scratch).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn a_file_is_taken_byte_for_byte_with_its_hash() {
    let bench = Bench::new(saved());
    let (record, tree) = bench.taken(&bench.file(false)).await;
    assert_eq!((record.state, record.detail.as_str()), (SourceState::Complete, ""));
    assert_eq!(content(&tree, "etcd/snapshot.db").await, saved());
    let status = document(&tree, "etcd/status.json").await;
    assert_eq!((&status["source"], &status["size"]), (&"file".into(), &saved().len().into()));
    assert_eq!(status["hash"].as_str().map(str::len), Some(64));
    assert_eq!(status.as_object().unwrap().len(), 3);
}

#[tokio::test]
async fn damaged_and_cut_files_are_refused() {
    let mut damaged = saved().to_vec();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x40;
    let bench = Bench::new(&damaged);
    assert!(matches!(bench.refused(&bench.file(true)).await, EtcdError::HashMismatch { .. }));

    let bench = Bench::new(&saved()[..saved().len() - 100]);
    assert!(matches!(bench.refused(&bench.file(true)).await, EtcdError::NotASnapshot { .. }));
    let bench = Bench::new(b"");
    assert!(matches!(bench.refused(&bench.file(true)).await, EtcdError::NotASnapshot { size: 0 }));

    let bench = Bench::new(saved());
    let folder = EtcdSource::File { path: bench.scratch.clone(), allow_unhashed: false };
    assert!(matches!(bench.refused(&folder).await, EtcdError::NotAFile { .. }));
    let missing = EtcdSource::File { path: bench.path("missing"), allow_unhashed: false };
    assert!(matches!(bench.refused(&missing).await, EtcdError::File { .. }));
}

#[tokio::test]
async fn a_copy_of_a_members_database_has_no_hash_and_is_taken_only_when_allowed() {
    let database = std::fs::read(ControlPlane::shared().folder().join("etcd/member/snap/db")).unwrap();
    let bench = Bench::new(&database);
    let error = bench.refused(&bench.file(false)).await;
    assert!(matches!(error, EtcdError::Unhashed), "{error:?}");
    assert!(error.hint().unwrap().contains("allow_unhashed"));

    let (record, tree) = bench.taken(&bench.file(true)).await;
    assert_eq!(record.state, SourceState::Complete);
    assert!(record.detail.contains("no hash"), "{}", record.detail);
    assert_eq!(content(&tree, "etcd/snapshot.db").await, database);
    assert_eq!(document(&tree, "etcd/status.json").await.get("hash"), None);
}

#[tokio::test]
async fn a_command_writes_into_a_private_folder_of_the_repository_or_to_stdout() {
    let bench = Bench::new(saved());
    let note =
        "stat -c %a \"$(dirname \"$1\")\" > \"$0/mode\"; echo \"$1\" > \"$0/where\"; cp \"$0/snapshot.db\" \"$1\"";
    let (_, tree) = bench.taken(&bench.script(note, true, PATIENCE)).await;
    assert_eq!(content(&tree, "etcd/snapshot.db").await, saved());
    assert_eq!(document(&tree, "etcd/status.json").await["source"], "command");
    assert_eq!(std::fs::read_to_string(bench.path("mode")).unwrap().trim(), "700");
    let place = std::fs::read_to_string(bench.path("where")).unwrap();
    assert!(Path::new(place.trim()).starts_with(&bench.scratch), "{place}");

    let (_, tree) = bench.taken(&bench.script("cat \"$0/snapshot.db\"", false, PATIENCE)).await;
    assert_eq!(content(&tree, "etcd/snapshot.db").await, saved());
    assert_eq!(document(&tree, "etcd/status.json").await["source"], "command");
}

#[tokio::test]
async fn the_real_etcdctl_is_such_a_command() {
    let cluster = ControlPlane::shared();
    let etcd = cluster.etcd();
    let argv = [
        cluster.program("etcdctl").display().to_string(),
        format!("--endpoints={}", etcd.url),
        format!("--cacert={}", Path::new(&etcd.ca).display()),
        format!("--cert={}", Path::new(&etcd.certificate).display()),
        format!("--key={}", Path::new(&etcd.key).display()),
        "snapshot".to_owned(),
        "save".to_owned(),
        "{}".to_owned(),
    ];
    let bench = Bench::new(b"");
    let (_, tree) = bench.taken(&EtcdSource::Command { argv: argv.into(), timeout: PATIENCE }).await;
    assert!(content(&tree, "etcd/snapshot.db").await.len() > 32);
}

#[tokio::test]
async fn a_command_that_fails_is_told_with_its_exit_code_and_the_end_of_its_stderr() {
    let bench = Bench::new(saved());
    for takes_path in [true, false] {
        let script = "cat \"$0/snapshot.db\"; yes noise | head -5000 >&2; echo 'no route to 10.0.0.1' >&2; exit 7";
        let error = bench.refused(&bench.script(script, takes_path, PATIENCE)).await;
        let EtcdError::CommandFailed { program, status, stderr } = &error else { panic!("{error:?}") };
        assert_eq!((program.as_str(), status.as_str()), ("sh", "exit status: 7"));
        assert!(stderr.ends_with("no route to 10.0.0.1") && stderr.len() < 8192, "{}", stderr.len());

        let error = bench.refused(&bench.script("echo done >&2", takes_path, PATIENCE)).await;
        assert!(matches!(&error, EtcdError::CommandWroteNothing { stderr, .. } if stderr == "done"), "{error:?}");

        // What a command left half way is no snapshot, though it says that all went well.
        let half = "head -c 100000 \"$0/snapshot.db\" > \"${1:-/dev/stdout}\"";
        let error = bench.refused(&bench.script(half, takes_path, PATIENCE)).await;
        assert!(matches!(error, EtcdError::NotASnapshot { size: 100_000 }), "{error:?}");
    }
    for argv in [vec![], vec!["/nonexistent/talosctl".to_owned(), "{}".to_owned()]] {
        let empty = argv.is_empty();
        let error = bench.refused(&EtcdSource::Command { argv, timeout: PATIENCE }).await;
        assert!(matches!((empty, &error), (true, EtcdError::NoCommand) | (false, EtcdError::CommandStart { .. })));
    }
}

#[tokio::test]
async fn a_command_that_hangs_is_killed_with_all_that_it_started() {
    let bench = Bench::new(saved());
    for (takes_path, script) in [
        (true, "sleep 3600 & echo $! > \"$0/child\"; echo 'waiting for 10.0.0.1' >&2; wait"),
        (
            false,
            "sleep 3600 & echo $! > \"$0/child\"; echo 'waiting for 10.0.0.1' >&2; head -c 2048 \"$0/snapshot.db\"; wait",
        ),
    ] {
        let error = bench.refused(&bench.script(script, takes_path, Duration::from_secs(2))).await;
        let EtcdError::CommandTimeout { limit, stderr, .. } = &error else { panic!("{error:?}") };
        assert_eq!((limit.as_secs(), stderr.as_str()), (2, "waiting for 10.0.0.1"));
        assert_dies(&bench).await;
    }
}

#[tokio::test]
async fn a_backup_that_is_given_up_kills_its_command() {
    let bench = Bench::new(saved());
    let source =
        bench.script("sleep 3600 & echo $! > \"$0/child.new\"; mv \"$0/child.new\" \"$0/child\"; wait", true, PATIENCE);
    let mut writer = writer();
    {
        let capture = capture_etcd(&source, &bench.scratch, &mut writer, &Silent);
        let started = async {
            while !bench.path("child").exists() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            ended = capture => panic!("it ended by itself: {ended:?}"),
            () = started => {}
        }
    }
    assert_dies(&bench).await;
    bench.is_swept();
}

#[tokio::test]
async fn a_command_that_left_something_running_in_the_background_is_not_waited_for() {
    let bench = Bench::new(saved());
    let script = "sleep 3600 & echo $! > \"$0/child\"; cp \"$0/snapshot.db\" \"$1\"";
    let (_, tree) = bench.taken(&bench.script(script, true, PATIENCE)).await;
    assert_eq!(content(&tree, "etcd/snapshot.db").await, saved());
    assert_dies(&bench).await;
}

/// Waits for the end of the process whose number the script noted.
async fn assert_dies(bench: &Bench) {
    let pid = std::fs::read_to_string(bench.path("child")).unwrap();
    for _ in 0..600 {
        let state = Command::new("ps").args(["-o", "stat=", "-p", pid.trim()]).output().unwrap().stdout;
        // A killed process that nobody has waited for yet is a zombie.
        if state.is_empty() || state.starts_with(b"Z") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("process {pid} is still there");
}

#[test]
fn scratch_permissions_are_what_the_test_of_them_thinks() {
    // The bench's own scratch folder is not private, so that mode 700 above can only be the command's own folder.
    let bench = Bench::new(b"");
    assert_ne!(std::fs::metadata(&bench.scratch).unwrap().permissions().mode() & 0o777, 0o700);
}
