//! Proxmox over real TLS and HTTP, against the stand-in.

use std::error::Error as _;

use snapback::progress::Silent;
use snapback::source::proxmox::{ApiToken, ProxmoxError, ProxmoxSource, Trust, capture_proxmox};
use snapback::store::{SourceRecord, SourceState};

use super::taken::{Notes, content, document, paths, tree, writer};
use crate::harness::proxmox::{Behaviour, Proxmox, TOKEN};

fn source(proxmox: &Proxmox, trust: Trust) -> ProxmoxSource {
    ProxmoxSource { address: proxmox.url().parse().unwrap(), token: ApiToken::parse(TOKEN).unwrap(), trust }
}

/// Captures and expects an error that leaves nothing behind and shows no secret.
async fn refused(source: &ProxmoxSource) -> ProxmoxError {
    let mut writer = writer();
    let error = capture_proxmox(source, &mut writer, &Silent).await.unwrap_err();
    let mut shown = format!("{error} {error:?}");
    let mut cause = error.source();
    while let Some(inner) = cause {
        shown.push_str(&inner.to_string());
        cause = inner.source();
    }
    assert!(!shown.contains("0f9e8d7c") && !shown.contains("backup-7d2a1c35"), "{shown}");
    assert!(paths(&tree(writer).await).await.is_empty());
    error
}

async fn taken(source: &ProxmoxSource) -> (SourceRecord, snapback::store::SnapshotTree) {
    let mut writer = writer();
    let record = capture_proxmox(source, &mut writer, &Silent).await.unwrap();
    (record, tree(writer).await)
}

#[tokio::test]
async fn jobs_storages_and_version_are_kept_and_two_captures_are_equal() {
    let proxmox = Proxmox::start(Behaviour::default());
    let source = source(&proxmox, Trust::Ca(proxmox.ca()));
    let (record, first) = taken(&source).await;
    assert_eq!((record.state, record.detail.as_str()), (SourceState::Complete, ""));
    assert_eq!(paths(&first).await, ["proxmox/cluster/backup.json", "proxmox/storage.json", "proxmox/version.json"]);
    let jobs = document(&first, "proxmox/cluster/backup.json").await;
    assert_eq!(jobs[0]["id"], "backup-7d2a1c35-91ff");
    assert_eq!(jobs[1]["prune-backups"]["keep-last"], "3");
    let version = content(&first, "proxmox/version.json").await;
    let canonical = r#"{"console":"xtermjs","release":"9.1","repoid":"5ac30304265fbd8e","version":"9.1.4"}"#;
    assert_eq!(String::from_utf8(version).unwrap(), canonical);

    // The clock has moved and the stand-in lists storages the other way round.
    proxmox_request(&source).await;
    let (_, second) = taken(&source).await;
    assert_eq!(first.root(), second.root());
    assert!(
        proxmox.requests().iter().all(|request| request.starts_with("GET /api2/json/")),
        "{:?}",
        proxmox.requests()
    );
}

/// One more request, so that the next capture meets the other order.
async fn proxmox_request(source: &ProxmoxSource) {
    let wrong = ProxmoxSource { token: ApiToken::parse("a@b!c=d").unwrap(), ..source.clone() };
    assert!(capture_proxmox(&wrong, &mut writer(), &Silent).await.is_err());
}

#[tokio::test]
async fn a_token_that_is_not_accepted_is_named_without_its_secret() {
    let proxmox = Proxmox::start(Behaviour::default());
    let token = ApiToken::parse("snapback@pve!backup=wrong-0f9e8d7c").unwrap();
    let source = ProxmoxSource { token, ..source(&proxmox, Trust::Ca(proxmox.ca())) };
    let error = refused(&source).await;
    assert!(
        matches!(&error, ProxmoxError::Unauthorized { token, reason, .. }
            if token == "snapback@pve!backup" && reason == "Authentication failed!"),
        "{error:?}"
    );
    assert!(error.hint().unwrap().contains("TOKENID"));
}

#[tokio::test]
async fn a_missing_privilege_says_which_and_how_to_grant_it() {
    let proxmox = Proxmox::start(Behaviour { sys_audit: false, ..Behaviour::default() });
    let error = refused(&source(&proxmox, Trust::Ca(proxmox.ca()))).await;
    assert!(
        matches!(&error, ProxmoxError::Forbidden { path, reason, .. }
            if path == "cluster/backup" && reason == "Permission check failed (/, Sys.Audit)"),
        "{error:?}"
    );
    assert!(error.hint().unwrap().contains("PVEAuditor"));
}

#[tokio::test]
async fn storages_that_the_token_may_not_see_make_the_source_partial() {
    let proxmox = Proxmox::start(Behaviour { datastore_audit: false, ..Behaviour::default() });
    let (record, tree) = taken(&source(&proxmox, Trust::Ca(proxmox.ca()))).await;
    assert_eq!(record.state, SourceState::Partial);
    assert!(record.detail.contains("Datastore.Audit on /storage"), "{}", record.detail);
    assert_eq!(document(&tree, "proxmox/storage.json").await.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn whom_to_trust_is_said_and_kept_to() {
    let proxmox = Proxmox::start(Behaviour::default());
    let other = Proxmox::start(Behaviour::default());
    for (trust, reason) in [
        (Trust::System, "CA that is not known"),
        (Trust::Ca(other.ca()), "CA that is not known"),
        (Trust::Pinned(other.fingerprint().parse().unwrap()), proxmox.fingerprint()),
    ] {
        let error = refused(&source(&proxmox, trust.clone())).await;
        assert!(
            matches!(&error, ProxmoxError::Untrusted { reason: found, .. } if found.contains(reason)),
            "{trust:?}: {error:?}"
        );
    }
    // Nothing was asked, so no token was sent.
    assert!(proxmox.requests().is_empty());

    taken(&source(&proxmox, Trust::Pinned(proxmox.fingerprint().parse().unwrap()))).await;
    let notes = Notes::default();
    capture_proxmox(&source(&proxmox, Trust::Anyone), &mut writer(), &notes).await.unwrap();
    assert!(notes.all().contains("insecure_skip_tls_verify"), "{}", notes.all());
}

#[tokio::test]
async fn a_name_that_is_not_in_the_certificate_is_refused() {
    let proxmox = Proxmox::start(Behaviour::default());
    let address = proxmox.url().replace("127.0.0.1", "localhost").parse().unwrap();
    let source = ProxmoxSource { address, ..source(&proxmox, Trust::Ca(proxmox.ca())) };
    let error = refused(&source).await;
    assert!(matches!(&error, ProxmoxError::Untrusted { reason, .. } if reason.contains("another name")), "{error:?}");
}

#[tokio::test]
async fn answers_that_break_off_or_are_no_json_are_errors() {
    for path in ["version", "cluster/backup", "storage", "access/permissions"] {
        let proxmox = Proxmox::start(Behaviour { malformed: Some(path), ..Behaviour::default() });
        let error = refused(&source(&proxmox, Trust::Ca(proxmox.ca()))).await;
        assert!(
            matches!(&error, ProxmoxError::NotJson { path: found, reason, .. } if found == path && reason.contains("ends too early")),
            "{error:?}"
        );
        let proxmox = Proxmox::start(Behaviour { broken_off: Some(path), ..Behaviour::default() });
        let error = refused(&source(&proxmox, Trust::Ca(proxmox.ca()))).await;
        assert!(matches!(&error, ProxmoxError::Broken { path: found, .. } if found == path), "{error:?}");
    }
}

#[tokio::test]
async fn a_node_behind_the_node_that_is_away_and_nobody_at_all_have_their_own_errors() {
    let proxmox = Proxmox::start(Behaviour { unreachable_node: Some("storage"), ..Behaviour::default() });
    let source = source(&proxmox, Trust::Ca(proxmox.ca()));
    let error = refused(&source).await;
    assert!(
        matches!(&error, ProxmoxError::Status { status: 595, reason, .. } if reason == "No route to host"),
        "{error:?}"
    );
    assert!(error.hint().unwrap().contains("another node"));

    // The CA file goes with the stand-in, so it is trusted otherwise.
    let source = ProxmoxSource { trust: Trust::Anyone, ..source };
    drop(proxmox);
    assert!(matches!(refused(&source).await, ProxmoxError::Connect { .. }));
}
