//! Flux on a throwaway cluster: the real helm-controller, and a stand-in for source-controller, whose module the Go proxy
//! does not serve.
//!
//! ```text
//!   HelmRelease ──helm-controller──> HelmChart ──stand-in──> status.artifact ──helm-controller──> Helm release
//!                                                   │                              ^
//!                                                   └── chart archives over HTTP ──┘  (127.0.0.1 only)
//! ```
//!
//! In: HelmRepositories and HelmCharts, and the index that the installer serves, or one release's where none runs. Out: their status as Flux's API describes it (source.toolkit.fluxcd.io/v1), and
//! the archives that it points at, made here from [`crate::installer::catalog`]. The URL in an artifact is that of a real cluster; the
//! environment variable `SOURCE_CONTROLLER_LOCALHOST` of helm-controller leads it to the stand-in, so that an object
//! does not depend on the ports of the cluster it was made in.

pub mod artifacts;
pub mod error;
pub mod index;
pub mod readiness;
pub mod servers;
pub mod source;

pub use error::FluxError;
pub use index::RepositoryServer;
pub use readiness::{install_crds, wait_until_reconciled};
pub use servers::{HELM_CONTROLLER, NAMESPACE, SOURCE_CONTROLLER, helm_controller, source_controller};
pub use source::serve;
