//! Which kubeconfig, which context of it, and what a connection needs out of them.
//!
//! In: [`ConnectOptions`]. Out: kube's configuration with our own timeouts, and the names that errors need. The order
//! is kubectl's: the named file, `KUBECONFIG`, the default place, and then the service account of a pod.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use kube::config::{AuthInfo, Config, KubeConfigOptions, Kubeconfig, KubeconfigError};

use super::certificate::not_after;
use super::error::ClusterError;
use crate::named_file;

/// What a pod's connection is called where a context's name is wanted.
const IN_CLUSTER: &str = "in-cluster";
/// A server that does not even accept a connection within this time is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Silence after which an answer counts as lost. The API server itself gives up on a request after 60 seconds
/// (`--request-timeout`), so that its own answer comes first.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(75);

/// Which cluster to connect to.
#[derive(Clone, Debug, Default)]
pub struct ConnectOptions {
    /// A kubeconfig; without one `KUBECONFIG`, the default place, and a pod's service account are tried in this order.
    pub kubeconfig: Option<PathBuf>,
    /// A context of it; without one the current context.
    pub context: Option<String>,
}

/// A context, chosen and read.
pub(super) struct ChosenContext {
    pub(super) config: Config,
    pub(super) name: String,
    pub(super) user: String,
    pub(super) certificate_expires: Option<Timestamp>,
}

/// Finds and reads the kubeconfig.
pub(super) async fn choose(options: &ConnectOptions) -> Result<ChosenContext, ClusterError> {
    let Some(kubeconfig) = find(options.kubeconfig.as_deref())? else {
        return in_cluster();
    };
    let known: Vec<String> = kubeconfig.contexts.iter().map(|context| context.name.clone()).collect();
    let wanted = options.context.clone().or_else(|| kubeconfig.current_context.clone()).unwrap_or_default();
    let Some(context) = kubeconfig.contexts.iter().find(|context| context.name == wanted) else {
        return Err(ClusterError::UnknownContext { name: wanted, known });
    };
    let user = context.context.as_ref().and_then(|context| context.user.clone()).unwrap_or_default();
    let login = kubeconfig.auth_infos.iter().find(|login| login.name == user);
    let certificate_expires = login.and_then(|login| expiry(login.auth_info.as_ref()?));
    let chosen = KubeConfigOptions { context: Some(wanted.clone()), ..KubeConfigOptions::default() };
    let config = Config::from_custom_kubeconfig(kubeconfig, &chosen)
        .await
        .map_err(|error| unusable(options.kubeconfig.as_deref(), &error))?;
    Ok(ChosenContext { config: with_timeouts(config), name: wanted, user, certificate_expires })
}

/// `None`: there is no kubeconfig, so this may be a pod.
fn find(path: Option<&Path>) -> Result<Option<Kubeconfig>, ClusterError> {
    let read = match path {
        // kube's own error for a file that is not there has the place in it.
        Some(path) => match named_file::check(path, named_file::MOST_OF_A_CONFIGURATION) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(KubeconfigError::ReadConfig(error, path.to_owned()))
            }
            _ => Kubeconfig::read_from(path),
        },
        None => Kubeconfig::read(),
    };
    match read {
        Ok(kubeconfig) => Ok(Some(kubeconfig)),
        Err(KubeconfigError::FindPath) => Ok(None),
        Err(KubeconfigError::ReadConfig(error, place)) if error.kind() == std::io::ErrorKind::NotFound => {
            // A file that somebody named must be there; the default one need not.
            let named = path.is_some() || std::env::var_os("KUBECONFIG").is_some_and(|value| !value.is_empty());
            if named || !in_a_pod() {
                return Err(ClusterError::NoKubeconfig { places: vec![place.display().to_string()] });
            }
            Ok(None)
        }
        Err(error) => Err(unusable(path, &error)),
    }
}

fn in_a_pod() -> bool {
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
}

fn in_cluster() -> Result<ChosenContext, ClusterError> {
    let config = Config::incluster().map_err(|error| ClusterError::NoKubeconfig {
        places: vec![
            "KUBECONFIG".to_owned(),
            "~/.kube/config".to_owned(),
            format!("a pod's service account ({error})"),
        ],
    })?;
    Ok(ChosenContext {
        config: with_timeouts(config),
        name: IN_CLUSTER.to_owned(),
        user: "service account".to_owned(),
        certificate_expires: None,
    })
}

fn with_timeouts(mut config: Config) -> Config {
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = Some(READ_TIMEOUT);
    // Without this a connection's idle time counts against the next answer.
    config.reset_reader_on_write = true;
    // kube repeats every method, PUT included, up to 15 times.
    config.default_retry = false;
    config
}

/// The texts of these errors name files and fields, never their content.
fn unusable(path: Option<&Path>, error: &KubeconfigError) -> ClusterError {
    let problem = match error {
        // Its text quotes the line, which may hold a token.
        KubeconfigError::Parse(_) => "it is no YAML of the form of a kubeconfig".to_owned(),
        KubeconfigError::LoadContext(name) => format!("its context `{name}` is empty"),
        KubeconfigError::LoadClusterOfContext(name) => format!("it has no cluster `{name}`"),
        other => other.to_string(),
    };
    ClusterError::BadKubeconfig { path: path.map(Path::to_owned), problem }
}

fn expiry(login: &AuthInfo) -> Option<Timestamp> {
    if let Some(text) = &login.client_certificate_data {
        // k8s-openapi's byte strings are JSON strings in base64: that spares a crate.
        let text = serde_json::to_string(text).ok()?;
        let pem: k8s_openapi::ByteString = serde_json::from_str(&text).ok()?;
        return not_after(&pem.0);
    }
    not_after(&std::fs::read(login.client_certificate.as_ref()?).ok()?)
}
