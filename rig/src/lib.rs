//! The throwaway servers behind `scripts/control-plane`: real etcd, kube-apiserver, controllers and kwok nodes in one
//! folder, gone without a trace afterwards. For tests, benchmarks and the quickstart; never shipped.
//!
//! ```text
//!   rig up ──> supervisor ──> setpriv --pdeathsig KILL ──> etcd, kube-apiserver, ...   (servers die with the supervisor)
//!                  ^                                                │
//!   rig stop, start, kill, pause, down, status ── loopback port ────┘  files: FOLDER/{rig.json, kubeconfig, pki, logs}
//! ```
//!
//! Invariants: everything listens on 127.0.0.1; a server never outlives its supervisor; a supervisor started with
//! `--until-stdin-closes` never outlives whoever holds the other end of the pipe; `down` leaves neither process nor file.

pub mod api;
pub mod audited;
pub mod certificates;
pub mod cluster;
pub mod control;
pub mod description;
pub mod disturb;
pub mod download;
pub mod error;
pub mod flux;
pub mod installer;
pub mod kubeconfig;
pub mod kubelet;
pub mod layout;
pub mod loopback;
pub mod nodes;
pub mod options;
pub mod ports;
pub mod probe;
pub mod process;
pub mod replay;
pub mod seed;
pub mod servers;
pub mod site;
pub mod supervisor;
pub mod templates;
pub mod toolchain;
pub mod touch;

pub use cluster::Cluster;
pub use error::RigError;
pub use options::UpOptions;
