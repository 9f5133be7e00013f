//! Kubeconfigs with an embedded client certificate.

use std::fs;
use std::path::Path;

use k8s_openapi::ByteString;

use crate::certificates::{CLUSTER_CA, ClientCertificate};
use crate::error::RigError;
use crate::layout::{Layout, write_private};

/// Writes a kubeconfig, readable by its owner only, whose one context is named `throwaway`.
///
/// # Errors
/// [`RigError::File`] when the authority cannot be read or the file not written.
pub fn write(layout: &Layout, api_server_port: u16, user: &ClientCertificate, path: &Path) -> Result<(), RigError> {
    let ca_path = layout.certificate(CLUSTER_CA);
    let ca = fs::read(&ca_path).map_err(RigError::file("read", &ca_path))?;
    let text = format!(
        "apiVersion: v1
kind: Config
current-context: throwaway
clusters:
- name: throwaway
  cluster:
    server: https://127.0.0.1:{api_server_port}
    certificate-authority-data: {ca}
contexts:
- name: throwaway
  context: {{cluster: throwaway, user: throwaway}}
users:
- name: throwaway
  user:
    client-certificate-data: {certificate}
    client-key-data: {key}
",
        ca = base64(&ca)?,
        certificate = base64(user.certificate.as_bytes())?,
        key = base64(user.key.as_bytes())?,
    );
    write_private(path, text.as_bytes())
}

/// The same, with the certificate that lies in the cluster's `pki` folder under a name.
///
/// # Errors
/// [`RigError::File`] when something cannot be read or written.
pub fn write_for(layout: &Layout, api_server_port: u16, name: &str, path: &Path) -> Result<(), RigError> {
    let read = |path: std::path::PathBuf| fs::read_to_string(&path).map_err(RigError::file("read", &path));
    let user = ClientCertificate { certificate: read(layout.certificate(name))?, key: read(layout.key(name))? };
    write(layout, api_server_port, &user, path)
}

/// Base64 as Kubernetes writes bytes in JSON and YAML.
pub(crate) fn base64(bytes: &[u8]) -> Result<String, RigError> {
    let what = || "base64 text".to_owned();
    let quoted =
        serde_json::to_string(&ByteString(bytes.to_vec())).map_err(|source| RigError::Json { what: what(), source })?;
    serde_json::from_str(&quoted).map_err(|source| RigError::Json { what: what(), source })
}
