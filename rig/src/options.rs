//! What kind of cluster is wanted.

/// How a cluster is brought up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpOptions {
    /// etcd and the API server only.
    pub bare: bool,
    /// Also Flux's helm-controller and what serves its charts.
    pub flux: bool,
    /// A second API server on the same etcd.
    pub second_api_server: bool,
    /// Also Flux and the CozyStack installer, each bound to the pods of its Deployment.
    pub fighting: bool,
    /// The template to copy; without one the cluster is made afresh.
    pub template: Option<String>,
    /// How many nodes kwok plays.
    pub nodes: u32,
    /// etcd writes through to the disk.
    pub durable: bool,
    /// Secrets and ConfigMaps are encrypted at rest.
    pub encryption: bool,
    /// Added to the API server's command line.
    pub api_server_flags: Vec<String>,
}

impl Default for UpOptions {
    fn default() -> Self {
        Self {
            bare: false,
            flux: false,
            second_api_server: false,
            fighting: false,
            template: None,
            nodes: 3,
            durable: false,
            encryption: false,
            api_server_flags: Vec::new(),
        }
    }
}
