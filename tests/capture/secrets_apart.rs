//! How long a compressed frame is tells something of what is in it, to whoever can add to it: so Secrets of two
//! namespaces never share a frame, nor does a Secret share one with anything else.

use k8s_openapi::ByteString;
use serde_json::json;

use super::taking::{connect, create};
use crate::harness::control_plane::ControlPlane;
use crate::harness::snapback::Snapback;

const NAMESPACES: [&str; 3] = ["frames-a", "frames-b", "frames-c"];

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_two_namespaces_never_share_a_frame() {
    let control_plane = ControlPlane::shared();
    let cluster = connect(control_plane).await;
    for namespace in NAMESPACES {
        create(&cluster, "/api/v1/namespaces", &json!({"metadata": {"name": namespace}})).await;
        for number in 0..3 {
            let name = format!("{namespace}-{number}");
            let data = json!({"mark": ByteString(mark("secrets", namespace).into())});
            let url = format!("/api/v1/namespaces/{namespace}/secrets");
            create(&cluster, &url, &json!({"metadata": {"name": name}, "data": data})).await;
            let url = format!("/api/v1/namespaces/{namespace}/configmaps");
            let data = json!({"mark": mark("configmaps", namespace)});
            create(&cluster, &url, &json!({"metadata": {"name": name}, "data": data})).await;
        }
    }
    let snapback = Snapback::new().with_kubeconfig(&control_plane.kubeconfig());
    snapback.ok(&["init"]);
    let patterns = NAMESPACES.iter().flat_map(|ns| [format!("secrets/{ns}/{ns}-*"), format!("cm/{ns}/{ns}-*")]);
    let only: Vec<String> = patterns.flat_map(|pattern| ["--only".to_owned(), pattern]).collect();
    snapback.ok(&[&["backup".to_owned()][..], &only].concat());
    assert_eq!(snapback.json(&["snapshots"])["snapshots"][0]["objects"], 18);

    let mut seen: Vec<Vec<String>> = Vec::new();
    for pack in walkdir::WalkDir::new(snapback.repository().join("packs")) {
        let pack = pack.unwrap();
        if pack.file_type().is_dir() {
            continue;
        }
        for frame in frames(&std::fs::read(pack.path()).unwrap()) {
            let holds = |kind: &str, namespace: &str| {
                let text = match kind {
                    "secrets" => base64(mark(kind, namespace).as_bytes()),
                    _ => mark(kind, namespace),
                };
                String::from_utf8_lossy(&frame).contains(&text)
            };
            let kinds = ["secrets", "configmaps"];
            let marks = kinds.iter().flat_map(|kind| NAMESPACES.iter().map(move |namespace| (*kind, *namespace)));
            let found = marks.filter(|(kind, namespace)| holds(kind, namespace));
            seen.push(found.map(|(kind, namespace)| format!("{kind}/{namespace}")).collect());
        }
    }
    seen.retain(|frame| !frame.is_empty());
    seen.sort();
    assert_eq!(
        seen,
        [
            // ConfigMaps share one: there is nothing to hide, and it costs less.
            vec!["configmaps/frames-a", "configmaps/frames-b", "configmaps/frames-c"],
            vec!["secrets/frames-a"],
            vec!["secrets/frames-b"],
            vec!["secrets/frames-c"],
        ]
    );
}

fn mark(kind: &str, namespace: &str) -> String {
    // A whole number of three bytes, so that its base64 has no end of its own.
    format!("{:=<42}", format!("the-mark-of-{kind}-in-{namespace}-"))
}

fn base64(bytes: &[u8]) -> String {
    serde_json::from_value(serde_json::to_value(ByteString(bytes.to_vec())).unwrap()).unwrap()
}

/// The raw bytes of each zstd frame; the skippable one at the end is left out.
fn frames(mut pack: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while pack.starts_with(&zstd::zstd_safe::MAGICNUMBER.to_le_bytes()) {
        let length = zstd::zstd_safe::find_frame_compressed_size(pack).unwrap();
        frames.push(zstd::decode_all(&pack[..length]).unwrap());
        pack = &pack[length..];
    }
    frames
}
