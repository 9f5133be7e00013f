//! What to do about an error of the library: exit code and the exact next command.

use snapback::cluster::{ClusterError, TlsProblem};
use snapback::config::ConfigError;
use snapback::snapshot::{CaptureError, SelectionError};
use snapback::source::SourceError;
use snapback::store::StoreError;
use snapback::store::backend::BackendError;

use super::error::Failure;
use super::exit::Exit;

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let exit = match &error {
            StoreError::Damaged { .. }
            | StoreError::ContentMissing { .. }
            | StoreError::BadTree { .. }
            | StoreError::HeadLost { .. } => Exit::Damaged,
            StoreError::NotEmpty { .. } | StoreError::NewerFormat { .. } | StoreError::NewerEntry { .. } => {
                Exit::Refused
            }
            StoreError::BadPath { .. } => Exit::Usage,
            _ => Exit::Failed,
        };
        let failure = Self::of(exit, &error);
        match &error {
            StoreError::Missing { place } => failure.hint(format!("run `snapback init --repo {}` to make one, or name another with --repo", shell_word(place))),
            StoreError::HalfWritten { .. } => failure.hint("if the folder `packs` in it is empty, `init` was interrupted: delete it all and run `snapback init`; else its log was lost: look for a copy"),
            StoreError::NewerFormat { .. } | StoreError::NewerEntry { .. } => {
                failure.hint("use the snapback that wrote it, or a later one")
            }
            StoreError::NotARepository { .. } => failure.hint("name the repository with --repo; `snapback init` makes one in an empty folder"),
            StoreError::NotEmpty { .. } => failure.hint("give an empty or a new folder: `snapback init --repo FOLDER`"),
            StoreError::Damaged { .. } | StoreError::ContentMissing { .. } | StoreError::BadTree { .. } => {
                failure.hint("run `snapback verify --level objects` to see everything that is damaged and what it costs")
            }
            StoreError::HeadLost { .. } => failure.hint("entries were removed or replaced since this machine saw them; run `snapback verify`, and look for a copy of the repository"),
            StoreError::TooBig { .. } => failure.hint("`sh restore.sh SNAPSHOT OUTDIR` in the repository writes it to a file"),
            StoreError::Unclear { .. } => failure.hint("run `snapback snapshots` to see whether it is there"),
            StoreError::Contended { .. } => failure.hint("run the command again"),
            StoreError::Backend(error) => failure.advised_by_backend(error),
            StoreError::Local { source, .. } => failure.advised_by_system(source),
            _ => failure,
        }
    }
}

impl From<BackendError> for Failure {
    fn from(error: BackendError) -> Self {
        Self::of(Exit::Failed, &error).advised_by_backend(&error)
    }
}

impl Failure {
    fn advised_by_system(self, error: &std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::PermissionDenied => self.hint("this user may not read or write the repository: run as the user that it belongs to, or copy it to where this one may write"),
            std::io::ErrorKind::NotADirectory => self.hint("a repository is a folder: what --repo names is a file, or lies below one"),
            std::io::ErrorKind::ReadOnlyFilesystem => self.hint("the repository lies on a file system that is mounted read-only: copy it to another one to add to it"),
            _ => self,
        }
    }

    /// What to do about a repository's own file system.
    pub(crate) fn advised_by_backend(self, error: &BackendError) -> Self {
        match error {
            BackendError::Full { .. } => self.hint("nothing was committed; free some space and run the command again"),
            BackendError::Failed { source, .. } => self.advised_by_system(source),
            BackendError::Unsuitable { place, .. } if place.starts_with("s3://") => {
                self.hint("nothing was left in it; name another bucket with --repo, or a folder on a local file system")
            }
            BackendError::Unsuitable { .. } => self.hint("name a folder on a local file system with --repo"),
            BackendError::Refused { code, status, .. } => match (code.as_str(), status) {
                ("NoSuchBucket", _) => self.hint("snapback makes no buckets: make it first, or name another one with --repo"),
                ("InvalidAccessKeyId" | "SignatureDoesNotMatch", _) => self.hint("these are not the keys of this server: are AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the profile, or `s3` in the configuration meant for another one?"),
                (_, 403) => self.hint("docs/s3.md has the policy that an account needs"),
                (_, 301 | 400) => self.hint("is it the bucket's region, and its server? AWS_REGION and AWS_ENDPOINT_URL, or `s3.region` and `s3.endpoint` in the configuration, name them"),
                _ => self.hint("the server refuses or fails: run the command again when that has ended"),
            },
            BackendError::NoCredentials { .. } => self.hint("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, or name keys under `s3` in the configuration (docs/s3.md)"),
            BackendError::Unreachable { .. } => self.hint("is it the right server, and is it up? AWS_ENDPOINT_URL or `s3.endpoint` in the configuration names it"),
            BackendError::Exists { .. } | BackendError::NotFound { .. } => self,
        }
    }
}

impl From<ClusterError> for Failure {
    fn from(error: ClusterError) -> Self {
        let failure = Self::of(Exit::Failed, &error);
        match &error {
            ClusterError::NoKubeconfig { .. } => failure.hint("give one with --kubeconfig FILE, or set KUBECONFIG"),
            ClusterError::UnknownContext { .. } => failure.hint("name one of them with --context NAME"),
            ClusterError::Unreachable { .. } | ClusterError::TimedOut { .. } => {
                failure.hint("is it the right cluster? `kubectl config current-context` says which one is used; --context NAME names another")
            }
            ClusterError::CertificateExpired { .. } | ClusterError::Unauthorized { .. } => {
                failure.hint("get a new kubeconfig (on Talos: `talosctl kubeconfig`), then run the command again")
            }
            ClusterError::Credentials { user, .. } => {
                failure.hint(format!("run `kubectl auth whoami` to see what is wrong with user `{user}`"))
            }
            ClusterError::Tls { problem, .. } => match problem {
                TlsProblem::UnknownAuthority => failure.hint("is the kubeconfig of another cluster, or of this one before it was made anew? its certificate-authority-data must be this cluster's (on Talos: `talosctl kubeconfig`)"),
                TlsProblem::WrongName { .. } => failure.hint("reach the server by a name that its certificate has: change `server` in the kubeconfig, or set `tls-server-name` beside it"),
                TlsProblem::NotNow { .. } => failure.hint("is this machine's clock right? if it is, the API server's certificate must be renewed"),
                _ => failure,
            },
            ClusterError::NotReady { .. } => failure.hint("wait until `kubectl get --raw /readyz` says ok, then run the command again"),
            ClusterError::Api(answer) if answer.status == 403 => {
                failure.hint("deploy/backup-only-rbac.yaml has the permissions that a backup needs")
            }
            _ => failure,
        }
    }
}

impl From<SelectionError> for Failure {
    fn from(error: SelectionError) -> Self {
        let failure = Self::of(Exit::Usage, &error);
        match &error {
            // The text names them already.
            SelectionError::UnknownType { near, .. } if !near.is_empty() => failure,
            SelectionError::UnknownType { .. } => failure.hint("`kubectl api-resources` lists the types"),
            _ => failure
                .hint("a pattern is a glob on snapshot paths (`cluster/apps/**`) or TYPE[.GROUP][/NAMESPACE[/NAME]]"),
        }
    }
}

impl From<CaptureError> for Failure {
    fn from(error: CaptureError) -> Self {
        match error {
            CaptureError::Cluster(error) => error.into(),
            CaptureError::Store(error) => error.into(),
            CaptureError::Selection(error) => error.into(),
            CaptureError::NeverStill { .. } => Self::of(Exit::Failed, &error)
                .hint("types came or went, or etcd compacted, all the time; run the command again when that has ended"),
            error => Self::of(Exit::Failed, &error),
        }
    }
}

/// Several names in backticks.
pub(crate) fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// A word as it can be pasted into a shell.
pub(crate) fn shell_word(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:@=,%~".contains(&byte);
    if !text.is_empty() && !text.starts_with('~') && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Store(error) => error.into(),
            error => {
                let failure = Self::of(Exit::Failed, &error);
                match error.hint() {
                    Some(hint) => failure.hint(hint),
                    None => failure,
                }
            }
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::of(Exit::Usage, &error)
    }
}
