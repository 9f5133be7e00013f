//! Which files a connection to etcd shows and trusts.

use std::path::PathBuf;

/// The files of a mutual TLS connection, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdTls {
    /// The CA that signed the members' certificates.
    pub ca: PathBuf,
    /// The client's certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name to expect in the members' certificates, where it is not the endpoint's own (a tunnel).
    pub server_name: Option<String>,
}
