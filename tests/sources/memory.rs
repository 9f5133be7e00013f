//! A big etcd database passes through the real command without being held in memory.
//!
//! With SNAPBACK_SOAK=1 the database has over 200 MB, else 60.

use std::path::Path;

use snapback::store::ContentHash;

use crate::harness::control_plane::{ControlPlane, Options};
use crate::harness::sample::soak;
use crate::harness::snapback::Snapback;

/// etcd takes requests of up to 1.5 MiB.
const VALUE_BYTES: usize = 1_000_000;

#[test]
fn a_big_database_is_streamed_and_not_held() {
    let values = if soak() { 200 } else { 60 };
    let cluster = ControlPlane::start(&Options::default());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(fill(&cluster, values));

    let snapback = Snapback::new().with_kubeconfig(&cluster.kubeconfig());
    snapback.ok(&["init"]);
    let without = peak_of_backup(&snapback, "");
    let etcd = cluster.etcd();
    let with = peak_of_backup(
        &snapback,
        &format!(
            "etcd:\n  required: true\n  endpoints: ['{}']\n  ca: {}\n  cert: {}\n  key: {}\n",
            etcd.url,
            etcd.ca.display(),
            etcd.certificate.display(),
            etcd.key.display()
        ),
    );
    let listed = snapback.json(&["ls", "latest:etcd"]);
    println!("{values} MB in etcd: peak {without} KiB without it, {with} KiB with it; {listed}");
    // What does not grow with the database: the connection's window, one segment's buffers, the compressor.
    let allowance = 30 * 1024;
    assert!(with < without + allowance, "{with} KiB with etcd, {without} KiB without");
}

/// Values that do not compress, so that every part of the way has all of them to carry.
async fn fill(cluster: &ControlPlane, values: usize) {
    let etcd = cluster.etcd();
    let read = |path: &Path| std::fs::read(path).unwrap();
    let tls = etcd_client::TlsOptions::new()
        .ca_certificate(etcd_client::Certificate::from_pem(read(&etcd.ca)))
        .identity(etcd_client::Identity::from_pem(read(&etcd.certificate), read(&etcd.key)));
    let options = etcd_client::ConnectOptions::new().with_tls(tls);
    let mut client = etcd_client::Client::connect([&etcd.url], Some(options)).await.unwrap();
    for number in 0..values {
        let mut value = Vec::with_capacity(VALUE_BYTES + 32);
        let mut hash = ContentHash::of(&number.to_le_bytes());
        while value.len() < VALUE_BYTES {
            value.extend_from_slice(hash.as_raw());
            hash = ContentHash::of(hash.as_raw());
        }
        client.put(format!("/snapback-tests/memory/{number}"), value, None).await.unwrap();
    }
}

/// The most memory that a backup held at once, in KiB.
fn peak_of_backup(snapback: &Snapback, configuration: &str) -> u64 {
    std::fs::write(snapback.home().join("snapback.yaml"), configuration).unwrap();
    let (run, peak) = snapback.measured(&["backup"]);
    assert_eq!(run.code, 0, "{}", run.all());
    peak
}
