//! Connecting, and the errors that say why it cannot be done.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use snapback::cluster::{Cluster, ClusterError, ConnectOptions};

use super::taking::connect_with;
use crate::harness::control_plane::{ControlPlane, Options};

async fn ask(kubeconfig: &Path, context: Option<&str>) -> Result<String, ClusterError> {
    let options = ConnectOptions { kubeconfig: Some(kubeconfig.to_owned()), context: context.map(str::to_owned) };
    Cluster::connect(&options).await?.version().await
}

/// A kubeconfig with the cluster of the administrator's one, and another user.
fn with_user(control_plane: &ControlPlane, name: &str, user: &str) -> PathBuf {
    let user: serde_json::Value = serde_saphyr::from_str(user).unwrap();
    control_plane.changed_kubeconfig(name, |config| config["users"][0]["user"] = user)
}

/// A kubeconfig with the administrator's user, and another server.
fn with_server(control_plane: &ControlPlane, name: &str, server: &str) -> PathBuf {
    control_plane.changed_kubeconfig(name, |config| config["clusters"][0]["cluster"]["server"] = server.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_fail_says_what_is_wrong() {
    let control_plane = ControlPlane::shared();
    let cluster = connect_with(control_plane.kubeconfig()).await;
    cluster.ready().await.unwrap();
    assert_eq!(cluster.version().await.unwrap(), "v1.37.2");
    assert_eq!(cluster.server(), control_plane.server());
    let folder = control_plane.folder();

    let none = ask(&folder.join("none"), None).await.unwrap_err();
    assert!(matches!(&none, ClusterError::NoKubeconfig { places } if places[0].ends_with("/none")), "{none}");

    let wrong = ask(&control_plane.kubeconfig(), Some("wrong")).await.unwrap_err();
    let ClusterError::UnknownContext { name, known } = &wrong else { panic!("{wrong}") };
    assert_eq!((name.as_str(), known.len()), ("wrong", 1));
    assert!(wrong.to_string().contains(&known[0]), "{wrong}");
    assert_eq!(cluster.context(), known[0]);

    let garbage = folder.join("garbage");
    std::fs::write(&garbage, "token: hunter2\n- x").unwrap();
    let garbage = ask(&garbage, None).await.unwrap_err();
    assert!(matches!(garbage, ClusterError::BadKubeconfig { .. }), "{garbage}");
    assert!(!format!("{garbage} {garbage:?}").contains("hunter2"), "{garbage:?}");

    let expired = ask(&control_plane.expired_kubeconfig(), None).await.unwrap_err();
    assert!(matches!(expired, ClusterError::CertificateExpired { .. }), "{expired}");
    assert!(expired.to_string().contains("expired at 20"), "{expired}");

    let stranger = ask(&with_user(control_plane, "stranger", "{token: wrong}"), None).await.unwrap_err();
    assert!(matches!(stranger, ClusterError::Unauthorized { .. }), "{stranger}");

    let nobody = control_plane.kubeconfig_for("nobody", None);
    let forbidden = connect_with(nobody).await.get("/api/v1/secrets").await.unwrap_err();
    assert_eq!(forbidden.status(), Some(403));
    assert!(forbidden.to_string().contains(r#"cannot list resource "secrets""#), "{forbidden}");

    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let away = ask(&with_server(control_plane, "away", &format!("https://{closed}")), None).await.unwrap_err();
    assert!(matches!(away, ClusterError::Unreachable { .. }), "{away}");
    assert!(away.to_string().contains("refused"), "{away}");

    // Another authority than the one that the kubeconfig trusts.
    let other = ControlPlane::start(&Options::default());
    let mixed = ask(&with_server(control_plane, "mixed", other.server()), None).await.unwrap_err();
    assert!(matches!(mixed, ClusterError::Tls { .. }), "{mixed}");

    // etcd away: the API server lives, and is not ready.
    other.stop_server("etcd");
    let unready = connect_with(other.kubeconfig()).await.ready().await.unwrap_err();
    assert!(matches!(unready, ClusterError::NotReady { status: 500, .. }), "{unready}");
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_plugins_and_every_form_of_key_work() {
    let control_plane = ControlPlane::shared();
    let folder = control_plane.folder().to_owned();
    control_plane.apply(
        "{apiVersion: v1, kind: Namespace, metadata: {name: exec-plugins}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: reader, namespace: exec-plugins}}",
    );
    let token = control_plane.kubectl(&["create", "token", "reader", "-n", "exec-plugins"]);
    let credential = format!(
        r#"{{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{{"token":"{}"}}}}"#,
        token.trim()
    );
    std::fs::write(folder.join("credential.json"), credential).unwrap();
    let plugin = |arguments: &str| {
        format!(
            "{{exec: {{apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: sh, args: [-c, '{arguments}']}}}}"
        )
    };
    let good = plugin(&format!("cat {}/credential.json", folder.display()));
    assert_eq!(ask(&with_user(control_plane, "exec", &good), None).await.unwrap(), "v1.37.2");

    let bad = ask(&with_user(control_plane, "failing", &plugin("echo hunter2; exit 3")), None).await.unwrap_err();
    assert!(matches!(bad, ClusterError::Credentials { .. }), "{bad}");
    assert!(bad.to_string().contains("exec plugin ended with exit status: 3"), "{bad}");
    assert!(!format!("{bad} {bad:?}").contains("hunter2"), "what a plugin prints may be a token: {bad:?}");

    let none =
        "{exec: {apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: /nonexistent/login}}";
    let none = ask(&with_user(control_plane, "no-plugin", none), None).await.unwrap_err();
    assert!(none.to_string().contains("the exec plugin could not be started"), "{none}");

    // rustls takes certificates of version 3 only, which openssl makes when there are extensions.
    let extensions = folder.join("extensions");
    std::fs::write(&extensions, "basicConstraints=CA:FALSE\n").unwrap();
    // One certificate for each kind of key, each key in the forms that tools write.
    for (kind, generate, forms) in [
        ("p256", "ecparam -name prime256v1 -genkey -noout", vec!["ec", "pkcs8 -topk8 -nocrypt"]),
        ("p384", "ecparam -name secp384r1 -genkey -noout", vec!["ec", "pkcs8 -topk8 -nocrypt"]),
        (
            "rsa",
            "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048",
            vec!["rsa -traditional", "pkcs8 -topk8 -nocrypt"],
        ),
    ] {
        let file = |name: &str| folder.join(format!("{kind}.{name}")).display().to_string();
        openssl(&format!("{generate} -out {}", file("key")));
        openssl(&format!("req -new -key {} -subj /O=system:masters/CN={kind} -out {}", file("key"), file("csr")));
        let authority = folder.join("pki");
        let (certificate, key) = certificate_authority(&authority);
        openssl(&format!(
            "x509 -req -in {} -CA {certificate} -CAkey {key} -CAcreateserial -days 1 -extfile {} -out {}",
            file("csr"),
            extensions.display(),
            file("crt")
        ));
        for form in forms {
            openssl(&format!("{form} -in {} -out {}", file("key"), file("form")));
            let user = format!("{{client-certificate: {}, client-key: {}}}", file("crt"), file("form"));
            let kubeconfig = with_user(control_plane, kind, &user);
            let cluster = connect_with(kubeconfig).await;
            let identity = cluster.identity().await;
            assert!(identity.is_ok(), "{kind} in the form of `{form}`: {identity:?}");
        }
    }
}

/// The authority that the API server trusts for clients.
fn certificate_authority(pki: &Path) -> (String, String) {
    let certificate = pki.join("ca.crt");
    let key = pki.join("ca.key");
    assert!(certificate.exists() && key.exists(), "{:?}", std::fs::read_dir(pki).unwrap().collect::<Vec<_>>());
    (certificate.display().to_string(), key.display().to_string())
}

fn openssl(arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_of_both_kinds_are_used() {
    let control_plane = ControlPlane::shared();
    for scheme in ["http", "socks5"] {
        let proxy = super::proxy::Proxy::start(scheme).await;
        let path = control_plane.changed_kubeconfig(scheme, |config| {
            config["clusters"][0]["cluster"]["proxy-url"] = format!("{scheme}://{}", proxy.address()).into();
        });
        assert_eq!(ask(&path, None).await.unwrap(), "v1.37.2", "{scheme}");
        assert!(proxy.connections() > 0, "{scheme}: the proxy was passed by");
    }
}
