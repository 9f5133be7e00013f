//! The script in the repository, run by the real shell with nothing but the programs it says it needs.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use bytes::Bytes;
use snapback::store::backend::{Backend, LocalBackend};
use snapback::store::{Blob, ContentHash, EntryKind, FrameGroup, Repository, Snapshot, SnapshotBody, encode_name};

use super::sample::{Files, back_up, body, files, fill, many, series};
use crate::harness::snapback::Snapback;

/// What the script may use: POSIX utilities, tar, zstd, sha256sum.
const PROGRAMS: [&str; 19] = [
    "sh",
    "awk",
    "cat",
    "chmod",
    "cp",
    "dirname",
    "find",
    "ln",
    "mkdir",
    "mv",
    "rm",
    "sed",
    "sort",
    "tail",
    "tar",
    "tr",
    "xargs",
    "zstd",
    "sha256sum",
];

struct Place {
    folder: tempfile::TempDir,
    backend: Arc<dyn Backend>,
}

impl Place {
    async fn new() -> Self {
        Self::with_programs(|program| program).await
    }

    /// As on a rescue system or inside a small container: busybox is every program that it knows, and zstd is zstd.
    async fn with_busybox() -> Self {
        Self::with_programs(|program| if program == "zstd" { "zstd" } else { "busybox" }).await
    }

    /// Each program of [`PROGRAMS`] is what `comes_from` names.
    async fn with_programs(comes_from: impl Fn(&'static str) -> &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("bin")).unwrap();
        for program in PROGRAMS {
            let source = comes_from(program);
            let found = std::env::split_paths(&std::env::var_os("PATH").unwrap())
                .map(|path| path.join(source))
                .find(|path| path.exists());
            let found = found.unwrap_or_else(|| panic!("{source} is not installed; scripts/prepare installs it"));
            symlink(found, folder.path().join("bin").join(program)).unwrap();
        }
        let backend: Arc<dyn Backend> = Arc::new(LocalBackend::new(folder.path().join("repository")));
        Repository::init(Arc::clone(&backend)).await.unwrap();
        Self { folder, backend }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let script = self.path("repository/restore.sh");
        let mut command = Command::new(self.path("bin/sh"));
        command.arg(script).args(arguments).env_clear().env("PATH", self.path("bin")).current_dir(self.folder.path());
        command.output().unwrap()
    }

    fn restore(&self, snapshot: &str, out: &str) -> Files {
        let output = self.run(&[snapshot, out]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        read_folder(&self.path(out))
    }

    /// It fails, says `why`, and leaves nothing behind.
    fn refuse(&self, snapshot: &str, out: &str, why: &str) {
        let output = self.run(&[snapshot, out]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains(why), "{:?}: {said}", output.status);
        let left = std::fs::read_dir(self.path(out)).map_or(0, Iterator::count);
        assert_eq!(left, 0, "something is left in {out}");
    }
}

fn read_folder(folder: &Path) -> Files {
    let entries =
        walkdir::WalkDir::new(folder).into_iter().map(Result::unwrap).filter(|entry| !entry.file_type().is_dir());
    let content = |path: &Path| match std::fs::read_link(path) {
        Ok(target) => target.into_os_string().into_encoded_bytes(),
        Err(_) => std::fs::read(path).unwrap(),
    };
    entries
        .map(|entry| (entry.path().strip_prefix(folder).unwrap().to_str().unwrap().to_owned(), content(entry.path())))
        .collect()
}

async fn committed(place: &Place, content: &Files) -> Snapshot {
    back_up(Arc::clone(&place.backend), content).await.unwrap()
}

/// Many files, equal ones and an empty one, names that are hard on a shell.
fn odd_files(turn: usize) -> Files {
    let mut content = many(700, turn);
    content.extend(files(&[("state/twice", "the same"), ("state/again", "the same"), ("state/empty", "")]));
    for name in ["a b", "ä/ö", "-rf", "..", "*", "$(touch x)", "'", &"long".repeat(70)] {
        content.insert(format!("names/{}", encode_name(name)), name.as_bytes().to_vec());
    }
    content
}

#[tokio::test]
async fn the_script_rebuilds_every_snapshot() {
    let place = Place::new().await;
    let mut written = BTreeMap::new();
    for turn in 0..3 {
        let content = odd_files(turn);
        let snapshot = committed(&place, &content).await;
        written.insert(snapshot.number.to_string(), content.clone());
        written.insert(snapshot.id.short(), content.clone());
        written.insert("latest".to_owned(), content);
    }
    for (at, (name, content)) in written.iter().enumerate() {
        assert!(place.restore(name, &format!("out-{at}")) == *content, "{name}");
    }
    let listed = String::from_utf8(place.run(&["list"]).stdout).unwrap();
    assert_eq!(listed.lines().count(), 3, "{listed}");
}

/// The number of the snapshot that the script takes a name for.
fn taken_for(place: &Place, name: &str) -> Result<u64, String> {
    let out = place.path("taken");
    let run = place.run(&[name, "taken"]);
    let said = String::from_utf8_lossy(if run.status.success() { &run.stdout } else { &run.stderr }).into_owned();
    if !run.status.success() {
        return Err(said);
    }
    std::fs::remove_dir_all(out).unwrap();
    Ok(said.strip_prefix("snapshot ").unwrap().split(' ').next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn the_script_takes_a_name_for_the_snapshot_that_snapback_takes_it_for() {
    for busybox in [false, true] {
        let place = if busybox { Place::with_busybox().await } else { Place::new().await };
        let mut ids = Vec::new();
        let commit = async |label: &str, scope: &str, cluster: &str| {
            let repository = Repository::open(Arc::clone(&place.backend)).await.unwrap();
            let mut writer = repository.begin_full().await.unwrap();
            fill(&mut writer, &files(&[("a", "b")])).await.unwrap();
            let body = SnapshotBody { label: label.into(), scope: scope.into(), cluster: cluster.into(), ..body() };
            repository.commit(writer.finish().await.unwrap(), body).await.unwrap().id.to_string()
        };
        ids.push(commit("pre-upgrade", "only=a b", "uid").await);
        ids.push(commit("before-restore", "", "uid").await);
        // What no restore took by itself is of a part: `latest` all the same.
        let snapback = Snapback::new();
        let repository = place.path("repository").display().to_string();
        let compare = |names: &[&str]| {
            for name in names {
                let document = snapback.json(&["show", name, "--repo", &repository]);
                match document["snapshot"]["number"].as_u64() {
                    Some(number) => assert_eq!(taken_for(&place, name), Ok(number), "{name}"),
                    None => assert!(taken_for(&place, name).is_err(), "{name}: {document:#}"),
                }
            }
        };
        compare(&["latest", "latest~1", "before-restore", "pre-upgrade"]);
        for (label, scope) in
            [("1e0", ""), ("pre-upgrade", ""), ("+4", ""), ("größer", ""), ("part", "only=a"), ("before-restore", "")]
        {
            ids.push(commit(label, scope, "uid").await);
        }
        compare(&["latest", "latest~1", "latest~3", "latest~4", "latest~x", "pre-upgrade", "before-restore", "1e0"]);
        compare(&["+4", "größer", "part", "1", "#1", "008", "9", "-", "no-such"]);
        compare(&[&ids[2][..8], &ids[0], "beef"]);
        assert_eq!(taken_for(&place, "latest"), Ok(6));
        let listed = String::from_utf8(place.run(&["list"]).stdout).unwrap();
        let first = format!("1 {} ", ids[0]);
        assert!(listed.starts_with(&first) && listed.contains("Z pre-upgrade uid only=a b\n"), "{listed}");

        // Whose `latest`, nobody can tell here.
        commit("", "", "another").await;
        compare(&["latest", "latest~1", "pre-upgrade", "9"]);
        assert!(taken_for(&place, "latest").unwrap_err().contains("several clusters; name one by its number"));
    }
}

#[tokio::test]
async fn a_content_with_the_bytes_of_a_tree_or_a_list_is_rebuilt_all_the_same() {
    // An empty list of segments, and then an empty file; in one snapshot, and in one after the other.
    for in_one in [true, false] {
        let place = Place::new().await;
        let repository = Repository::open(Arc::clone(&place.backend)).await.unwrap();
        let mut content = files(&[("a", "b")]);
        let tree = {
            let mut writer = repository.begin(series()).await.unwrap();
            fill(&mut writer, &content).await.unwrap();
            if in_one {
                writer.put("files/empty", Blob::new(Bytes::new()), FrameGroup::Shared).await.unwrap();
            }
            writer.put_stream("etcd/none", [].as_slice()).await.unwrap();
            let written = writer.finish().await.unwrap();
            let root = written.tree().blob(&written.tree().root()).await.unwrap().to_vec();
            repository.commit(written, body()).await.unwrap();
            root
        };
        content.insert("files/empty".to_owned(), Vec::new());
        if in_one {
            content.insert("etcd/none".to_owned(), Vec::new());
            assert!(place.restore("1", "out") == content);
            continue;
        }
        // The text of a tree that the parent has.
        content.insert("files/tree".to_owned(), tree);
        committed(&place, &content).await;
        assert!(place.restore("2", "out") == content);
    }
}

#[tokio::test]
async fn busybox_is_enough_for_the_script() {
    rebuilds_big_files_executables_and_links(&Place::with_busybox().await, 1_000_000).await;
    let place = Place::with_busybox().await;
    let content = odd_files(0);
    let snapshot = committed(&place, &content).await;
    assert!(place.restore("latest", "latest") == content);
    let listed = String::from_utf8(place.run(&["list"]).stdout).unwrap();
    assert_eq!(listed.lines().count(), 1, "{listed}");
    let pack = place.path("repository").join(&snapshot.packs[0].name);
    let mut bytes = std::fs::read(&pack).unwrap();
    bytes[100] ^= 1;
    std::fs::remove_file(&pack).unwrap();
    std::fs::write(&pack, bytes).unwrap();
    place.refuse("1", "damaged", "damaged: packs/");
}

#[tokio::test]
async fn the_script_rebuilds_big_files_executables_and_links() {
    // More than one segment.
    rebuilds_big_files_executables_and_links(&Place::new().await, 17_000_000).await;
}

async fn rebuilds_big_files_executables_and_links(place: &Place, numbers: u32) {
    let repository = Repository::open(Arc::clone(&place.backend)).await.unwrap();
    let big: Vec<u8> = (0..numbers).flat_map(|n| (n / 5).to_le_bytes()).collect();
    let mut writer = repository.begin(series()).await.unwrap();
    fill(&mut writer, &files(&[("plain", "#!/bin/sh\n")])).await.unwrap();
    for (path, kind, content) in [
        ("files/run", EntryKind::Exec, "#!/bin/sh\n"),
        ("files/link", EntryKind::Link, "../plain"),
        ("files/odd", EntryKind::Link, "-x $(touch y) 'z"),
    ] {
        writer.put_as(path, kind, Blob::new(content.to_owned().into()), FrameGroup::Shared).await.unwrap();
    }
    writer.put_stream("etcd/snapshot.db", big.as_slice()).await.unwrap();
    writer.put_stream("etcd/none", [].as_slice()).await.unwrap();
    repository.commit(writer.finish().await.unwrap(), body()).await.unwrap();
    let found = place.restore("1", "out");
    assert!(found["etcd/snapshot.db"] == big && found["etcd/none"].is_empty());
    assert_eq!(found["files/link"], b"../plain");
    assert_eq!(found["files/odd"], b"-x $(touch y) 'z");
    let mode = |path: &str| std::fs::metadata(place.path("out").join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("files/run"), mode("plain"), mode("etcd/snapshot.db")), (0o700, 0o600, 0o600));
    assert_eq!(mode("files"), 0o700);
}

#[tokio::test]
async fn the_script_refuses_damage_and_wrong_usage() {
    let place = Place::new().await;
    assert!(String::from_utf8_lossy(&place.run(&["latest", "out"]).stderr).contains("no snapshot"));
    let snapshot = committed(&place, &many(50, 0)).await;
    for wrong in [vec![], vec!["latest"], vec!["latest", "a", "b"], vec!["", "a"]] {
        assert_eq!(place.run(&wrong).status.code(), Some(2), "{wrong:?}");
    }
    std::fs::create_dir(place.path("full")).unwrap();
    std::fs::write(place.path("full/.hidden"), "").unwrap();
    let output = place.run(&["latest", "full"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("not empty") && place.path("full/.hidden").exists());
    place.refuse("7", "out", "there is no snapshot `7`");
    place.refuse("ffff", "out", "there is no snapshot");

    let damage = |name: &str, at: usize, why: &str| {
        let path = place.path("repository").join(name);
        let sound = std::fs::read(&path).unwrap();
        let mut bytes = sound.clone();
        bytes[at] ^= 1;
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, bytes).unwrap();
        place.refuse("1", "out", why);
        std::fs::write(&path, sound).unwrap();
    };
    damage(&snapshot.packs[0].name, 100, "damaged: packs/");
    let entry = "log/00000000000000000001.json";
    let length = std::fs::metadata(place.path("repository").join(entry)).unwrap().len() as usize;
    // A digit of the root; a digit of the last line.
    let text = std::fs::read_to_string(place.path("repository").join(entry)).unwrap();
    damage(entry, text.find("\"root\"").unwrap() + 12, "is damaged");
    damage(entry, length - 10, "is damaged");
    std::fs::remove_file(place.path("repository").join(&snapshot.packs[0].name)).unwrap();
    place.refuse("1", "out", "is missing");
}

/// Gives the pack of snapshot 1 a further member, a link, and makes every checksum fit again.
fn add_link(place: &Place, snapshot: &Snapshot, name: &str, target: &Path) {
    let repository = place.path("repository");
    let [pack] = snapshot.packs.as_slice() else { panic!("{:?}", snapshot.packs) };
    let mut raw = zstd::decode_all(std::fs::File::open(repository.join(&pack.name)).unwrap()).unwrap();
    raw.truncate(raw.len() - 1024);
    let mut link = tar::Builder::new(raw);
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    link.append_link(&mut header, name, target).unwrap();
    let packed = zstd::encode_all(link.into_inner().unwrap().as_slice(), 1).unwrap();
    let stem = |name: &str| name[9..].trim_end_matches(".tar.zst").to_owned();
    let hash = ContentHash::of(&packed).to_string();
    let changed = format!("packs/{}/{hash}{}.tar.zst", &hash[..2], &stem(&pack.name)[64..]);
    std::fs::create_dir_all(repository.join(&changed).parent().unwrap()).unwrap();
    std::fs::write(repository.join(&changed), &packed).unwrap();
    let entry = repository.join("log/00000000000000000001.json");
    let text = std::fs::read_to_string(&entry).unwrap();
    let was = format!("\"{}\": {}", stem(&pack.name), pack.size);
    let text = text.replace(&was, &format!("\"{}\": {}", stem(&changed), packed.len()));
    let (lines, _) = text.split_at(text.trim_end().rfind('\n').unwrap() + 1);
    std::fs::remove_file(&entry).unwrap();
    std::fs::write(&entry, format!("{lines}\"sha256\": \"{}\"}}\n", ContentHash::of(lines.as_bytes()))).unwrap();
}

#[tokio::test]
async fn a_link_in_a_pack_leads_the_script_nowhere() {
    for name in ["members", "plan", "tree", "o", "t", "unpacked"] {
        let place = Place::new().await;
        std::fs::write(place.path("file"), "precious").unwrap();
        std::fs::create_dir(place.path("elsewhere")).unwrap();
        let folder = matches!(name, "tree" | "o" | "t" | "unpacked");
        let target = place.path(if folder { "elsewhere" } else { "file" });
        let snapshot = committed(&place, &many(50, 0)).await;
        add_link(&place, &snapshot, name, &target);
        let output = place.run(&["1", "out"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1), "{name}: {said}");
        assert_eq!(std::fs::read(place.path("file")).unwrap(), b"precious", "{name}");
        assert_eq!(std::fs::read_dir(place.path("elsewhere")).unwrap().count(), 0, "{name}");
    }
}
