//! I4: a capture is one revision, whatever is written meanwhile and whatever the API server forgets.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::Value;
use snapback::cluster::{Cluster, ListError, ListReader};
use snapback::progress::{Progress, ProgressEvent};
use snapback::snapshot::{CaptureError, CaptureOptions, capture_cluster};
use snapback::store::SnapshotWriter;

use super::list_answers::{ROLES, answer, goes_on};
use super::taking::{Taken, connect, crd, create_crd, only, take_after, wait_until};
use super::turns::{TYPES, Writer, is_one_state, plural, prepare, turn, turns_of, url};
use crate::harness::control_plane::{ControlPlane, Options};
use crate::harness::sample::soak;

/// The way of tools that list type by type.
async fn list_each(cluster: &Cluster) -> Vec<u64> {
    let mut lists: Vec<usize> = (0..TYPES).collect();
    lists.sort_by_key(|n| plural(*n));
    let mut turns = vec![0; TYPES];
    for n in lists {
        let list: Value = serde_json::from_slice(&cluster.get(&url(n)).await.unwrap()).unwrap();
        turns[n] = turn(&list["items"][0]);
    }
    turns
}

#[tokio::test(flavor = "multi_thread")]
async fn captures_under_writes_are_one_state_each_and_type_by_type_lists_are_not() {
    let control_plane = ControlPlane::start(&Options::default());
    let cluster = connect(&control_plane).await;
    prepare(&cluster).await;
    let writer = Writer::start(&cluster);
    let captures = if soak() { 200 } else { 12 };
    let mut states = std::collections::BTreeSet::new();
    for _ in 0..captures {
        let taken = take_after(&cluster, &only(&["*.test.snapback"]), None).await.unwrap();
        assert_eq!(taken.capture.unlistable, []);
        let turns = turns_of(&taken).await;
        assert!(is_one_state(&turns), "{turns:?} at {}", taken.capture.revision);
        states.insert(turns);
    }
    let mut torn = 0;
    for _ in 0..200 {
        torn += usize::from(!is_one_state(&list_each(&cluster).await));
        if torn > 0 {
            break;
        }
    }
    assert!(writer.stop().await > 0, "the writer did nothing");
    assert!(states.len() > 1, "nothing was written between two captures");
    assert!(torn > 0, "type-by-type lists were never torn, so this test shows nothing");
}

/// Waits until the API server has forgotten a revision of this list (each list forgets on its own: what its cache still
/// has is answered behind a compaction too, exactly).
async fn until_forgotten(cluster: &Cluster, url: &str, revision: u64) {
    wait_until(async || {
        let mut then = ListReader::exact(cluster, url.to_owned(), revision);
        matches!(then.next().await, Err(ListError::Gone { .. }))
    })
    .await;
}

/// Of a type with two versions, which a capture lists when it has the CRDs. Nobody writes to it: what is written often
/// stays in the API server's cache for long.
const QUIET: &str = "/apis/test.snapback/v1/quiets";

/// The same for the newest revision that there is now.
async fn until_now_is_forgotten(cluster: &Cluster) {
    let mut newest = ListReader::latest(cluster, QUIET.to_owned());
    newest.next().await.unwrap();
    until_forgotten(cluster, QUIET, newest.revision().unwrap()).await;
}

/// Holds so many attempts of a capture until their revision is forgotten, each where it writes its first objects: the CRDs,
/// which some types wait for.
struct Slow {
    runtime: tokio::runtime::Handle,
    cluster: Cluster,
    attempts: u64,
    held: AtomicU64,
    notes: Mutex<Vec<String>>,
}

impl Slow {
    fn new(cluster: &Cluster, attempts: u64) -> Self {
        let (runtime, cluster) = (tokio::runtime::Handle::current(), cluster.clone());
        Self { runtime, cluster, attempts, held: AtomicU64::new(0), notes: Mutex::new(Vec::new()) }
    }
}

impl Progress for Slow {
    fn report(&self, event: ProgressEvent) {
        match event {
            ProgressEvent::Note(note) => self.notes.lock().unwrap().push(note),
            ProgressEvent::Done(_) => {
                // Every attempt but the first begins with a note.
                let attempt = self.notes.lock().unwrap().len() as u64;
                if attempt >= self.attempts || self.held.load(Ordering::Relaxed) > attempt {
                    return;
                }
                self.held.store(attempt + 1, Ordering::Relaxed);
                let (runtime, cluster) = (self.runtime.clone(), self.cluster.clone());
                std::thread::spawn(move || runtime.block_on(until_now_is_forgotten(&cluster))).join().unwrap();
            }
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_revision_that_is_compacted_is_given_up_and_never_mixed() {
    let control_plane = ControlPlane::start(&Options::default().api_server_flag("--etcd-compaction-interval=1s"));
    let cluster = connect(&control_plane).await;
    prepare(&cluster).await;
    create_crd(&cluster, &crd("quiets", &["v1", "v2"])).await;
    let writer = Writer::start(&cluster);

    // A list that goes on behind a compaction, page by page.
    let mut reader = ListReader::latest(&cluster, ROLES.to_owned()).with_limit(1);
    assert_eq!(reader.next().await.unwrap().unwrap().len(), 1);
    let revision = reader.revision().unwrap();
    let client = control_plane.client().await;
    let begin = format!("limit=1&resourceVersion={revision}&resourceVersionMatch=Exact");
    let (_, first) = answer(&client, &begin).await;
    until_forgotten(&cluster, ROLES, revision).await;
    let gone = reader.next().await.unwrap_err();
    assert!(matches!(gone, ListError::Gone { revision: lost, .. } if lost == revision), "{gone}");
    // The server's own way on is a trap: with the 410 of a later page comes a token that leads to another revision.
    let (status, later) = answer(&client, &goes_on(&first)).await;
    assert_eq!(status, 410);
    let (status, other) = answer(&client, &goes_on(&later)).await;
    assert_eq!(status, 200);
    assert!(other["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap() > revision, "{other}");
    let (status, refused) = answer(&client, &begin).await;
    assert_eq!((status.as_u16(), refused["metadata"]["continue"].as_str()), (410, None));
    // Lost once and twice: begun anew, and whole.
    for lost in [1, 2] {
        let slow = Slow::new(&cluster, lost);
        let mut snapshot = SnapshotWriter::scratch(None);
        let capture = capture_cluster(&cluster, &CaptureOptions::default(), &mut snapshot, &slow).await.unwrap();
        let taken = Taken { capture, tree: snapshot.finish().await.unwrap().tree() };
        assert_eq!((u64::from(taken.capture.attempts), taken.capture.unlistable.len()), (lost + 1, 0));
        assert!(slow.notes.lock().unwrap()[0].contains("is gone"), "{:?}", slow.notes);
        let turns = turns_of(&taken).await;
        assert!(is_one_state(&turns), "{turns:?}");
        assert_eq!(taken.files().await.len() as u64, taken.capture.objects + 1);
    }
    // Lost every time: an error that says so.
    let mut snapshot = SnapshotWriter::scratch(None);
    let slow = Slow::new(&cluster, u64::MAX);
    match capture_cluster(&cluster, &CaptureOptions::default(), &mut snapshot, &slow).await {
        Err(CaptureError::NeverStill { attempts: 4, reason }) => assert!(reason.contains("is gone"), "{reason}"),
        other => panic!("{other:?}"),
    }
    writer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn types_that_come_while_they_are_listed_begin_the_capture_anew() {
    let control_plane = ControlPlane::start(&Options::default());
    let cluster = connect(&control_plane).await;
    struct Newcomer(tokio::runtime::Handle, Cluster, AtomicBool);
    impl Progress for Newcomer {
        fn report(&self, event: ProgressEvent) {
            if matches!(event, ProgressEvent::Done(_)) && !self.2.swap(true, Ordering::Relaxed) {
                let (runtime, cluster) = (self.0.clone(), self.1.clone());
                let made = move || runtime.block_on(create_crd(&cluster, &crd("lates", &["v1"])));
                std::thread::spawn(made).join().unwrap();
            }
        }
    }
    let newcomer = Newcomer(tokio::runtime::Handle::current(), cluster.clone(), AtomicBool::new(false));
    let mut snapshot = SnapshotWriter::scratch(None);
    let capture = capture_cluster(&cluster, &CaptureOptions::default(), &mut snapshot, &newcomer).await.unwrap();
    let taken = Taken { capture, tree: snapshot.finish().await.unwrap().tree() };
    assert_eq!(taken.capture.attempts, 2);
    assert_eq!(taken.types().await.find("test.snapback", "lates").unwrap().objects(), Some(0));
}
