//! Everything that can go wrong with an etcd snapshot, as facts.

use std::error::Error as _;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::store::{ContentHash, StoreError};

/// An etcd snapshot that does not count.
#[derive(Debug, thiserror::Error)]
pub enum EtcdError {
    /// The list of endpoints is empty.
    #[error("no etcd endpoint is given")]
    NoEndpoint,
    /// A certificate or key file cannot be read.
    #[error("cannot read `{path}`")]
    TlsFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Not one endpoint told its status.
    #[error("no etcd member answers: {}", Listed(.members))]
    Unreachable {
        /// Each endpoint with what came back.
        members: Vec<UnreachableMember>,
    },
    /// The endpoints are not members of one cluster.
    #[error(
        "the etcd endpoints belong to different clusters: `{first}` to {first_cluster:x}, `{second}` to {second_cluster:x}"
    )]
    SeveralClusters {
        /// An endpoint.
        first: String,
        /// Its cluster's id.
        first_cluster: u64,
        /// An endpoint of another cluster.
        second: String,
        /// That cluster's id.
        second_cluster: u64,
    },
    /// The member broke off, or refused, the snapshot.
    #[error("the snapshot stream of `{endpoint}` broke off after {received} bytes: {reason}")]
    Broken {
        /// The endpoint.
        endpoint: String,
        /// Bytes that had arrived.
        received: u64,
        /// What the client said.
        reason: String,
    },
    /// The member sent nothing for longer than the limit.
    #[error("the snapshot stream of `{endpoint}` stood still for {} s after {received} bytes", .limit.as_secs())]
    Stalled {
        /// The endpoint.
        endpoint: String,
        /// Bytes that had arrived.
        received: u64,
        /// How long it was waited for.
        limit: Duration,
    },
    /// The bytes do not have the hash that stands behind them.
    #[error("the etcd snapshot is damaged: it ends with the SHA-256 {expected}, but its content has {found}")]
    HashMismatch {
        /// The last 32 bytes.
        expected: ContentHash,
        /// SHA-256 of everything before.
        found: ContentHash,
    },
    /// No etcd snapshot has this size: it was cut off, or is another kind of file.
    #[error(
        "{size} bytes are no etcd snapshot: one is whole pages of 512 bytes and 32 bytes of SHA-256, so it was cut off or is another kind of file"
    )]
    NotASnapshot {
        /// Bytes.
        size: u64,
    },
    /// The first page is not that of an etcd database.
    #[error("the content is no etcd database: its first page has no bbolt mark")]
    NotADatabase,
    /// A copy of a member's own file has no hash behind it, so nothing shows that it is whole.
    #[error(
        "the etcd file has no SHA-256 at its end: it is a copy of a database file, and nothing shows that it is whole"
    )]
    Unhashed,
    /// The file cannot be read.
    #[error("cannot read the etcd snapshot `{path}`")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The bytes stop coming before their end.
    #[error("cannot read the etcd snapshot to its end")]
    Read {
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The path is a folder, a device or the like.
    #[error("`{path}` is not a regular file")]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// No command line is given.
    #[error("the etcd snapshot command is empty")]
    NoCommand,
    /// The command cannot be started.
    #[error("cannot run `{program}`")]
    CommandStart {
        /// The program.
        program: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The command ended with an error.
    #[error("`{program}` failed ({status}){}", Said(.stderr))]
    CommandFailed {
        /// The program.
        program: String,
        /// `exit status: 1`, or the signal that ended it.
        status: String,
        /// The end of what it wrote to stderr.
        stderr: String,
    },
    /// The command said that all went well, and there is no snapshot.
    #[error("`{program}` ended well, but wrote no snapshot{}", Said(.stderr))]
    CommandWroteNothing {
        /// The program.
        program: String,
        /// The end of what it wrote to stderr.
        stderr: String,
    },
    /// The command did not end in time and was killed.
    #[error("`{program}` did not end within {} s and was killed{}", .limit.as_secs(), Said(.stderr))]
    CommandTimeout {
        /// The program.
        program: String,
        /// The limit.
        limit: Duration,
        /// The end of what it wrote to stderr.
        stderr: String,
    },
    /// The private folder for the command's file cannot be made or read.
    #[error("cannot use a temporary folder in `{folder}`")]
    Scratch {
        /// The folder it was to lie in.
        folder: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The repository failed, not etcd.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl EtcdError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Unreachable { members } if members.iter().any(|member| member.reason.contains("UnknownIssuer")) => {
                "`etcd.ca` must be the CA that signed the members' certificates (Talos: `talosctl get etcdsecret`; \
                 kubeadm: /etc/kubernetes/pki/etcd/ca.crt)"
            }
            Self::Unreachable { members }
                if members.iter().any(|member| {
                    member.reason.contains("client certificate")
                        || member.reason.contains("client's certificate")
                        || member.reason.contains("KeyMismatch")
                }) =>
            {
                "check that `etcd.cert` and `etcd.key` belong together, are not expired and are signed by etcd's client CA"
            }
            Self::Unreachable { .. } => "check `etcd.endpoints`, and that port 2379 can be reached from here",
            Self::SeveralClusters { .. } => "`etcd.endpoints` must name members of the one cluster that is backed up",
            Self::Unhashed => {
                "take it with `etcdctl snapshot save` or `talosctl etcd snapshot`, or set `etcd.allow_unhashed: true` \
                 if the member was stopped when the file was copied"
            }
            Self::HashMismatch { .. } | Self::NotASnapshot { .. } => "take the etcd snapshot again",
            Self::CommandTimeout { .. } => "raise `etcd.timeout`",
            _ => return None,
        })
    }
}

/// An endpoint that told nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreachableMember {
    /// As configured.
    pub endpoint: String,
    /// What came back.
    pub reason: String,
}

struct Listed<'a>(&'a [UnreachableMember]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, UnreachableMember { endpoint, reason }) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}`{endpoint}`: {reason}")?;
        }
        Ok(())
    }
}

/// What a command wrote to stderr, where it wrote anything.
struct Said<'a>(&'a str);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, ": {}", self.0) }
    }
}

/// What really happened: the client's own text is often only `transport error`.
pub(super) fn reason(error: &etcd_client::Error) -> String {
    let (mut text, mut cause) = match error {
        etcd_client::Error::GRpcStatus(status) => (status.message().to_owned(), status.source()),
        etcd_client::Error::TransportError(error) => (error.to_string(), error.source()),
        other => (other.to_string(), None),
    };
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    // rustls points programmers to its manual.
    text.split(": https://docs.rs/").next().unwrap_or(&text).to_owned()
}
