//! A stand-in for the kubelet, for pods whose one container is a process of this machine: a controller runs while its
//! Deployment has a pod, and at no other time.
//!
//! ```text
//!   Deployment ──controller-manager──> ReplicaSet ──> Pod ──scheduler──> node ──here──> process
//!        ^ replicas: 0 ... Pod is being deleted ──> SIGTERM ──> the process has ended ──> Pod is gone
//! ```
//!
//! In: [`Binding`]s, and the pods that they name. Out: processes, and the status of those pods; kwok plays all others.
//! Invariants: a process runs only while a pod of it exists, and a pod goes away only after its process has ended, as
//! with a real kubelet; of two pods of one controller the older one's process runs, and the other waits for it, as the
//! one that does not lead. Processes are children of this one and die with it.

pub mod binding;
pub mod pod;
pub mod watch;

pub use binding::Binding;
pub use watch::run;
