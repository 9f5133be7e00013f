//! From the configuration to the sources: paths made absolute to its folder, secrets read, contradictions refused.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::document::{Config, EtcdConfig, FolderConfig, ProxmoxConfig};
use super::error::ConfigError;
use crate::source::etcd::{EtcdSource, EtcdTls};
use crate::source::files::FolderSource;
use crate::source::proxmox::{ApiToken, ProxmoxSource, Trust};
use crate::source::{Sources, Wanted};

impl Config {
    /// Every source beside the cluster, ready to be captured.
    ///
    /// # Errors
    /// A value makes no sense, or a secret cannot be read.
    pub fn sources(&self) -> Result<Sources, ConfigError> {
        let folder = &self.folder;
        let etcd = self.etcd.as_ref().map(|etcd| etcd_source(etcd, folder)).transpose()?;
        let proxmox = self.proxmox.as_ref().map(|proxmox| proxmox_source(proxmox, folder)).transpose()?;
        let etcd_interval = self.etcd.as_ref().map_or(Duration::ZERO, |etcd| etcd.interval);
        Ok(Sources { etcd, etcd_interval, proxmox, files: folders(&self.files, folder)? })
    }
}

fn etcd_source(etcd: &EtcdConfig, folder: &Path) -> Result<Wanted<EtcdSource>, ConfigError> {
    let wrong = |key, reason: &str| Err(ConfigError::Value { key, reason: reason.to_owned() });
    let given = [!etcd.endpoints.is_empty(), etcd.file.is_some(), !etcd.command.is_empty()];
    if given.iter().filter(|given| **given).count() != 1 {
        return wrong("etcd", "exactly one of `endpoints`, `file` and `command` says where the snapshot comes from");
    }
    if etcd.allow_unhashed && etcd.file.is_none() {
        return wrong("etcd.allow_unhashed", "only a `file` can be without a hash");
    }
    let tls_given = etcd.ca.is_some() || etcd.cert.is_some() || etcd.key.is_some() || etcd.server_name.is_some();
    if tls_given && etcd.endpoints.is_empty() {
        return wrong("etcd.ca", "`ca`, `cert`, `key` and `server_name` belong to `endpoints`");
    }
    let source = if let Some(file) = &etcd.file {
        EtcdSource::File { path: within(folder, file, "etcd.file")?, allow_unhashed: etcd.allow_unhashed }
    } else if etcd.endpoints.is_empty() {
        EtcdSource::Command { argv: etcd.command.clone(), timeout: etcd.timeout }
    } else {
        EtcdSource::Endpoints { endpoints: etcd.endpoints.clone(), tls: etcd_tls(etcd, folder)? }
    };
    Ok(Wanted { source, required: etcd.required })
}

fn etcd_tls(etcd: &EtcdConfig, folder: &Path) -> Result<Option<EtcdTls>, ConfigError> {
    let wrong = |key, reason: &str| Err(ConfigError::Value { key, reason: reason.to_owned() });
    let encrypted = etcd.endpoints.iter().filter(|endpoint| endpoint.starts_with("https://")).count();
    let clear = etcd.endpoints.iter().filter(|endpoint| endpoint.starts_with("http://")).count();
    if encrypted + clear != etcd.endpoints.len() || (encrypted > 0 && clear > 0) {
        return wrong("etcd.endpoints", "each begins with `https://`, or each with `http://`");
    }
    let identity = match (&etcd.cert, &etcd.key) {
        (Some(cert), Some(key)) => Some((within(folder, cert, "etcd.cert")?, within(folder, key, "etcd.key")?)),
        (None, None) => None,
        _ => return wrong("etcd.cert", "`cert` and `key` belong together"),
    };
    let ca = etcd.ca.as_ref().map(|ca| within(folder, ca, "etcd.ca")).transpose()?;
    if encrypted == 0 {
        if ca.is_some() || identity.is_some() {
            return wrong(
                "etcd.endpoints",
                "`http://` takes no certificates: the endpoints are meant to be `https://`",
            );
        }
        return Ok(None);
    }
    let Some(ca) = ca else {
        return wrong("etcd.ca", "`https://` endpoints need the CA that signed their certificates");
    };
    Ok(Some(EtcdTls { ca, identity, server_name: etcd.server_name.clone() }))
}

fn proxmox_source(proxmox: &ProxmoxConfig, folder: &Path) -> Result<Wanted<ProxmoxSource>, ConfigError> {
    let address = proxmox.url.parse().map_err(ConfigError::Address)?;
    let trust = match (&proxmox.ca, &proxmox.fingerprint, proxmox.insecure_skip_tls_verify) {
        (None, None, false) => Trust::System,
        (Some(ca), None, false) => Trust::Ca(within(folder, ca, "proxmox.ca")?),
        (None, Some(text), false) => Trust::Pinned(text.parse().map_err(ConfigError::Fingerprint)?),
        (None, None, true) => Trust::Anyone,
        _ => {
            return Err(ConfigError::Value {
                key: "proxmox.ca",
                reason: "at most one of `ca`, `fingerprint` and `insecure_skip_tls_verify` can be given".to_owned(),
            });
        }
    };
    let secret = proxmox.token.resolve("proxmox.token", folder)?;
    let token = ApiToken::parse(secret.expose())
        .map_err(|source| ConfigError::Token { place: proxmox.token.to_string(), source })?;
    Ok(Wanted { source: ProxmoxSource { address, token, trust }, required: proxmox.required })
}

fn folders(configured: &[FolderConfig], folder: &Path) -> Result<Vec<Wanted<FolderSource>>, ConfigError> {
    let mut sources: Vec<Wanted<FolderSource>> = Vec::new();
    for FolderConfig { label, path, required } in configured {
        let wrong = |reason: String| Err(ConfigError::Value { key: "files.label", reason });
        if label.is_empty() || label.contains('/') {
            return wrong(format!("`{label}` is no name for a folder inside a snapshot"));
        }
        if sources.iter().any(|other| other.source.label == *label) {
            return wrong(format!("`{label}` is there twice"));
        }
        let source = FolderSource { label: label.clone(), folder: within(folder, path, "files.path")? };
        sources.push(Wanted { source, required: *required });
    }
    Ok(sources)
}

pub(super) fn within(folder: &Path, path: &Path, key: &'static str) -> Result<PathBuf, ConfigError> {
    if path.starts_with("~") {
        let reason = format!("`{}` begins with `~`, which only a shell knows: write the whole path", path.display());
        return Err(ConfigError::Value { key, reason });
    }
    Ok(folder.join(path))
}

#[cfg(test)]
mod tests {
    use super::{Config, ConfigError, EtcdSource, Trust};

    fn config(text: &str) -> Config {
        serde_saphyr::from_str(text).unwrap()
    }

    #[test]
    fn what_contradicts_itself_is_refused_by_its_key() {
        for (text, wanted) in [
            ("etcd: {}", "etcd"),
            ("etcd: {file: a, command: [b]}", "etcd"),
            ("etcd: {command: [b], allow_unhashed: true}", "etcd.allow_unhashed"),
            ("etcd: {file: a, ca: b}", "etcd.ca"),
            ("etcd: {endpoints: ['https://a'], cert: b}", "etcd.cert"),
            ("etcd: {endpoints: ['https://a']}", "etcd.ca"),
            ("etcd: {endpoints: ['a:2379']}", "etcd.endpoints"),
            ("etcd: {endpoints: ['http://a', 'https://b']}", "etcd.endpoints"),
            ("etcd: {endpoints: ['http://a'], ca: b}", "etcd.endpoints"),
            ("etcd: {file: '~/a'}", "etcd.file"),
            ("proxmox: {url: 'https://a', token: {env: PATH}, ca: a, insecure_skip_tls_verify: true}", "proxmox.ca"),
            ("files: [{label: a, path: b}, {label: a, path: c}]", "files.label"),
            ("files: [{label: a/b, path: b}]", "files.label"),
        ] {
            match config(text).sources() {
                Err(ConfigError::Value { key, .. }) => assert_eq!(key, wanted, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_token_is_read_from_a_file_and_shown_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "root@pam!b=topsecret\n").unwrap();
        let mut found = config("proxmox: {url: 'https://pve1', token: {file: token}}");
        found.folder = folder.path().to_owned();
        let proxmox = found.sources().unwrap().proxmox.unwrap();
        assert_eq!((proxmox.source.token.id(), &proxmox.source.trust), ("root@pam!b", &Trust::System));
        assert!(!format!("{proxmox:?}{found:?}").contains("topsecret"));

        std::fs::write(folder.path().join("token"), "topsecret\n").unwrap();
        let error = found.sources().unwrap_err();
        assert!(!format!("{error:?} {error}").contains("topsecret"), "{error:?}");
        std::fs::write(folder.path().join("token"), "\n").unwrap();
        assert!(matches!(found.sources(), Err(ConfigError::SecretEmpty { .. })));
        std::fs::remove_file(folder.path().join("token")).unwrap();
        assert!(matches!(found.sources(), Err(ConfigError::SecretFile { .. })));
        let absent = config("proxmox: {url: 'https://pve1', token: {env: SNAPBACK_NO_SUCH_VARIABLE}}");
        assert!(matches!(absent.sources(), Err(ConfigError::SecretVariable { .. })));
    }

    #[test]
    fn relative_paths_begin_in_the_folder_of_the_configuration() {
        let mut found = config("etcd: {file: a/snapshot.db}");
        found.folder = "/etc/snapback".into();
        let etcd = found.sources().unwrap().etcd.unwrap().source;
        let path = "/etc/snapback/a/snapshot.db".into();
        assert_eq!(etcd, EtcdSource::File { path, allow_unhashed: false });
    }
}
