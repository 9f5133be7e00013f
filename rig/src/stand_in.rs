//! The stand-ins that `rig` itself is, each a process of its own.

use std::path::PathBuf;

use clap::Subcommand;
use rig::flux::RepositoryServer;
use rig::installer::{InstallerError, Release};
use rig::kubelet::Binding;
use rig::probe::client_from;
use rig::{RigError, loopback};

use super::say;

/// What `rig` can be in place of the real thing.
#[derive(Subcommand)]
pub(crate) enum StandIn {
    /// Flux's source-controller
    SourceController {
        #[arg(long)]
        kubeconfig: PathBuf,
        #[arg(long)]
        port: u16,
        /// Where the installer serves its chart repositories
        #[arg(long)]
        installer_port: Option<u16>,
    },
    /// CozyStack's installer
    Cozystack {
        #[arg(long)]
        kubeconfig: PathBuf,
        #[arg(long)]
        port: u16,
        /// The release that its image names, such as 0.37.2
        #[arg(long = "version", id = "release")]
        version: String,
    },
    /// The kubelet, for pods that are processes
    Kubelet {
        #[arg(long)]
        kubeconfig: PathBuf,
        #[arg(long)]
        bindings: PathBuf,
    },
}

impl StandIn {
    /// Runs until the process is ended.
    pub(crate) fn run(self) -> Result<(), RigError> {
        // One thread: what the kubelet starts dies with the thread that starts it.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(RigError::file("start", "the async runtime"))?;
        runtime.block_on(self.play())
    }

    async fn play(self) -> Result<(), RigError> {
        let log = |line: &str| {
            let _ = say(line);
        };
        match self {
            Self::SourceController { kubeconfig, port, installer_port } => {
                let server = match installer_port {
                    Some(port) => RepositoryServer::Installer(loopback::client(port)?),
                    None => RepositoryServer::Fixed(Release::SEEDED),
                };
                Ok(rig::flux::serve(client_from(kubeconfig).await?, server, port).await?)
            }
            Self::Cozystack { kubeconfig, port, version } => {
                let release = Release::of_version(&version).ok_or(InstallerError::UnknownRelease { version })?;
                Ok(rig::installer::run(client_from(kubeconfig).await?, release, port, &log).await?)
            }
            Self::Kubelet { kubeconfig, bindings } => {
                let text = std::fs::read(&bindings).map_err(RigError::file("read", &bindings))?;
                let bindings: Vec<Binding> = serde_json::from_slice(&text)
                    .map_err(|source| RigError::Json { what: "the bound processes".to_owned(), source })?;
                rig::kubelet::run(client_from(kubeconfig).await?, bindings, &log).await;
                Ok(())
            }
        }
    }
}
