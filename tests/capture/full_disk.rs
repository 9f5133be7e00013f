//! The disk fills up in the middle of a backup of a real cluster: an error that says so, and nothing is lost.

use k8s_openapi::ByteString;
use serde_json::json;
use snapback::store::ContentHash;

use super::taking::{connect, create};
use crate::harness::control_plane::ControlPlane;
use crate::harness::own_mounts::with_own_mounts;
use crate::harness::snapback::Snapback;

/// A disk of 16 MiB that somebody else fills but for 4, then gives back.
const SCRIPT: &str = r#"
mount -t tmpfs -o size=16m none "$1"
cd "$1"
try() { echo "== $*"; "$SNAPBACK" "$@" 2>&1 && code=0 || code=$?; echo "== exit $code"; }
try init
try backup --only cm/full-disk/small
head -c 12582912 /dev/zero >filler
try backup --only cm/full-disk/*
echo "== left in tmp: $(ls snapshots/tmp | wc -l)"
try verify --quiet
try snapshots --output json
rm filler
try backup --only cm/full-disk/*
try verify --quiet
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_in_the_middle_of_a_backup_costs_nothing() {
    let control_plane = ControlPlane::shared();
    let cluster = connect(control_plane).await;
    create(&cluster, "/api/v1/namespaces", &json!({"metadata": {"name": "full-disk"}})).await;
    let config_maps = "/api/v1/namespaces/full-disk/configmaps";
    create(&cluster, config_maps, &json!({"metadata": {"name": "small"}, "data": {"a": "b"}})).await;
    for number in 0..10_u8 {
        // What no compression makes smaller.
        let noise =
            (0..22_000_u32).flat_map(|n| *ContentHash::of(&[&[number][..], &n.to_le_bytes()].concat()).as_raw());
        let data = json!({"noise": ByteString(noise.collect())});
        create(&cluster, config_maps, &json!({"metadata": {"name": format!("big-{number}")}, "binaryData": data}))
            .await;
    }

    let Some(mut command) = with_own_mounts(SCRIPT) else { return };
    let snapback = Snapback::new().with_kubeconfig(&control_plane.kubeconfig());
    let disk = tempfile::tempdir().unwrap();
    let plain = snapback.command::<&str>(&[]);
    command.arg(disk.path()).env_clear().envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let run = snapback.take(command.env("SNAPBACK", plain.get_program()).output().unwrap());
    assert_eq!(run.code, 0, "{}", run.all());
    let said: Vec<&str> = run.stdout.split("== ").collect();
    let exits: Vec<&str> = said.iter().filter_map(|part| part.strip_prefix("exit ")).map(str::trim).collect();
    assert_eq!(exits, ["0", "0", "1", "0", "0", "0", "0"], "{}", run.stdout);
    let full = said.iter().filter(|part| part.starts_with("backup")).nth(1).unwrap();
    assert!(full.contains("error: no space left to write "), "{full}");
    assert!(full.contains("hint: nothing was committed; free some space and run the command again"), "{full}");
    assert!(run.stdout.contains("== left in tmp: 0\n"), "{}", run.stdout);
    let listed = said.iter().find_map(|part| part.strip_prefix("snapshots --output json\n")).unwrap();
    let listed: serde_json::Value = serde_json::from_str(listed).unwrap();
    assert_eq!(listed["snapshots"].as_array().unwrap().len(), 1, "{listed}");
}
