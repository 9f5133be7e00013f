//! Several etcd members: whichever of them die or hang, one that is left gives the snapshot, and what is wrong is told.

use std::path::Path;
use std::time::Duration;

use snapback::source::etcd::{EtcdError, EtcdSource, capture_etcd};

use super::etcd_process::{EtcdProcess, Place};
use super::taken::{Notes, document, paths, tree, writer};
use crate::harness::control_plane::ControlPlane;

/// Takes a snapshot: its `etcd/status.json`, and what was noted.
async fn taken(endpoints: &[&str]) -> Result<(serde_json::Value, String), EtcdError> {
    let endpoints = endpoints.iter().map(|&endpoint| endpoint.to_owned()).collect();
    let (mut writer, notes) = (writer(), Notes::default());
    let source = EtcdSource::Endpoints { endpoints, tls: None };
    let result = capture_etcd(&source, Path::new("/nonexistent"), &mut writer, &notes).await;
    let tree = tree(writer).await;
    if let Err(error) = result {
        assert!(paths(&tree).await.is_empty());
        return Err(error);
    }
    Ok((document(&tree, "etcd/status.json").await, notes.all()))
}

/// Members of one cluster, which know of each other.
fn members(control_plane: &ControlPlane, folder: &Path, count: usize) -> Vec<EtcdProcess> {
    let places: Vec<Place> = (0..count).map(|_| Place::take()).collect();
    let cluster: Vec<String> = places.iter().enumerate().map(|(n, place)| format!("m{n}={}", place.peer_url)).collect();
    let start = |(n, place): (usize, Place)| {
        let further = [
            format!("--name=m{n}"),
            format!("--initial-advertise-peer-urls={}", place.peer_url),
            format!("--initial-cluster={}", cluster.join(",")),
        ];
        EtcdProcess::start(control_plane, place, &folder.join(format!("m{n}-of-{count}")), &further)
    };
    places.into_iter().enumerate().map(start).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_left_gives_the_snapshot() {
    let control_plane = ControlPlane::shared();
    let folder = tempfile::tempdir().unwrap();
    let mut members = members(control_plane, folder.path(), 3);
    members[0].ask(&["put", "key", "value"]);
    let urls: Vec<String> = members.iter().map(|member| member.url().to_owned()).collect();
    let all: Vec<&str> = urls.iter().map(String::as_str).collect();
    let (status, notes) = taken(&all).await.unwrap();
    assert_eq!(status["source"], "endpoint");
    assert!(!notes.contains("does not answer"), "{notes}");

    // One hangs: its connections are taken, and nothing comes back.
    members[0].freeze();
    let (status, notes) = taken(&all).await.unwrap();
    assert!(notes.contains(&format!("etcd member `{}` does not answer: no answer within 10 s", all[0])), "{notes}");
    let cluster = status["cluster"].clone();

    // It dies.
    members[0].kill();
    let (status, notes) = taken(&all).await.unwrap();
    assert!(notes.contains(&format!("etcd member `{}` does not answer: ", all[0])), "{notes}");
    assert!(notes.contains("refused"), "{notes}");
    assert_eq!(status["cluster"], cluster);

    // Without a majority nothing can be written any more; what the last one has is taken, and it says what it lacks.
    members[1].kill();
    let lonely = format!("etcd member `{}` reports: ", all[2]);
    for _ in 0..600 {
        // It believes in its leader for a second or so.
        if taken(&all).await.unwrap().1.contains(&lonely) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (_, notes) = taken(&all).await.unwrap();
    assert!(notes.contains(&lonely), "{notes}");

    // The endpoints of two clusters are a mistake: which one is meant nobody knows.
    let other = self::members(control_plane, folder.path(), 1);
    other[0].ask(&["put", "key", "other"]);
    let error = taken(&[all[2], other[0].url()]).await.unwrap_err();
    assert!(matches!(error, EtcdError::SeveralClusters { .. }), "{error:?}");
    assert!(error.to_string().contains(all[2]) && error.to_string().contains(other[0].url()), "{error}");

    members[2].kill();
    let error = taken(&all).await.unwrap_err();
    let EtcdError::Unreachable { members } = &error else { panic!("{error:?}") };
    assert_eq!(members.iter().map(|member| member.endpoint.as_str()).collect::<Vec<_>>(), all);
}
