//! What every backend promises, on every backend.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use snapback::store::backend::{Backend, BackendError, Content, LocalBackend, MemoryBackend};
use snapback::store::{Repository, StoreError};

use super::sample::{back_up, many, restore};
use crate::harness::s3::S3Server;

async fn places(folder: &Path, server: &S3Server) -> Vec<Arc<dyn Backend>> {
    vec![
        Arc::new(MemoryBackend::default()),
        Arc::new(LocalBackend::new(folder.join("deep/er/repository"))),
        Arc::new(server.backend().await),
    ]
}

#[tokio::test]
async fn create_never_replaces_and_a_listing_shows_it() {
    let (folder, server) = (tempfile::tempdir().unwrap(), S3Server::start());
    for place in places(folder.path(), &server).await {
        assert!(place.list("").await.unwrap().is_empty());
        assert!(!place.probe().await.unwrap().is_empty());
        let aside = folder.path().join("aside");
        std::fs::write(&aside, "from a file").unwrap();
        place.create("packs/ab/x", Content::Bytes(b"one")).await.unwrap();
        place.create("packs/ab/y", Content::File(&aside)).await.unwrap();
        place.create("log/1", Content::Bytes(b"")).await.unwrap();
        for content in [Content::Bytes(b"two"), Content::File(&aside)] {
            let refused = place.create("packs/ab/x", content).await;
            assert!(matches!(refused, Err(BackendError::Exists { .. })), "{refused:?}");
        }
        assert_eq!(place.read("packs/ab/x").await.unwrap(), b"one");
        assert_eq!(place.read("packs/ab/y").await.unwrap(), b"from a file");
        assert!(aside.exists());
        let names = |files: Vec<snapback::store::backend::StoredFile>| -> Vec<(String, u64)> {
            files.into_iter().map(|file| (file.name, file.size)).collect()
        };
        let (x, y, log) = (("packs/ab/x".to_owned(), 3), ("packs/ab/y".to_owned(), 11), ("log/1".to_owned(), 0));
        assert_eq!(names(place.list("packs/").await.unwrap()), [x.clone(), y.clone()]);
        assert_eq!(names(place.list("packs/ab/x").await.unwrap()), std::slice::from_ref(&x));
        assert_eq!(names(place.list("").await.unwrap()), [log, x, y]);
        assert!(place.list("nothing/").await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn reading_past_the_end_gives_what_is_there_and_a_missing_file_says_so() {
    let (folder, server) = (tempfile::tempdir().unwrap(), S3Server::start());
    for place in places(folder.path(), &server).await {
        place.create("f", Content::Bytes(b"0123456789")).await.unwrap();
        for (offset, length, expected) in
            [(0, 3, "012"), (8, 10, "89"), (10, 1, ""), (99, 9, ""), (2, u64::MAX, "23456789")]
        {
            assert_eq!(place.read_range("f", offset, length).await.unwrap(), expected.as_bytes());
        }
        for missing in [place.read("g").await, place.read_range("g", 0, 1).await] {
            assert!(matches!(missing, Err(BackendError::NotFound { .. })), "{missing:?}");
        }
        place.make_durable("f").await.unwrap();
        place.delete("f").await.unwrap();
        place.delete("f").await.unwrap();
        assert!(place.list("").await.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_creates_of_one_name_exactly_one_wins() {
    let (folder, server) = (tempfile::tempdir().unwrap(), S3Server::start());
    for place in places(folder.path(), &server).await {
        place.probe().await.unwrap();
        let tasks: Vec<_> = (0..16_u8)
            .map(|number| {
                let place = Arc::clone(&place);
                tokio::spawn(async move {
                    place.create("log/7", Content::Bytes(&[number; 1000])).await.is_ok().then_some(number)
                })
            })
            .collect();
        let mut winners = Vec::new();
        for task in tasks {
            winners.extend(task.await.unwrap());
        }
        assert_eq!(winners.len(), 1);
        assert_eq!(place.read("log/7").await.unwrap(), [winners[0]; 1000]);
    }
}

#[tokio::test]
async fn what_is_gone_is_not_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("repository");
    let place = LocalBackend::new(&root);
    place.create("repo.json", Content::Bytes(b"{}")).await.unwrap();
    place.create("journal/1", Content::Bytes(b"1")).await.unwrap();
    // Unmounted: the folder is there and empty, or not even there.
    std::fs::remove_dir_all(&root).unwrap();
    for made in [false, true] {
        let error = place.create("journal/2", Content::Bytes(b"2")).await.unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(cause, "nothing is at the repository's place any more");
        assert_eq!(root.exists(), made);
        assert!(!made || std::fs::read_dir(&root).unwrap().next().is_none());
        let _ = std::fs::create_dir(&root);
    }
}

#[tokio::test]
async fn a_folder_is_private_whatever_the_umask_and_names_cannot_leave_it() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("repository");
    let place: Arc<dyn Backend> = Arc::new(LocalBackend::new(&root));
    Repository::init(Arc::clone(&place)).await.unwrap();
    back_up(Arc::clone(&place), &many(30, 0)).await.unwrap();
    let mut seen = 0;
    for entry in walkdir::WalkDir::new(&root) {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, if entry.file_type().is_dir() { 0o700 } else { 0o400 }, "{}", entry.path().display());
        seen += 1;
    }
    assert!(seen > 8);
    assert_eq!(std::fs::read_dir(root.join("tmp")).unwrap().count(), 0, "something was left in tmp/");
    for name in ["../out", "/etc/out", "a/../../out"] {
        assert!(place.create(name, Content::Bytes(b"x")).await.is_err(), "{name}");
        assert!(place.read(name).await.is_err(), "{name}");
    }
    assert!(!folder.path().join("out").exists());
}

#[tokio::test]
async fn what_is_not_a_repository_is_told_apart() {
    let (folder, server) = (tempfile::tempdir().unwrap(), S3Server::start());
    for place in places(folder.path(), &server).await {
        let open = || Repository::open(Arc::clone(&place));
        assert!(matches!(open().await, Err(StoreError::Missing { .. })));
        place.create("README.md", Content::Bytes(b"kept by git")).await.unwrap();
        assert!(matches!(open().await, Err(StoreError::Missing { .. })));
        place.create("letter.txt", Content::Bytes(b"dear")).await.unwrap();
        assert!(matches!(open().await, Err(StoreError::NotARepository { .. })));
        let refused = Repository::init(Arc::clone(&place)).await;
        assert!(matches!(&refused, Err(StoreError::NotEmpty { name, .. }) if name == "letter.txt"), "{refused:?}");
        place.delete("letter.txt").await.unwrap();
        let id = Repository::init(Arc::clone(&place)).await.unwrap().id().to_owned();
        assert_eq!(open().await.unwrap().id(), id);
        // A second init would fork the history.
        assert!(matches!(Repository::init(Arc::clone(&place)).await, Err(StoreError::NotEmpty { .. })));

        let entry = "log/00000000000000000000.json";
        let sound = place.read(entry).await.unwrap();
        place.delete(entry).await.unwrap();
        assert!(matches!(open().await, Err(StoreError::HalfWritten { .. })));
        place.create(entry, Content::Bytes(&sound)).await.unwrap();
        let sound = String::from_utf8(place.read("repo.json").await.unwrap()).unwrap();
        let lines = sound.replace("\"format\": 1", "\"format\": 2");
        let lines = &lines[..lines.find("\"sha256\"").unwrap()];
        let newer = format!("{lines}\"sha256\": \"{}\"}}\n", snapback::store::ContentHash::of(lines.as_bytes()));
        for (bytes, expected) in [(newer.as_str(), "NewerFormat"), ("{}", "Damaged"), ("", "Damaged")] {
            place.delete("repo.json").await.unwrap();
            place.create("repo.json", Content::Bytes(bytes.as_bytes())).await.unwrap();
            let found = format!("{:?}", open().await.unwrap_err());
            assert!(found.starts_with(expected), "{found}");
        }
    }
}

#[tokio::test]
async fn a_later_programs_entry_stops_writing_and_not_reading() {
    let place: Arc<dyn Backend> = Arc::new(MemoryBackend::default());
    let repository = Repository::init(Arc::clone(&place)).await.unwrap();
    let snapshot = back_up(Arc::clone(&place), &many(5, 0)).await.unwrap();
    let writer = repository.begin(super::sample::series()).await.unwrap().finish().await.unwrap();
    super::fault::append(&place, "rebase", "").await;
    assert_eq!(restore(Arc::clone(&place), &snapshot).await.unwrap(), many(5, 0));
    assert!(matches!(repository.begin(super::sample::series()).await, Err(StoreError::NewerEntry { number: 2, .. })));
    let commit = repository.commit(writer, super::sample::body()).await;
    assert!(matches!(commit, Err(StoreError::NewerEntry { number: 2, .. })), "{commit:?}");
    assert_eq!(place.list("log/").await.unwrap().len(), 3);
}

/// A real full disk: this very test binary again, in a name space of its own with a small tmpfs.
#[test]
fn a_full_disk_commits_nothing_and_harms_nothing() {
    let probe = Command::new("unshare").args(["-rm", "true"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: `unshare -rm` does not work here, so there is no small file system to fill");
        return;
    }
    let script = "mount -t tmpfs -o size=6m none \"$SNAPBACK_TEST_FULL\" && exec \"$0\" \
                  store::backends::inside_a_small_file_system --exact --ignored --nocapture";
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", script]).arg(std::env::current_exe().unwrap());
    let output = command.env("SNAPBACK_TEST_FULL", folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
#[ignore = "run by a_full_disk_commits_nothing_and_harms_nothing"]
async fn inside_a_small_file_system() {
    let folder = std::env::var_os("SNAPBACK_TEST_FULL").expect("run by the test before this one");
    let root = Path::new(&folder).join("repository");
    let place: Arc<dyn Backend> = Arc::new(LocalBackend::new(&root));
    Repository::init(Arc::clone(&place)).await.unwrap();
    let small = many(100, 0);
    let first = back_up(Arc::clone(&place), &small).await.unwrap();
    // What no compression makes smaller, more than there is room for.
    let mut big = small.clone();
    let noise = (0..250_000_u32).flat_map(|n| *snapback::store::ContentHash::of(&n.to_le_bytes()).as_raw()).collect();
    big.insert("files/noise".to_owned(), noise);
    let failed = back_up(Arc::clone(&place), &big).await;
    assert!(matches!(failed, Err(StoreError::Backend(BackendError::Full { .. }))), "{failed:?}");
    assert_eq!(std::fs::read_dir(root.join("tmp")).unwrap().count(), 0, "the failed backup left its spool file");
    assert_eq!(restore(Arc::clone(&place), &first).await.unwrap(), small);
    let next = back_up(Arc::clone(&place), &many(100, 1)).await.unwrap();
    assert_eq!(next.number, 2);
    assert_eq!(restore(Arc::clone(&place), &next).await.unwrap(), many(100, 1));
    // Not even a log entry fits.
    let mut filler = std::fs::File::create(Path::new(&folder).join("filler")).unwrap();
    while std::io::Write::write_all(&mut filler, &[1; 4096]).is_ok() {}
    let failed = back_up(Arc::clone(&place), &many(100, 1)).await;
    assert!(matches!(failed, Err(StoreError::Backend(BackendError::Full { .. }))), "{failed:?}");
    drop(filler);
    std::fs::remove_file(Path::new(&folder).join("filler")).unwrap();
    assert_eq!(back_up(Arc::clone(&place), &many(100, 1)).await.unwrap().number, 3);
}
