//! What a bucket, or the way to it, can do wrong: nothing is replaced, nothing is said to be there that is not.

use std::sync::Arc;

use snapback::store::backend::{Backend, BackendError, Content, S3Backend, S3Options, S3Place};
use snapback::store::{Repository, StoreError};

use super::sample::{back_up, many, restore};
use crate::harness::s3::S3Server;
use crate::harness::s3_between::{Asked, Between, Fate};

/// A place in a new bucket, with somebody in between.
async fn between(server: &S3Server, rule: impl Fn(&Asked) -> Fate + Send + Sync + 'static) -> (Between, S3Backend) {
    let between = Between::start(server.endpoint().trim_start_matches("http://"), rule);
    let place: S3Place = format!("s3://{}", server.bucket()).parse().unwrap();
    let options = S3Options { endpoint: Some(between.endpoint()), ..server.options() };
    let backend = S3Backend::new(place, &options).await.unwrap();
    (between, backend)
}

fn is_put(asked: &Asked) -> bool {
    asked.method == "PUT"
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_whose_answer_is_lost_is_known_for_what_it_was() {
    let server = S3Server::start();
    let lost = |asked: &Asked| if is_put(asked) && asked.number == 0 { Fate::LoseAnswer } else { Fate::Pass };
    let (between, place) = between(&server, lost).await;
    place.create("log/1", Content::Bytes(b"mine")).await.unwrap();
    assert_eq!(place.read("log/1").await.unwrap(), b"mine");
    let puts = between.asked().iter().filter(|asked| is_put(asked)).count();
    assert_eq!(puts, 2, "the answer was lost, so it is asked again");
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_else_who_was_faster_behind_a_lost_answer_is_found() {
    let server = S3Server::start();
    // Our first attempt is never carried out, and another writer comes before the second one.
    let refuse = |asked: &Asked| {
        if is_put(asked) && asked.number == 0 { Fate::Refuse(503, "SlowDown") } else { Fate::Pass }
    };
    let (_between, place) = between(&server, refuse).await;
    let other = S3Backend::new("s3://bucket-0".parse().unwrap(), &server.options()).await.unwrap();
    other.create("log/1", Content::Bytes(b"theirs")).await.unwrap();
    let refused = place.create("log/1", Content::Bytes(b"mine")).await;
    assert!(matches!(refused, Err(BackendError::Exists { .. })), "{refused:?}");
    assert_eq!(place.read("log/1").await.unwrap(), b"theirs");
}

#[tokio::test(flavor = "multi_thread")]
async fn storms_and_cut_bodies_are_waited_out() {
    let server = S3Server::start();
    // Two of three requests go wrong, each in another way.
    let storm = |asked: &Asked| match asked.number % 6 {
        0 => Fate::Refuse(503, "SlowDown"),
        1 => Fate::Refuse(500, "InternalError"),
        3 => Fate::CutBody,
        4 => Fate::Refuse(429, "TooManyRequests"),
        _ => Fate::Pass,
    };
    let (between, place) = between(&server, storm).await;
    let place: Arc<dyn Backend> = Arc::new(place);
    Repository::init(Arc::clone(&place)).await.unwrap();
    let snapshot = back_up(Arc::clone(&place), &many(300, 0)).await.unwrap();
    assert_eq!(restore(Arc::clone(&place), &snapshot).await.unwrap(), many(300, 0));
    assert!(between.asked().len() > 30, "{}", between.asked().len());
    // What does not end is an error that says what the server said.
    let (_between, place) = self::between(&server, |_| Fate::Refuse(503, "SlowDown")).await;
    let refused = place.read("repo.json").await;
    assert!(
        matches!(&refused, Err(BackendError::Refused { status: 503, code, .. }) if code == "SlowDown"),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_cannot_hold_a_repository_is_refused_at_init() {
    let server = S3Server::start();
    let reason = async |rule: fn(&Asked) -> Fate| {
        let (_between, place) = between(&server, rule).await;
        let refused = Repository::init(Arc::new(place)).await;
        match refused {
            Err(StoreError::Backend(BackendError::Unsuitable { reason, .. })) => reason,
            other => panic!("{other:?}"),
        }
    };
    // It cannot create without replacing, and says so.
    let refuses = |asked: &Asked| if is_put(asked) { Fate::Refuse(501, "NotImplemented") } else { Fate::Pass };
    assert!(reason(refuses).await.contains("`If-None-Match`"));
    // It says yes to everybody: several writers win.
    let pretends = |asked: &Asked| if is_put(asked) { Fate::Pretend } else { Fate::Pass };
    assert!(reason(pretends).await.contains("does not know `If-None-Match`"));
    // It does not look at the checksum.
    let blind = |asked: &Asked| {
        if is_put(asked) && asked.target.contains("-wrong") { Fate::Pretend } else { Fate::Pass }
    };
    assert!(reason(blind).await.contains("SHA-256"));
    // Nothing stays in a good one.
    let (_between, place) = between(&server, |_| Fate::Pass).await;
    assert_eq!(place.probe().await.unwrap(), "S3 with SHA-256");
    assert!(place.list("").await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_pretends_to_have_stored_is_not_committed() {
    let server = S3Server::start();
    let pretends =
        |asked: &Asked| if is_put(asked) && asked.target.contains("packs") { Fate::Pretend } else { Fate::Pass };
    let (_between, place) = between(&server, pretends).await;
    let place: Arc<dyn Backend> = Arc::new(place);
    Repository::init(Arc::clone(&place)).await.unwrap();
    let refused = back_up(Arc::clone(&place), &many(30, 0)).await;
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(place.list("log/").await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_listing_is_read_to_its_end() {
    let server = S3Server::start();
    let place = server.backend().await;
    let folder = server.folder("bucket-0").join("some/prefix/packs/ab");
    std::fs::create_dir_all(&folder).unwrap();
    for number in 0..2_345 {
        std::fs::write(folder.join(format!("{number:04}")), "x").unwrap();
    }
    let files = place.list("packs/").await.unwrap();
    assert_eq!(files.len(), 2_345);
    assert!(files.windows(2).all(|pair| pair[0].name < pair[1].name));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_and_comes_back_has_what_it_had() {
    let mut server = S3Server::start();
    let place: Arc<dyn Backend> = Arc::new(server.backend().await);
    Repository::init(Arc::clone(&place)).await.unwrap();
    let snapshot = back_up(Arc::clone(&place), &many(300, 0)).await.unwrap();
    server.stop();
    let asking = tokio::spawn({
        let place = Arc::clone(&place);
        async move { restore(place, &snapshot).await }
    });
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    server.restart();
    assert_eq!(asking.await.unwrap().unwrap(), many(300, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_fetches_each_log_entry_once() {
    let server = S3Server::start();
    let place: S3Place = format!("s3://{}", server.bucket()).parse().unwrap();
    let direct = S3Backend::new(place.clone(), &server.options()).await.unwrap();
    let direct: Arc<dyn Backend> = Arc::new(direct);
    Repository::init(Arc::clone(&direct)).await.unwrap();
    for turn in 0..3 {
        back_up(Arc::clone(&direct), &many(30, turn)).await.unwrap();
    }
    let watched = Between::start(server.endpoint().trim_start_matches("http://"), |_| Fate::Pass);
    let options = S3Options { endpoint: Some(watched.endpoint()), ..server.options() };
    let anew: Arc<dyn Backend> = Arc::new(S3Backend::new(place, &options).await.unwrap());
    back_up(Arc::clone(&anew), &many(30, 2)).await.unwrap();
    let mut fetched: std::collections::BTreeMap<String, usize> = std::collections::BTreeMap::new();
    for asked in watched.asked().into_iter().filter(|asked| asked.method == "GET" && asked.target.contains("/log/")) {
        *fetched.entry(asked.target).or_default() += 1;
    }
    assert_eq!(fetched.len(), 4, "{fetched:?}");
    // The first is looked at when the repository is opened, too: is it there at all?
    assert!(fetched.values().sum::<usize>() <= 5, "{fetched:?}");
}
