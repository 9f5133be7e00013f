//! The command lines of the servers, and the files those need.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::certificates::{CLUSTER_CA, ETCD_CA, FRONT_PROXY_CA, SERVICE_ACCOUNT};
use crate::error::RigError;
use crate::flux;
use crate::kubeconfig;
use crate::kubelet::binding::{Binding, VERSION, leave_to_kubelet};
use crate::layout::write_private;
use crate::options::UpOptions;
use crate::ports::Purpose;
use crate::process::ServerSpec;
use crate::site::{SECOND_API_SERVER, Site};
use crate::toolchain::Toolchain;

/// etcd's name in commands and in `rig.json`.
pub const ETCD: &str = "etcd";
/// The API server's.
pub const API_SERVER: &str = "kube-apiserver";
/// The controller manager's.
pub const CONTROLLER_MANAGER: &str = "kube-controller-manager";
/// The scheduler's.
pub const SCHEDULER: &str = "kube-scheduler";
/// kwok's.
pub const KWOK: &str = "kwok";

/// The kubelet's stand-in, for controllers that are bound to their Deployments.
pub const KUBELET: &str = "kubelet";
/// The installer's stand-in, in place of the Deployment of this name.
pub const INSTALLER: &str = "cozystack";

/// Every request with its verb, URI (the dry-run parameter is in it) and user, once it is answered; no bodies.
const AUDIT_POLICY: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
";

/// The kwok stages that are played: nodes become Ready and stay so, pods run, volumes bind.
const STAGES: [&str; 4] = ["node/fast", "node/heartbeat-with-lease", "pod/fast", "volume/fast"];

/// Writes the configuration files and gives the servers in the order of their start: etcd, the API server, controllers.
///
/// # Errors
/// [`RigError::File`] when a file cannot be read or written.
pub fn prepare(site: &Site<'_>, options: &UpOptions) -> Result<Vec<ServerSpec>, RigError> {
    let layout = site.layout;
    let port = site.ports.port(Purpose::ApiServer);
    write_private(&layout.config("audit-policy.yaml"), AUDIT_POLICY.as_bytes())?;
    kubeconfig::write_for(layout, port, "admin", &layout.kubeconfig())?;
    for name in [CONTROLLER_MANAGER, SCHEDULER] {
        kubeconfig::write_for(layout, port, name, &layout.config(&format!("{name}.kubeconfig")))?;
    }
    if options.encryption {
        write_private(&layout.config("encryption.yaml"), encryption_configuration()?.as_bytes())?;
    }
    for (name, user) in [
        (flux::SOURCE_CONTROLLER, "system:serviceaccount:cozy-fluxcd:source-controller"),
        (flux::HELM_CONTROLLER, "system:serviceaccount:cozy-fluxcd:helm-controller"),
        (INSTALLER, "system:serviceaccount:cozy-system:cozystack"),
        (KUBELET, "kubelet"),
    ] {
        site.write_kubeconfig(name, user)?;
    }
    let bound = if options.fighting { bindings(site) } else { Vec::new() };
    write_private(&layout.config("kwok.yaml"), kwok_stages(site.toolchain, &bound)?.as_bytes())?;
    let mut specs = vec![etcd(site, options), api_server(site, options, API_SERVER, &layout.audit_log())];
    if options.second_api_server {
        kubeconfig::write_for(layout, site.port_of(SECOND_API_SERVER), "admin", &layout.second_kubeconfig())?;
        specs.push(api_server(site, options, SECOND_API_SERVER, &layout.second_audit_log()));
    }
    specs.extend([controller_manager(site), scheduler(site), kwok(site)]);
    if options.fighting {
        let path = layout.config("bindings.json");
        let text = serde_json::to_vec_pretty(&bound)
            .map_err(|source| RigError::Json { what: "the bound processes".to_owned(), source })?;
        write_private(&path, &text)?;
        specs.push(site.stand_in(KUBELET, vec![flag("bindings", &path)], None));
    } else {
        specs.extend([flux::source_controller(site, false), flux::helm_controller(site)]);
    }
    Ok(specs)
}

/// The processes that run while their Deployment has a pod.
fn bindings(site: &Site<'_>) -> Vec<Binding> {
    let port = site.ports.port(Purpose::Installer);
    let args = vec![format!("--port={port}"), format!("--version={VERSION}")];
    let bind =
        |namespace: &str, app: &str, spec| Binding { namespace: namespace.to_owned(), app: app.to_owned(), spec };
    vec![
        bind("cozy-system", INSTALLER, site.stand_in(INSTALLER, args, Some(port))),
        bind(flux::NAMESPACE, flux::SOURCE_CONTROLLER, flux::source_controller(site, true)),
        bind(flux::NAMESPACE, flux::HELM_CONTROLLER, flux::helm_controller(site)),
    ]
}

fn etcd(site: &Site<'_>, options: &UpOptions) -> ServerSpec {
    let layout = site.layout;
    let client = site.etcd_endpoint();
    // The one member never talks to a peer, so its peer listener takes any port; the advertised address is only a name
    // in its data, the same in every copy of a template.
    let mut args = vec![
        "--name=throwaway".to_owned(),
        flag("data-dir", &layout.etcd_data()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        "--listen-peer-urls=https://127.0.0.1:0".to_owned(),
        "--initial-advertise-peer-urls=https://127.0.0.1:2380".to_owned(),
        "--initial-cluster=throwaway=https://127.0.0.1:2380".to_owned(),
        "--client-cert-auth".to_owned(),
        flag("cert-file", &layout.certificate("etcd-server")),
        flag("key-file", &layout.key("etcd-server")),
        flag("trusted-ca-file", &layout.certificate(ETCD_CA)),
        "--peer-client-cert-auth".to_owned(),
        flag("peer-cert-file", &layout.certificate("etcd-peer")),
        flag("peer-key-file", &layout.key("etcd-peer")),
        flag("peer-trusted-ca-file", &layout.certificate(ETCD_CA)),
        "--log-level=warn".to_owned(),
    ];
    if !options.durable {
        args.push("--unsafe-no-fsync".to_owned());
    }
    site.spec(ETCD, args, Some(Purpose::Etcd))
}

fn api_server(site: &Site<'_>, options: &UpOptions, name: &str, audit_log: &Path) -> ServerSpec {
    let layout = site.layout;
    let mut args = vec![
        format!("--etcd-servers={}", site.etcd_endpoint()),
        flag("etcd-cafile", &layout.certificate(ETCD_CA)),
        flag("etcd-certfile", &layout.certificate("etcd-client")),
        flag("etcd-keyfile", &layout.key("etcd-client")),
        "--bind-address=127.0.0.1".to_owned(),
        // Endpoints may not hold a loopback address; this one is for documentation (RFC 5737) and routed nowhere.
        "--advertise-address=192.0.2.1".to_owned(),
        format!("--secure-port={}", site.port_of(name)),
        flag("tls-cert-file", &layout.certificate("kube-apiserver")),
        flag("tls-private-key-file", &layout.key("kube-apiserver")),
        flag("client-ca-file", &layout.certificate(CLUSTER_CA)),
        "--authorization-mode=RBAC".to_owned(),
        "--allow-privileged=true".to_owned(),
        "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        flag("service-account-signing-key-file", &layout.key(SERVICE_ACCOUNT)),
        flag("service-account-key-file", &layout.pki().join("service-account.pub")),
        // The aggregation layer, as kubeadm sets it up.
        flag("requestheader-client-ca-file", &layout.certificate(FRONT_PROXY_CA)),
        "--requestheader-allowed-names=front-proxy-client".to_owned(),
        "--requestheader-username-headers=X-Remote-User".to_owned(),
        "--requestheader-group-headers=X-Remote-Group".to_owned(),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
        flag("proxy-client-cert-file", &layout.certificate("front-proxy-client")),
        flag("proxy-client-key-file", &layout.key("front-proxy-client")),
        flag("audit-log-path", audit_log),
        flag("audit-policy-file", &layout.config("audit-policy.yaml")),
        "--profiling=false".to_owned(),
    ];
    if options.encryption {
        args.push(flag("encryption-provider-config", &layout.config("encryption.yaml")));
    }
    args.extend(options.api_server_flags.iter().cloned());
    let program = site.toolchain.program(API_SERVER);
    ServerSpec { program, port: Some(site.port_of(name)), ..site.spec(name, args, None) }
}

fn controller_manager(site: &Site<'_>) -> ServerSpec {
    let layout = site.layout;
    let args = vec![
        flag("kubeconfig", &layout.config("kube-controller-manager.kubeconfig")),
        "--leader-elect=false".to_owned(),
        "--secure-port=0".to_owned(),
        "--use-service-account-credentials=true".to_owned(),
        flag("service-account-private-key-file", &layout.key(SERVICE_ACCOUNT)),
        flag("root-ca-file", &layout.certificate(CLUSTER_CA)),
        flag("cluster-signing-cert-file", &layout.certificate(CLUSTER_CA)),
        flag("cluster-signing-key-file", &layout.key(CLUSTER_CA)),
        // The default of 20 requests a second makes every start wait for its own throttle.
        "--kube-api-qps=300".to_owned(),
        "--kube-api-burst=600".to_owned(),
    ];
    site.spec(CONTROLLER_MANAGER, args, None)
}

fn scheduler(site: &Site<'_>) -> ServerSpec {
    let args = vec![
        flag("kubeconfig", &site.layout.config("kube-scheduler.kubeconfig")),
        "--leader-elect=false".to_owned(),
        "--secure-port=0".to_owned(),
        "--kube-api-qps=300".to_owned(),
        "--kube-api-burst=600".to_owned(),
    ];
    site.spec(SCHEDULER, args, None)
}

fn kwok(site: &Site<'_>) -> ServerSpec {
    let args = vec![
        flag("kubeconfig", &site.layout.kubeconfig()),
        flag("config", &site.layout.config("kwok.yaml")),
        "--manage-all-nodes=true".to_owned(),
        "--node-ip=192.0.2.1".to_owned(),
        "--node-lease-duration-seconds=40".to_owned(),
    ];
    site.spec(KWOK, args, None)
}

fn flag(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}

/// kwok's stages of [`STAGES`] as one file of YAML documents, for all pods but the bound ones.
fn kwok_stages(toolchain: &Toolchain, bound: &[Binding]) -> Result<String, RigError> {
    let mut documents = Vec::new();
    for stage in STAGES {
        let folder = toolchain.program("kwok-stages").join(stage);
        let entries = fs::read_dir(&folder).map_err(RigError::file("read", &folder))?;
        let mut files: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
        files.sort();
        for file in files {
            let is_stage = file.extension().is_some_and(|extension| extension == "yaml");
            // The one other YAML file there lists the stages for kustomize.
            if !is_stage || file.file_name().is_some_and(|name| name == "kustomization.yaml") {
                continue;
            }
            let text = fs::read_to_string(&file).map_err(RigError::file("read", &file))?;
            // A storage class lies there too: see `nodes`.
            if text.contains("kind: Stage\n") {
                let mut stage: Value = serde_saphyr::from_str(&text)
                    .map_err(|error| RigError::Yaml { path: file.clone(), reason: error.to_string() })?;
                leave_to_kubelet(&mut stage, bound);
                // JSON is YAML.
                documents.push(stage.to_string());
            }
        }
    }
    Ok(documents.join("\n---\n"))
}

/// Secrets and ConfigMaps are encrypted with a fresh key; what was stored before in plain text stays readable.
fn encryption_configuration() -> Result<String, RigError> {
    let mut key = [0_u8; 32];
    let path = Path::new("/dev/urandom");
    fs::File::open(path).and_then(|mut file| file.read_exact(&mut key)).map_err(RigError::file("read", path))?;
    Ok(format!(
        "apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets, configmaps]
  providers:
  - aescbc:
      keys:
      - name: throwaway
        secret: {key}
  - identity: {{}}
",
        key = kubeconfig::base64(&key)?
    ))
}
