//! I3: one flipped or missing byte anywhere is found, and what it costs is named.

use std::sync::{Arc, Mutex};

use snapback::maintain::verify::{Damage, VerifyLevel, VerifyOptions, VerifyReport, verify};
use snapback::progress::{Progress, ProgressEvent, Silent};
use snapback::store::backend::{Backend, Content, LocalBackend, MemoryBackend};
use snapback::store::{Head, Repository};

use super::sample::{back_up, files, restore};

/// A small repository: three snapshots, the second one changed, the third not.
async fn small(place: Arc<dyn Backend>) -> Head {
    Repository::init(Arc::clone(&place)).await.unwrap();
    for state in ["old", "new", "new"] {
        let content =
            files(&[("cluster/a.json", "stays"), ("cluster/b.json", state), ("files/deep/er/c", "stays too")]);
        back_up(Arc::clone(&place), &content).await.unwrap();
    }
    Repository::open(place).await.unwrap().history().await.unwrap().head().unwrap()
}

async fn look(place: &Arc<dyn Backend>, level: VerifyLevel, head: Head) -> VerifyReport {
    let options = VerifyOptions { level, remembered: Some(head) };
    verify(Arc::clone(place), &options, &Silent).await.unwrap()
}

async fn replace(place: &Arc<dyn Backend>, name: &str, bytes: &[u8]) {
    place.delete(name).await.unwrap();
    place.create(name, Content::Bytes(bytes)).await.unwrap();
}

/// The damage to `name`, which must be there and name the snapshots that it costs.
fn found<'a>(report: &'a VerifyReport, name: &str, what: &str) -> &'a Damage {
    let damage = report.damage.iter().find(|damage| damage.file == name);
    let damage = damage.unwrap_or_else(|| panic!("{what} of {name} was not found: {:?}", report.damage));
    if name.starts_with("packs/") {
        assert!(!damage.snapshots.is_empty(), "{what} of {name}: {damage:?}");
    }
    if let Some(number) = name.strip_prefix("log/").and_then(|rest| rest.trim_end_matches(".json").parse::<u64>().ok())
    {
        assert!(number == 0 || damage.snapshots == [number], "{what} of {name}: {damage:?}");
    }
    damage
}

#[tokio::test]
async fn a_sound_repository_is_sound_at_every_level() {
    let folder = tempfile::tempdir().unwrap();
    let places: [Arc<dyn Backend>; 2] =
        [Arc::new(MemoryBackend::default()), Arc::new(LocalBackend::new(folder.path().join("repository")))];
    for place in places {
        let head = small(Arc::clone(&place)).await;
        for level in [VerifyLevel::Names, VerifyLevel::Bytes, VerifyLevel::Objects] {
            let report = look(&place, level, head).await;
            assert!(report.is_sound() && report.notes.is_empty(), "{report:?}");
            assert_eq!(report.checked.snapshots, 3);
        }
        let unremembered = VerifyOptions { level: VerifyLevel::Names, remembered: None };
        let report = verify(Arc::clone(&place), &unremembered, &Silent).await.unwrap();
        assert!(report.is_sound() && report.notes.len() == 1, "{report:?}");
    }
}

/// Notes what a person is told.
#[derive(Default)]
struct Told(Mutex<(Vec<String>, u64, u64)>);

impl Progress for Told {
    fn report(&self, event: ProgressEvent) {
        let mut told = self.0.lock().unwrap();
        match event {
            ProgressEvent::Stage(name) => told.0.push(name),
            ProgressEvent::Expect(bytes) => told.1 += bytes,
            ProgressEvent::Done(bytes) => told.2 += bytes,
            _ => {}
        }
    }
}

#[tokio::test]
async fn every_stage_has_its_own_name_and_reads_each_pack_once() {
    let place: Arc<dyn Backend> = Arc::new(MemoryBackend::default());
    let head = small(Arc::clone(&place)).await;
    // A pack that no snapshot needs is read in the same pass.
    let packs = place.list("packs/").await.unwrap();
    let bytes = place.read(&packs[0].name).await.unwrap();
    let (named, _) = packs[0].name.split_once('.').unwrap();
    place.create(&format!("{named}.00000000.tar.zst"), Content::Bytes(&bytes)).await.unwrap();
    let total: u64 = place.list("packs/").await.unwrap().iter().map(|pack| pack.size).sum();
    let told = async |level| {
        let told = Told::default();
        let report = verify(Arc::clone(&place), &VerifyOptions { level, remembered: Some(head) }, &told).await.unwrap();
        let (stages, expected, done) = told.0.into_inner().unwrap();
        assert_eq!(expected, done, "{stages:?}");
        (report.is_sound(), stages.join(", "), done)
    };
    assert_eq!(told(VerifyLevel::Names).await, (true, String::new(), 0));
    assert_eq!(told(VerifyLevel::Bytes).await, (true, "hashing packs".to_owned(), total));
    assert_eq!(told(VerifyLevel::Objects).await, (true, "checking packs".to_owned(), total));
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 1;
    replace(&place, &packs[0].name, &flipped).await;
    let (sound, stages, _) = told(VerifyLevel::Bytes).await;
    assert_eq!((sound, stages.as_str()), (false, "hashing packs, finding out what the damage costs"));
    assert_eq!(told(VerifyLevel::Objects).await, (false, "checking packs".to_owned(), total));
}

#[tokio::test]
async fn every_flipped_byte_is_found() {
    let place: Arc<dyn Backend> = Arc::new(MemoryBackend::default());
    let head = small(Arc::clone(&place)).await;
    for file in place.list("").await.unwrap() {
        let bytes = place.read(&file.name).await.unwrap();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            replace(&place, &file.name, &flipped).await;
            let report = look(&place, VerifyLevel::Bytes, head).await;
            found(&report, &file.name, &format!("byte {at}"));
            if at % 16 == 0 {
                found(&look(&place, VerifyLevel::Objects, head).await, &file.name, &format!("byte {at}"));
            }
        }
        replace(&place, &file.name, &bytes).await;
    }
    assert!(look(&place, VerifyLevel::Objects, head).await.is_sound());
}

#[tokio::test]
async fn every_cut_lengthened_or_removed_file_is_found_at_every_level() {
    let place: Arc<dyn Backend> = Arc::new(MemoryBackend::default());
    let head = small(Arc::clone(&place)).await;
    for file in place.list("").await.unwrap() {
        let bytes = place.read(&file.name).await.unwrap();
        let cuts = [0, 1, bytes.len() / 3, bytes.len() / 2, bytes.len() * 9 / 10, bytes.len() - 1];
        let mut wrong: Vec<Option<Vec<u8>>> = cuts.iter().map(|cut| Some(bytes[..*cut].to_vec())).collect();
        wrong.push(Some([bytes.as_slice(), b"\0"].concat()));
        wrong.push(None);
        for wrong in wrong {
            match &wrong {
                Some(wrong) => replace(&place, &file.name, wrong).await,
                None => place.delete(&file.name).await.unwrap(),
            }
            for level in [VerifyLevel::Names, VerifyLevel::Bytes, VerifyLevel::Objects] {
                let report = look(&place, level, head).await;
                found(&report, &file.name, &format!("{:?} bytes", wrong.as_ref().map(Vec::len)));
            }
            replace(&place, &file.name, &bytes).await;
        }
    }
    assert!(look(&place, VerifyLevel::Objects, head).await.is_sound());
}

#[tokio::test]
async fn a_damaged_pack_costs_exactly_what_cannot_be_read_any_more() {
    let place: Arc<dyn Backend> = Arc::new(MemoryBackend::default());
    let head = small(Arc::clone(&place)).await;
    let repository = Repository::open(Arc::clone(&place)).await.unwrap();
    let history = repository.history().await.unwrap();
    let [first, second, third] = history.snapshots() else { panic!("three snapshots were written") };
    let added = second.packs.iter().find(|pack| !first.packs.contains(pack)).unwrap().name.clone();
    assert_eq!(second.packs, third.packs);
    place.delete(&added).await.unwrap();
    for level in [VerifyLevel::Names, VerifyLevel::Bytes, VerifyLevel::Objects] {
        let report = look(&place, level, head).await;
        assert_eq!(report.damage.len(), 1, "{report:?}");
        assert_eq!(found(&report, &added, "removal").snapshots, [2, 3]);
    }
    assert!(restore(Arc::clone(&place), first).await.is_ok());
    assert!(restore(Arc::clone(&place), second).await.is_err());

    // The first frame of the first pack holds the objects: trees stay readable, and the lost paths have names.
    let place: Arc<dyn Backend> = Arc::new(MemoryBackend::default());
    let head = small(Arc::clone(&place)).await;
    let history = Repository::open(Arc::clone(&place)).await.unwrap().history().await.unwrap();
    let name = &history.snapshots()[0].packs[0].name;
    let mut bytes = place.read(name).await.unwrap();
    bytes[40] ^= 0xff;
    replace(&place, name, &bytes).await;
    for level in [VerifyLevel::Bytes, VerifyLevel::Objects] {
        let report = look(&place, level, head).await;
        let damage = found(&report, name, "byte 40");
        assert_eq!(damage.snapshots, [1, 2, 3]);
        assert_eq!(damage.objects, ["cluster/a.json", "cluster/b.json", "files/deep/er/c"], "{damage:?}");
        assert_eq!(damage.object_count, 3);
    }
}

#[tokio::test]
async fn foreign_files_and_packs_that_nothing_names_are_notes() {
    let place: Arc<dyn Backend> = Arc::new(MemoryBackend::default());
    let head = small(Arc::clone(&place)).await;
    let orphan = format!("packs/aa/{}.12345678.tar.zst", "a".repeat(64));
    for name in ["packs/notes.txt", "log/7.json", "hello", orphan.as_str()] {
        place.create(name, Content::Bytes(b"x")).await.unwrap();
    }
    let report = look(&place, VerifyLevel::Names, head).await;
    assert!(report.is_sound(), "{report:?}");
    assert_eq!(report.notes.len(), 4, "{report:?}");
    // Its bytes do not have the hash in its name: damage, though it costs nothing.
    let report = look(&place, VerifyLevel::Bytes, head).await;
    assert_eq!(report.damage.iter().map(|damage| damage.file.as_str()).collect::<Vec<_>>(), [orphan.as_str()]);
    assert!(report.damage[0].snapshots.is_empty());
}

#[tokio::test]
async fn a_reader_never_returns_wrong_bytes() {
    let place: Arc<dyn Backend> = Arc::new(MemoryBackend::default());
    small(Arc::clone(&place)).await;
    let history = Repository::open(Arc::clone(&place)).await.unwrap().history().await.unwrap();
    let snapshot = &history.snapshots()[0];
    let sound = restore(Arc::clone(&place), snapshot).await.unwrap();
    let name = &snapshot.packs[0].name;
    let bytes = place.read(name).await.unwrap();
    let mut refused = 0;
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        replace(&place, name, &flipped).await;
        match restore(Arc::clone(&place), snapshot).await {
            Ok(found) => assert_eq!(found, sound, "byte {at}"),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > bytes.len() / 2, "{refused} of {} flips mattered", bytes.len());
}

#[tokio::test]
async fn a_backup_onto_damage_is_a_full_that_depends_on_nothing() {
    let content = files(&[("cluster/a.json", "stays"), ("cluster/b.json", "new"), ("files/deep/er/c", "stays too")]);
    // Both packs of the parent and a log entry: removed, or cut by a byte.
    for (which, removed) in [(0, true), (0, false), (1, true), (1, false), (2, true), (2, false)] {
        let place: Arc<dyn Backend> = Arc::new(MemoryBackend::default());
        small(Arc::clone(&place)).await;
        let history = Repository::open(Arc::clone(&place)).await.unwrap().history().await.unwrap();
        let mut names: Vec<String> = history.snapshots()[2].packs.iter().map(|pack| pack.name.clone()).collect();
        assert_eq!(names.len(), 2);
        names.push("log/00000000000000000001.json".to_owned());
        let bytes = place.read(&names[which]).await.unwrap();
        place.delete(&names[which]).await.unwrap();
        if !removed {
            place.create(&names[which], Content::Bytes(&bytes[..bytes.len() - 1])).await.unwrap();
        }
        let full = back_up(Arc::clone(&place), &content).await.unwrap();
        assert_eq!(full.parent, None, "{which} {removed}");
        assert_eq!(restore(Arc::clone(&place), &full).await.unwrap(), content);
        assert!(full.packs.iter().all(|pack| !names.contains(&pack.name)));
    }
}

#[tokio::test]
async fn packs_that_an_entry_calls_damaged_are_not_built_upon() {
    let place: Arc<dyn Backend> = Arc::new(MemoryBackend::default());
    small(Arc::clone(&place)).await;
    let repository = Repository::open(Arc::clone(&place)).await.unwrap();
    let series = super::sample::series();
    let before = repository.begin(series).await.unwrap();
    assert!(before.parent().is_some());
    let name = repository.history().await.unwrap().snapshots()[0].packs[0].name.clone();
    super::fault::append(&place, "damaged", &format!("\"names\": [{name:?}],\n")).await;
    assert!(repository.begin(series).await.unwrap().parent().is_none());
    // The one that began before must not be committed either: it names the pack.
    let mut writer = before;
    let content = files(&[("cluster/a.json", "stays"), ("cluster/b.json", "new"), ("files/deep/er/c", "stays too")]);
    super::sample::fill(&mut writer, &content).await.unwrap();
    let refused = repository.commit(writer.finish().await.unwrap(), super::sample::body()).await;
    assert!(matches!(refused, Err(snapback::store::StoreError::MustBeFull { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_pack_that_vanishes_while_a_snapshot_is_written_is_not_named_by_it() {
    let place: Arc<dyn Backend> = Arc::new(MemoryBackend::default());
    small(Arc::clone(&place)).await;
    let repository = Repository::open(Arc::clone(&place)).await.unwrap();
    let mut writer = repository.begin(super::sample::series()).await.unwrap();
    let content = files(&[("cluster/a.json", "stays"), ("cluster/b.json", "new"), ("files/deep/er/c", "stays too")]);
    super::sample::fill(&mut writer, &content).await.unwrap();
    for pack in place.list("packs/").await.unwrap() {
        place.delete(&pack.name).await.unwrap();
    }
    let refused = repository.commit(writer.finish().await.unwrap(), super::sample::body()).await;
    assert!(matches!(refused, Err(snapback::store::StoreError::MustBeFull { .. })), "{refused:?}");
    // The restart, which needs nothing but itself, is whole.
    let snapshot = super::sample::back_up(Arc::clone(&place), &content).await.unwrap();
    assert_eq!(super::sample::restore(Arc::clone(&place), &snapshot).await.unwrap(), content);
}
