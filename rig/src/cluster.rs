//! A throwaway cluster and its servers, in this process: brought up, looked at, ended.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;

use crate::certificates;
use crate::description::{ApiServerEndpoint, Description, EtcdEndpoint, ServerStatus, SupervisorEndpoint};
use crate::error::RigError;
use crate::flux;
use crate::layout::{Layout, OwnedFolder};
use crate::nodes;
use crate::options::UpOptions;
use crate::ports::{PortBlock, Purpose};
use crate::probe::{self, Probe};
use crate::process::{Process, ProcessState, log_tail};
use crate::servers::{self, API_SERVER, CONTROLLER_MANAGER, ETCD, KUBELET, KWOK, SCHEDULER};
use crate::site::{SECOND_API_SERVER, Site};
use crate::templates;
use crate::toolchain::Toolchain;

/// Between two looks at something that is waited for.
const POLL: Duration = Duration::from_millis(50);
/// A start takes seconds; on a machine busy with other clusters it may take ten times as long.
const PATIENCE: Duration = Duration::from_secs(120);
/// What a server gets to end by itself on SIGTERM.
const GRACE: Duration = Duration::from_secs(10);

/// A cluster whose servers are children of this process; they end when it is dropped.
///
/// Fields are dropped in this order: the servers first, the folder they write to last.
pub struct Cluster {
    processes: BTreeMap<String, Process>,
    layout: Layout,
    toolchain: Toolchain,
    ports: PortBlock,
    token: String,
    order: Vec<String>,
    options: UpOptions,
    ready_after: Option<Duration>,
    folder: OwnedFolder,
}

impl Cluster {
    /// Makes the folder, certificates and configuration, and starts the servers until all that was asked for is ready.
    ///
    /// # Errors
    /// When the folder is in use, a program is missing, or a server does not become ready. Nothing is left then.
    pub async fn up(layout: Layout, toolchain: Toolchain, options: &UpOptions) -> Result<Self, RigError> {
        let folder = layout.create()?;
        let template = match &options.template {
            Some(name) => Some(templates::folder(name, &toolchain).await?),
            None => None,
        };
        let started = Instant::now();
        match template {
            Some(template) => templates::copy_into(&template, &layout)?,
            None => certificates::create_all(&layout)?,
        }
        let ports = PortBlock::take()?;
        let specs = servers::prepare(&Site { layout: &layout, toolchain: &toolchain, ports: &ports }, options)?;
        let order: Vec<String> = specs.iter().map(|spec| spec.name.clone()).collect();
        let processes = specs.into_iter().map(|spec| (spec.name.clone(), Process::new(spec))).collect();
        let (token, options) = (random_token()?, options.clone());
        let mut cluster =
            Self { processes, layout, toolchain, ports, token, order, options, ready_after: None, folder };
        cluster.describe()?;
        cluster.start(ETCD).await?;
        let second = cluster.options.second_api_server.then_some(SECOND_API_SERVER);
        if let Some(second) = second {
            // Beside the first one, since each takes seconds to begin.
            cluster.process(second)?.start()?;
        }
        cluster.start(API_SERVER).await?;
        if let Some(second) = second {
            cluster.start(second).await?;
        }
        if !cluster.options.bare {
            cluster.start_controllers().await?;
        }
        cluster.ready_after = Some(started.elapsed());
        cluster.describe()?;
        Ok(cluster)
    }

    /// All at once, since each takes a second to begin; then what shows that they work.
    async fn start_controllers(&mut self) -> Result<(), RigError> {
        for name in [CONTROLLER_MANAGER, SCHEDULER, KWOK] {
            self.process(name)?.start()?;
        }
        let client = self.client().await?;
        nodes::apply(&client, &self.toolchain, self.options.nodes).await?;
        self.wait_until(KWOK, || nodes::take_pods(&client)).await?;
        // Pods are refused without it.
        let accounts: Api<ServiceAccount> = Api::namespaced(client, "default");
        self.wait_until(CONTROLLER_MANAGER, || async {
            accounts.get("default").await.map(drop).map_err(|error| error.to_string())
        })
        .await?;
        if self.options.flux || self.options.fighting {
            for name in self.order.clone() {
                self.start(&name).await?;
            }
        }
        if self.options.fighting {
            for purpose in [Purpose::Charts, Purpose::HelmHealth, Purpose::Installer] {
                let probe = Probe::of_loopback(self.ports.port(purpose))?;
                self.wait_until(KUBELET, || probe.answers()).await?;
            }
        }
        Ok(())
    }

    /// Where everything of this cluster lies.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The ports of this cluster.
    pub fn ports(&self) -> &PortBlock {
        &self.ports
    }

    /// The names of all servers, in the order of their start.
    pub fn servers(&self) -> impl Iterator<Item = &str> {
        self.order.iter().map(String::as_str)
    }

    /// What a request to the supervisor must show.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// How long `up` took.
    pub fn ready_after(&self) -> Option<Duration> {
        self.ready_after
    }

    /// A client with the administrator's certificate.
    ///
    /// # Errors
    /// [`RigError::Client`] when the kubeconfig cannot be used.
    pub async fn client(&self) -> Result<kube::Client, RigError> {
        probe::client_from(self.layout.kubeconfig()).await
    }

    /// Starts a server and waits until it answers: etcd its health check, the API server `/readyz`, others just run.
    ///
    /// # Errors
    /// When there is no such server, it cannot be started or does not become ready.
    pub async fn start(&mut self, name: &str) -> Result<(), RigError> {
        if name == flux::HELM_CONTROLLER {
            flux::install_crds(self.client().await?, self.toolchain.folder()).await?;
        }
        self.process(name)?.start()?;
        if let Some(probe) = self.probe(name).await? {
            self.wait_until(name, || probe.answers()).await?;
        }
        if name == KWOK {
            nodes::apply(&self.client().await?, &self.toolchain, self.options.nodes).await?;
        }
        Ok(())
    }

    async fn probe(&self, name: &str) -> Result<Option<Probe>, RigError> {
        match name {
            ETCD => Probe::of_etcd(&self.layout, &self.site().etcd_endpoint()).map(Some),
            API_SERVER => Ok(Some(Probe::of_api_server(self.client().await?))),
            SECOND_API_SERVER => {
                Ok(Some(Probe::of_api_server(probe::client_from(self.layout.second_kubeconfig()).await?)))
            }
            flux::SOURCE_CONTROLLER => Probe::of_loopback(self.ports.port(Purpose::Charts)).map(Some),
            flux::HELM_CONTROLLER => Probe::of_loopback(self.ports.port(Purpose::HelmHealth)).map(Some),
            _ => Ok(None),
        }
    }

    fn site(&self) -> Site<'_> {
        Site { layout: &self.layout, toolchain: &self.toolchain, ports: &self.ports }
    }

    /// Ends a server with SIGTERM.
    ///
    /// # Errors
    /// When there is no such server or the system refuses the signal.
    pub async fn stop(&mut self, name: &str) -> Result<(), RigError> {
        self.process(name)?.stop(GRACE).await
    }

    /// Ends a server with SIGKILL.
    ///
    /// # Errors
    /// When there is no such server or the system refuses the signal.
    pub async fn kill(&mut self, name: &str) -> Result<(), RigError> {
        self.process(name)?.kill().await
    }

    /// Keeps a server from running (SIGSTOP).
    ///
    /// # Errors
    /// When there is no such server or the system refuses the signal.
    pub fn pause(&mut self, name: &str) -> Result<(), RigError> {
        self.process(name)?.pause()
    }

    /// Lets a paused server run on.
    ///
    /// # Errors
    /// When there is no such server or the system refuses the signal.
    pub fn resume(&mut self, name: &str) -> Result<(), RigError> {
        self.process(name)?.resume()
    }

    /// Ends every server and removes the folder, or with `keep` ends them in order and leaves the folder as it is.
    ///
    /// # Errors
    /// When the system refuses a signal or the folder cannot be removed.
    pub async fn down(mut self, keep: bool) -> Result<(), RigError> {
        for name in self.order.clone().iter().rev() {
            if keep {
                self.stop(name).await?;
            } else {
                self.kill(name).await?;
            }
        }
        if keep {
            self.describe()?;
            self.folder.keep();
            return Ok(());
        }
        let path = self.layout.folder();
        fs::remove_dir_all(path).map_err(RigError::file("remove", path))
    }

    /// What runs now and answers; also written to `rig.json`.
    ///
    /// # Errors
    /// [`RigError::File`] when it cannot be written.
    pub async fn status(&mut self) -> Result<Description, RigError> {
        let mut description = self.describe()?;
        for server in &mut description.servers {
            if !matches!(server.state, ProcessState::Running { .. }) {
                continue;
            }
            if let Some(probe) = self.probe(&server.name).await? {
                server.ready = Some(probe.answers().await.is_ok());
            }
        }
        description.write(&self.layout)?;
        Ok(description)
    }

    fn describe(&mut self) -> Result<Description, RigError> {
        let mut servers = Vec::new();
        for name in &self.order {
            if let Some(process) = self.processes.get_mut(name) {
                let state = process.state();
                let spec = process.spec();
                servers.push(ServerStatus {
                    name: name.clone(),
                    state,
                    ready: None,
                    port: spec.port,
                    log: spec.log.clone(),
                });
            }
        }
        let layout = &self.layout;
        let site = self.site();
        let description = Description {
            folder: layout.folder().to_owned(),
            kubeconfig: layout.kubeconfig(),
            audit_log: layout.audit_log(),
            toolchain: self.toolchain.folder().to_owned(),
            api_server: ApiServerEndpoint {
                url: site.api_server_endpoint(),
                ca: layout.certificate(certificates::CLUSTER_CA),
            },
            etcd: EtcdEndpoint {
                url: site.etcd_endpoint(),
                ca: layout.certificate(certificates::ETCD_CA),
                certificate: layout.certificate("etcd-client"),
                key: layout.key("etcd-client"),
            },
            supervisor: SupervisorEndpoint {
                pid: std::process::id(),
                port: self.ports.port(Purpose::Control),
                token: self.token.clone(),
            },
            template: self.options.template.clone(),
            ready_after_milliseconds: self.ready_after.and_then(|took| u64::try_from(took.as_millis()).ok()),
            servers,
        };
        description.write(layout)?;
        Ok(description)
    }

    fn process(&mut self, name: &str) -> Result<&mut Process, RigError> {
        let known = self.order.join(", ");
        self.processes.get_mut(name).ok_or_else(|| RigError::UnknownServer { name: name.to_owned(), known })
    }

    async fn wait_until<F, Fut>(&mut self, name: &str, mut look: F) -> Result<(), RigError>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<(), String>>,
    {
        let started = Instant::now();
        loop {
            let Err(last) = look().await else { return Ok(()) };
            let log = self.layout.log(name);
            if let ProcessState::Ended { status } = self.process(name)?.state() {
                return Err(RigError::Ended { server: name.to_owned(), status, log: log_tail(&log) });
            }
            if started.elapsed() > PATIENCE {
                let seconds = PATIENCE.as_secs();
                return Err(RigError::Timeout { server: name.to_owned(), seconds, last, log: log_tail(&log) });
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

fn random_token() -> Result<String, RigError> {
    use std::io::Read as _;
    let path = PathBuf::from("/dev/urandom");
    let mut bytes = [0_u8; 16];
    fs::File::open(&path).and_then(|mut file| file.read_exact(&mut bytes)).map_err(RigError::file("read", &path))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
