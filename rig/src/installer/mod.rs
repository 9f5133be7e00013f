//! A stand-in for CozyStack's installer (the Deployment cozy-system/cozystack of 0.x), which fights whoever changes the
//! platform.
//!
//! ```text
//!   image tag ──> release ──> migrations ──> namespaces, HelmRepositories, HelmReleases ──> every second again
//!                    └──────> chart repository over HTTP on 127.0.0.1, which the stand-in for source-controller reads
//! ```
//!
//! In: an API server, and the release that its image names. Out: that release's desired state, for as long as it runs.
//! Invariant: a cluster that is as the release wants it is only read, never written to.

pub mod apply;
pub mod bundle;
pub mod catalog;
pub mod chart;
pub mod definitions;
pub mod error;
pub mod last_applied;
pub mod manifest;
pub mod migration;
pub mod reconcile;
pub mod release;

pub use error::InstallerError;
pub use manifest::manifest;
pub use reconcile::run;
pub use release::{Release, version_of_image};
