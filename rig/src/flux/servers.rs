//! How helm-controller and the stand-in are started.

use std::path::PathBuf;

use crate::ports::Purpose;
use crate::process::ServerSpec;
use crate::servers::Site;

/// The real helm-controller.
pub const HELM_CONTROLLER: &str = "helm-controller";
/// The stand-in, under the name of what it stands in for.
pub const SOURCE_CONTROLLER: &str = "source-controller";
/// The namespace that Flux runs in on CozyStack.
const NAMESPACE: &str = "cozy-fluxcd";

/// The servers that `up --flux` starts after all others.
pub fn servers(site: &Site<'_>) -> Vec<ServerSpec> {
    vec![source_controller(site), helm_controller(site)]
}

/// This very program once more, as a process of its own: it can be stopped and killed like any server.
fn source_controller(site: &Site<'_>) -> ServerSpec {
    let port = site.ports.port(Purpose::Charts);
    ServerSpec {
        name: SOURCE_CONTROLLER.to_owned(),
        program: std::env::current_exe().unwrap_or_else(|_| PathBuf::from("rig")),
        args: vec![
            "serve-charts".to_owned(),
            format!("--kubeconfig={}", site.layout.kubeconfig().display()),
            format!("--port={port}"),
        ],
        env: Vec::new(),
        port: Some(port),
        log: site.layout.log(SOURCE_CONTROLLER),
    }
}

fn helm_controller(site: &Site<'_>) -> ServerSpec {
    let port = |purpose| format!("127.0.0.1:{}", site.ports.port(purpose));
    let variable = |name: &str, value: String| (name.to_owned(), value);
    ServerSpec {
        name: HELM_CONTROLLER.to_owned(),
        program: site.toolchain.program(HELM_CONTROLLER),
        args: vec![
            "--watch-all-namespaces=true".to_owned(),
            "--enable-leader-election=false".to_owned(),
            format!("--metrics-addr={}", port(Purpose::HelmMetrics)),
            format!("--health-addr={}", port(Purpose::HelmHealth)),
            "--concurrent=10".to_owned(),
            // 30 s by default: a chain of dependencies would take minutes to come up.
            "--requeue-dependency=1s".to_owned(),
            // 600 s by default: on SIGTERM it would wait for a release that is under way.
            "--graceful-shutdown-timeout=5s".to_owned(),
            "--kube-api-qps=300".to_owned(),
            "--kube-api-burst=600".to_owned(),
        ],
        env: vec![
            variable("KUBECONFIG", site.layout.kubeconfig().display().to_string()),
            variable("RUNTIME_NAMESPACE", NAMESPACE.to_owned()),
            variable("SOURCE_CONTROLLER_LOCALHOST", port(Purpose::Charts)),
            // It unpacks charts there; nothing may be left behind.
            variable("TMPDIR", site.layout.config("").display().to_string()),
            variable("HOME", site.layout.config("").display().to_string()),
        ],
        port: Some(site.ports.port(Purpose::HelmHealth)),
        log: site.layout.log(HELM_CONTROLLER),
    }
}
