//! The etcd snapshot stream, against a real etcd with mutual TLS.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use snapback::progress::Silent;
use snapback::source::etcd::{EtcdError, EtcdSource, EtcdTls, capture_etcd};
use snapback::store::backend::LocalBackend;
use snapback::store::{ContentHash, Repository, SourceState};

use super::cutting_proxy::CuttingProxy;
use super::restored_etcd::RestoredEtcd;
use super::taken::{Notes, content, document, paths, tree, writer};
use crate::harness::control_plane::ControlPlane;

const KEY: &str = "/snapback-tests/etcd";

fn tls(cluster: &ControlPlane) -> EtcdTls {
    let etcd = cluster.etcd();
    let identity = Some((PathBuf::from(&etcd.certificate), PathBuf::from(&etcd.key)));
    EtcdTls { ca: PathBuf::from(&etcd.ca), identity, server_name: None }
}

fn endpoints(endpoints: &[&str], tls: EtcdTls) -> EtcdSource {
    EtcdSource::Endpoints { endpoints: endpoints.iter().map(|&endpoint| endpoint.to_owned()).collect(), tls: Some(tls) }
}

/// Captures and expects an error that leaves nothing behind.
async fn refused(source: &EtcdSource) -> EtcdError {
    let mut writer = writer();
    let error = capture_etcd(source, Path::new("/nonexistent"), &mut writer, &Silent).await.unwrap_err();
    assert!(paths(&tree(writer).await).await.is_empty());
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn a_members_snapshot_starts_as_an_etcd_that_holds_the_keys() {
    let cluster = ControlPlane::shared();
    cluster.etcdctl(&["put", &format!("{KEY}/restored"), "the value"]);

    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::init(Arc::new(LocalBackend::new(folder.path().join("repository")))).await.unwrap();
    let mut writer = repository.begin(ContentHash::of(b"etcd")).await.unwrap();
    let source = endpoints(&[&cluster.etcd().url], tls(cluster));
    let record = capture_etcd(&source, Path::new("/nonexistent"), &mut writer, &Silent).await.unwrap();
    assert_eq!((record.state, record.detail.as_str()), (SourceState::Complete, ""));
    let tree = tree(writer).await;
    assert_eq!(paths(&tree).await, ["etcd/snapshot.db", "etcd/status.json"]);

    let snapshot = folder.path().join("snapshot.db");
    let bytes = content(&tree, "etcd/snapshot.db").await;
    std::fs::write(&snapshot, &bytes).unwrap();
    let status = document(&tree, "etcd/status.json").await;
    assert_eq!(status["source"], "endpoint");
    assert_eq!(status["size"], bytes.len());
    let (database, trailer) = bytes.split_at(bytes.len() - 32);
    assert_eq!(status["hash"], ContentHash::of(database).to_string());
    assert_eq!(status["hash"], ContentHash::from_raw(trailer.try_into().unwrap()).to_string());
    assert_eq!(status["version"], "3.7.0");

    let restored = RestoredEtcd::start(cluster, &snapshot, &folder.path().join("restored"));
    // etcdutl walks the whole b-tree and says which revision it found.
    assert_eq!(restored.status["version"].as_str().map(|version| version.starts_with("3.")), Some(true));
    assert!(restored.status["revision"].as_i64().unwrap() >= status["revision"].as_i64().unwrap());
    assert_eq!(restored.get(&format!("{KEY}/restored")), "the value");
    let namespaces = restored.get_keys("/registry/namespaces/");
    assert!(namespaces.contains("/registry/namespaces/kube-system"), "{namespaces}");
}

#[tokio::test]
async fn a_stream_that_is_cut_in_the_middle_is_an_error_and_no_snapshot() {
    let cluster = ControlPlane::shared();
    let whole = {
        let mut writer = writer();
        let source = endpoints(&[&cluster.etcd().url], tls(cluster));
        capture_etcd(&source, Path::new("/nonexistent"), &mut writer, &Silent).await.unwrap();
        content(&tree(writer).await, "etcd/snapshot.db").await.len()
    };
    for part in [0.05, 0.5, 0.95] {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let proxy = CuttingProxy::start(&cluster.etcd().url, (whole as f64 * part) as usize);
        let error = refused(&endpoints(&[&proxy.url()], tls(cluster))).await;
        assert!(
            matches!(&error, EtcdError::Broken { received, .. }
                if *received < whole as u64 && (part < 0.5 || *received > 0)),
            "{part}: {error:?}"
        );
        println!("{part} of {whole}: {error}");
    }
}

#[tokio::test]
async fn members_that_do_not_answer_are_named_with_the_reason() {
    let cluster = ControlPlane::shared();
    let url = cluster.etcd().url.as_str();
    let layout = rig::layout::Layout::new(cluster.folder());
    let folder = tempfile::tempdir().unwrap();
    let identity = |name: &str, made: rig::certificates::ClientCertificate| {
        let (cert, key) = (folder.path().join(format!("{name}.crt")), folder.path().join(format!("{name}.key")));
        std::fs::write(&cert, made.certificate).unwrap();
        std::fs::write(&key, made.key).unwrap();
        Some((cert, key))
    };
    let expired =
        rig::certificates::issue_etcd_client(&layout, "backup", rig::certificates::Validity::Expired).unwrap();
    let foreign =
        rig::certificates::issue_client(&layout, "backup", None, rig::certificates::Validity::Current).unwrap();
    let good = tls(cluster);
    let mixed_up = Some((PathBuf::from(&cluster.etcd().certificate), layout.key("admin")));
    for (name, tls, word) in [
        ("expired", EtcdTls { identity: identity("expired", expired), ..good.clone() }, "has expired"),
        ("foreign", EtcdTls { identity: identity("foreign", foreign), ..good.clone() }, "a CA that it does not know"),
        ("none", EtcdTls { identity: None, ..good.clone() }, "wants a client certificate"),
        ("mixed up", EtcdTls { identity: mixed_up, ..good.clone() }, "KeyMismatch"),
        ("unknown CA", EtcdTls { ca: layout.certificate("ca"), ..good.clone() }, "UnknownIssuer"),
        ("other name", EtcdTls { server_name: Some("etcd.internal".into()), ..good.clone() }, "valid for"),
    ] {
        let error = refused(&endpoints(&[url], tls)).await;
        let EtcdError::Unreachable { members } = &error else { panic!("{name}: {error:?}") };
        println!("{name}: {error}");
        assert!(members[0].endpoint == url && members[0].reason.contains(word), "{name}: {error}");
        assert!(error.hint().is_some());
    }
    assert!(matches!(refused(&endpoints(&[], good.clone())).await, EtcdError::NoEndpoint));
    let missing = EtcdTls { ca: "/nonexistent/ca.crt".into(), ..good };
    assert!(matches!(refused(&endpoints(&[url], missing)).await, EtcdError::TlsFile { .. }));
}

#[tokio::test]
async fn one_member_that_answers_is_enough_and_the_others_are_noted() {
    let cluster = ControlPlane::shared();
    // Bound and never listening: nobody else gets the port while the test runs.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").map(|free| free.local_addr().unwrap()).unwrap();
    let nobody = format!("https://{nobody}");
    let notes = Notes::default();
    let mut writer = writer();
    let source = endpoints(&[&nobody, &cluster.etcd().url], tls(cluster));
    capture_etcd(&source, Path::new("/nonexistent"), &mut writer, &notes).await.unwrap();
    assert!(notes.all().contains(&nobody), "{}", notes.all());
    assert_eq!(paths(&tree(writer).await).await.len(), 2);

    let error = refused(&endpoints(&[&nobody], tls(cluster))).await;
    println!("nobody: {error}");
    assert!(matches!(error, EtcdError::Unreachable { .. }), "{error:?}");
}
