//! A user of an OpenID Connect provider, in the kubeconfig as kubectl has it (`auth-provider`, `oidc`).

use std::path::PathBuf;

use serde_json::{Value, json};

use super::oidc_issuer::{CLIENT_ID, OidcIssuer, REFRESH_TOKEN, SUBJECT};
use super::taking::{connect_with, wait_until};
use crate::harness::control_plane::{ControlPlane, Options};
use crate::harness::snapback::Snapback;

fn with_provider(control_plane: &ControlPlane, name: &str, config: &Value) -> PathBuf {
    control_plane.changed_kubeconfig(name, |kubeconfig| {
        kubeconfig["users"][0] =
            json!({"name": "throwaway", "user": {"auth-provider": {"name": "oidc", "config": config}}});
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oidc_user_backs_up_and_an_expired_token_is_exchanged_or_told() {
    let issuer = OidcIssuer::start();
    let mut options = Options::default();
    for flag in [
        format!("--oidc-issuer-url={}", issuer.url()),
        format!("--oidc-ca-file={}", issuer.ca().display()),
        format!("--oidc-client-id={CLIENT_ID}"),
        "--oidc-signing-algs=ES256".to_owned(),
        "--oidc-username-prefix=oidc:".to_owned(),
    ] {
        options = options.api_server_flag(&flag);
    }
    let control_plane = ControlPlane::start(&options);
    let user = format!("--user=oidc:{SUBJECT}");
    control_plane.kubectl(&["create", "clusterrolebinding", "oidc", "--clusterrole=cluster-admin", &user]);

    let valid = with_provider(&control_plane, "valid", &json!({"id-token": issuer.token()}));
    let cluster = connect_with(valid.clone()).await;
    // The API server reads the provider's keys some moments after its start.
    wait_until(async || cluster.identity().await.is_ok()).await;

    let snapback = Snapback::new();
    snapback.ok(&["init"]);
    let backup = |kubeconfig: &PathBuf| {
        let mut command = snapback.command(&["backup", "--only", "cm/kube-public", "--kubeconfig"]);
        command.arg(kubeconfig);
        // The client trusts the provider as the machine does.
        command.env("SSL_CERT_FILE", issuer.ca());
        let run = snapback.take(command.output().unwrap());
        assert!(!run.all().contains("hunter2"), "a secret is shown: {}", run.all());
        run
    };
    let run = backup(&valid);
    assert_eq!(run.code, 0, "{}", run.all());
    assert_eq!(issuer.refreshed(), 0);

    let mut config = json!({
        "id-token": issuer.expired_token(), "refresh-token": REFRESH_TOKEN, "idp-issuer-url": issuer.url(),
        "client-id": CLIENT_ID, "client-secret": "secret-hunter2",
    });
    let run = backup(&with_provider(&control_plane, "refreshed", &config));
    assert_eq!(run.code, 0, "{}", run.all());
    assert_eq!(issuer.refreshed(), 1);

    config["refresh-token"] = json!("another-hunter2");
    let run = backup(&with_provider(&control_plane, "refused", &config));
    assert_eq!(run.code, 1, "{}", run.all());
    assert!(run.stderr.contains("error: no credentials for user `throwaway`: "), "{}", run.all());
    assert!(run.stderr.contains("hint: run `kubectl auth whoami`"), "{}", run.all());

    let expired = json!({"id-token": issuer.expired_token()});
    let run = backup(&with_provider(&control_plane, "expired", &expired));
    assert_eq!(run.code, 1, "{}", run.all());
    assert!(run.stderr.contains("ID token expired"), "{}", run.all());
    assert_eq!(snapback.json(&["snapshots"])["snapshots"].as_array().unwrap().len(), 2);
}
