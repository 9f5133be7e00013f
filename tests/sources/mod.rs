//! Sources beside the cluster, against real servers (Proxmox: a stand-in, since it cannot be had).

mod config;
