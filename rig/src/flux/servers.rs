//! How helm-controller and the stand-in are started.

use crate::ports::Purpose;
use crate::process::ServerSpec;
use crate::site::Site;

/// The real helm-controller.
pub const HELM_CONTROLLER: &str = "helm-controller";
/// The stand-in, under the name of what it stands in for.
pub const SOURCE_CONTROLLER: &str = "source-controller";
/// The namespace that Flux runs in on CozyStack.
pub const NAMESPACE: &str = "cozy-fluxcd";

/// The stand-in. Without an installer every repository is as the seeded release has it.
pub fn source_controller(site: &Site<'_>, with_installer: bool) -> ServerSpec {
    let port = site.ports.port(Purpose::Charts);
    let mut args = vec![format!("--port={port}")];
    if with_installer {
        args.push(format!("--installer-port={}", site.ports.port(Purpose::Installer)));
    }
    site.stand_in(SOURCE_CONTROLLER, args, Some(port))
}

/// The real one.
pub fn helm_controller(site: &Site<'_>) -> ServerSpec {
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
            variable("KUBECONFIG", site.kubeconfig_of(HELM_CONTROLLER).display().to_string()),
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
