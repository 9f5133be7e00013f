//! A small CozyStack, made through the API: real CRDs, platform and tenant namespaces, HelmReleases, custom resources,
//! workloads, secrets, RBAC.
//!
//! In: a client, a size, a seed number, the toolchain folder. Out: a cluster with that many objects and a [`SeedReport`].
//! Invariant: size and seed number decide every object that is posted; only what servers and controllers add
//! (uids, times, revisions) differs between two runs.

pub mod access;
pub mod configuration;
pub mod controllers;
pub mod crds;
pub mod error;
pub mod installation;
pub mod planned;
pub mod platform;
pub mod random;
pub mod resources;
pub mod run;
pub mod sample;
pub mod sample_text;
pub mod size;
pub mod template;
pub mod workloads;

/// Every source text that the content of a seeded cluster follows from.
pub const SOURCES: &[&str] = &[
    include_str!("access.rs"),
    include_str!("configuration.rs"),
    include_str!("controllers.rs"),
    include_str!("crds.rs"),
    include_str!("installation.rs"),
    include_str!("planned.rs"),
    include_str!("platform.rs"),
    include_str!("random.rs"),
    include_str!("resources.rs"),
    include_str!("run.rs"),
    include_str!("sample.rs"),
    include_str!("sample_text.rs"),
    include_str!("size.rs"),
    include_str!("template.rs"),
    include_str!("workloads.rs"),
    include_str!("../flux/servers.rs"),
    include_str!("../installer/bundle.rs"),
    include_str!("../installer/catalog.rs"),
    include_str!("../installer/chart.rs"),
    include_str!("../installer/definitions.rs"),
    include_str!("../installer/last_applied.rs"),
    include_str!("../installer/manifest.rs"),
    include_str!("../installer/release.rs"),
    include_str!("../flux/source.rs"),
    include_str!("../../../scripts/toolchain.d/crds.txt"),
];

pub use crds::{CRD_LIST, Crd};
pub use error::SeedError;
pub use run::{SeedOptions, SeedReport, seed};
pub use template::fill_template;
