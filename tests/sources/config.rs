//! The example in docs/configuration.md is all of the schema, and it is read.

use std::path::Path;

use snapback::config::Config;
use snapback::source::etcd::EtcdSource;
use snapback::source::proxmox::Trust;

fn documented_example() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, rest) = page.split_once("```yaml\n").unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

#[test]
fn the_documented_example_is_read_as_it_says() {
    let folder = tempfile::tempdir().unwrap();
    // The token's place is the one thing that must exist.
    let text = documented_example().replace("{env: PROXMOX_TOKEN}", "{file: token}");
    std::fs::write(folder.path().join("snapback.yaml"), text).unwrap();
    std::fs::write(folder.path().join("token"), "snapback@pve!backup=secret").unwrap();

    let config = Config::load(&folder.path().join("snapback.yaml")).unwrap();
    assert_eq!(config.repository.as_deref(), Some(Path::new("/var/backups/snapback")));
    assert_eq!(config.cluster.kubeconfig, Some(folder.path().join("kubeconfig.yaml")));
    assert!(!config.capture.events && config.capture.only.is_empty() && config.capture.exclude.len() == 1);

    let sources = config.sources().unwrap();
    assert_eq!(sources.etcd_interval.as_secs(), 6 * 3600);
    let etcd = sources.etcd.unwrap();
    let EtcdSource::Endpoints { endpoints, tls: Some(tls) } = &etcd.source else { panic!("{etcd:?}") };
    assert_eq!((endpoints.len(), etcd.required), (3, true));
    assert_eq!(tls.ca, folder.path().join("etcd/ca.crt"));
    let proxmox = sources.proxmox.unwrap();
    assert_eq!(proxmox.source.address.port, 8006);
    assert_eq!(proxmox.source.trust, Trust::Ca(folder.path().join("pve-root-ca.pem")));
    assert_eq!(sources.files[1].source.folder, folder.path().join("../cozystack/packages/core/platform"));
}

#[test]
fn every_alternative_that_the_example_only_mentions_is_read_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("snapback.yaml");
    for etcd in [
        "{endpoints: ['https://a:2379'], ca: ca.crt, server_name: etcd.internal}",
        "{file: /a/snapshot.db, allow_unhashed: true}",
        "{command: [talosctl, -n, 10.0.0.11, etcd, snapshot, '{}'], timeout: 30m}",
    ] {
        std::fs::write(&path, format!("etcd: {etcd}\n")).unwrap();
        assert!(Config::load(&path).unwrap().sources().unwrap().etcd.is_some(), "{etcd}");
    }
    std::fs::write(folder.path().join("token"), "snapback@pve!backup=secret").unwrap();
    for trust in [format!("fingerprint: '{}'", vec!["AB"; 32].join(":")), "insecure_skip_tls_verify: true".to_owned()] {
        std::fs::write(&path, format!("proxmox:\n  url: https://pve1\n  token: {{file: token}}\n  {trust}\n")).unwrap();
        assert!(Config::load(&path).unwrap().sources().unwrap().proxmox.is_some(), "{trust}");
    }
}
