//! What can go wrong with Flux on a throwaway cluster.

use std::io;

/// Why charts cannot be served or releases do not become ready.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FluxError {
    /// The port for the archives cannot be listened on.
    #[error("cannot listen on 127.0.0.1:{port}")]
    Listen {
        /// The port.
        port: u16,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A chart could not be packed.
    #[error("cannot pack the chart `{chart}`")]
    Pack {
        /// The chart.
        chart: String,
        /// What the archive writer said.
        #[source]
        source: io::Error,
    },
    /// The API server refused a request or did not answer.
    #[error("cannot {action}")]
    Api {
        /// What was tried.
        action: String,
        /// What the client said.
        #[source]
        source: Box<kube::Error>,
    },
    /// The API server refused a plain request or did not answer.
    #[error(transparent)]
    Request(#[from] crate::api::ApiError),
    /// The CRDs of Flux are not to be had.
    #[error("cannot install the CRDs of Flux")]
    Crds(#[from] crate::seed::SeedError),
    /// Releases did not become ready in time.
    #[error("{} of {total} HelmReleases are not ready after {seconds} s: {}", waiting.len(), waiting.join("; "))]
    NotReady {
        /// Those that are not, each with its reason.
        waiting: Vec<String>,
        /// How many there are.
        total: usize,
        /// How long was waited.
        seconds: u64,
    },
}

impl FluxError {
    /// A function for `map_err` on requests to the API server.
    pub fn api(action: impl Into<String>) -> impl FnOnce(kube::Error) -> FluxError {
        let action = action.into();
        move |source| FluxError::Api { action, source: Box::new(source) }
    }
}
