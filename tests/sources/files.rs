//! Folders on a real disk.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use snapback::progress::Silent;
use snapback::source::files::{FilesError, capture_files};
use snapback::store::{EntryKind, SnapshotTree, SourceRecord, SourceState};

use super::taken::{Notes, content, paths, tree, writer};
use crate::harness::again::as_nobody;

async fn taken(label: &str, folder: &Path) -> (SourceRecord, SnapshotTree) {
    let mut writer = writer();
    let record = capture_files(label, folder, &mut writer, &Silent).await.unwrap();
    (record, tree(writer).await)
}

fn write(folder: &Path, name: &str, content: &[u8], mode: u32) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, content).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn files_executables_and_links_are_kept_as_they_are_and_times_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let big: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    write(at, "controlplane.yaml", b"secret: x\n", 0o600);
    write(at, "bin/apply", b"#!/bin/sh\n", 0o755);
    write(at, "bin/talosctl", &big, 0o755);
    write(at, "charts/big image.tar", &big, 0o644);
    write(at, "empty", b"", 0o644);
    symlink("controlplane.yaml", at.join("current")).unwrap();
    symlink("/etc", at.join("outside")).unwrap();
    std::fs::create_dir(at.join("no files")).unwrap();

    let (record, first) = taken("talos", at).await;
    assert_eq!(record.name, "files/talos");
    assert_eq!((record.state, record.detail.as_str()), (SourceState::Complete, ""));
    let expected = [
        ("files/talos/bin/apply", "#!/bin/sh\n".as_bytes()),
        ("files/talos/bin/talosctl", &big),
        ("files/talos/charts/big%20image.tar", &big),
        ("files/talos/controlplane.yaml", b"secret: x\n"),
        ("files/talos/current", b"controlplane.yaml"),
        ("files/talos/empty", b""),
        ("files/talos/outside", b"/etc"),
    ];
    assert_eq!(paths(&first).await, expected.map(|(path, _)| path));
    for (path, bytes) in expected {
        assert_eq!(content(&first, path).await, bytes, "{path}");
    }
    for (path, kind) in [
        ("bin/apply", EntryKind::Exec),
        ("bin/talosctl", EntryKind::Exec),
        ("controlplane.yaml", EntryKind::Blob),
        ("current", EntryKind::Link),
        ("outside", EntryKind::Link),
    ] {
        assert_eq!(first.entry(&format!("files/talos/{path}")).await.unwrap().unwrap().kind, kind, "{path}");
    }

    let old = std::time::SystemTime::UNIX_EPOCH;
    std::fs::File::open(at.join("controlplane.yaml")).unwrap().set_modified(old).unwrap();
    assert_eq!(taken("talos", at).await.1.root(), first.root());
    write(at, "bin/apply", b"#!/bin/sh\n", 0o644);
    assert_ne!(taken("talos", at).await.1.root(), first.root(), "the executable bit counts");
}

#[tokio::test]
async fn what_cannot_be_kept_is_named_and_makes_the_source_partial() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write(at, "good", b"good", 0o644);
    std::fs::write(at.join(OsStr::from_bytes(b"not-utf8-\xff")), b"x").unwrap();
    // 80 three-byte characters: a name that a file system takes, and that is 720 bytes long once encoded.
    std::fs::write(at.join("語".repeat(80)), b"x").unwrap();
    let (record, tree) = taken("mixed", at).await;
    assert_eq!(record.state, SourceState::Partial);
    assert!(record.detail.contains("not-utf8-") && record.detail.contains('語'), "{}", record.detail);
    assert_eq!(paths(&tree).await, ["files/mixed/good"]);
}

#[test]
fn what_may_not_be_read_makes_the_source_partial() {
    // Root reads everything, so this is for somebody else.
    as_nobody("sources::files::what_nobody_may_read");
}

#[tokio::test]
#[ignore = "run as another user by the test before this one"]
async fn what_nobody_may_read() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "good", b"good", 0o644);
    write(folder.path(), "locked", b"x", 0o000);
    write(folder.path(), "closed/inside", b"x", 0o644);
    let close = |name: &str, mode| {
        std::fs::set_permissions(folder.path().join(name), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    close("closed", 0o000);
    assert!(std::fs::read(folder.path().join("locked")).is_err(), "this runs as root, so it shows nothing");
    let (record, found) = taken("locked", folder.path()).await;
    assert_eq!(record.state, SourceState::Partial);
    assert!(record.detail.contains("`locked`") && record.detail.contains("`closed`"), "{}", record.detail);
    assert_eq!(paths(&found).await, ["files/locked/good"]);

    let mut writer = writer();
    let whole = capture_files("whole", &folder.path().join("closed"), &mut writer, &Silent).await;
    assert!(matches!(whole, Err(FilesError::Folder { .. })), "{whole:?}");
    assert!(paths(&tree(writer).await).await.is_empty());
    close("closed", 0o700);
}

#[tokio::test]
async fn sockets_and_repositories_are_left_out_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write(at, "good", b"good", 0o644);
    let _socket = std::os::unix::net::UnixListener::bind(at.join("socket")).unwrap();
    write(at, "snapshots/repo.json", b"{}", 0o400);
    write(at, "snapshots/log/00000000000000000000.json", b"{}", 0o400);
    write(at, "snapshots/packs/ab/x.tar.zst", b"x", 0o400);
    let notes = Notes::default();
    let mut writer = writer();
    let record = capture_files("here", at, &mut writer, &notes).await.unwrap();
    assert_eq!(record.state, SourceState::Complete);
    assert!(record.detail.contains("`socket`"), "{}", record.detail);
    assert!(notes.all().contains("snapshots"), "{}", notes.all());
    assert_eq!(paths(&tree(writer).await).await, ["files/here/good"]);
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "file", b"", 0o644);
    let mut writer = writer();
    let missing = capture_files("a", &folder.path().join("missing"), &mut writer, &Silent).await;
    assert!(matches!(missing, Err(FilesError::Folder { .. })), "{missing:?}");
    let file = capture_files("a", &folder.path().join("file"), &mut writer, &Silent).await;
    assert!(matches!(file, Err(FilesError::NotAFolder { .. })), "{file:?}");
}
