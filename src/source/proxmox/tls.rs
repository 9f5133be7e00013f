//! Whom to believe: a CA, one certificate's fingerprint, the system's CAs, or (said aloud) anybody.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::error::ProxmoxError;
use crate::store::ContentHash;

/// How a server proves that it is Proxmox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Its certificate is signed by a CA of the operating system.
    System,
    /// Its certificate is signed by a CA of this file, such as a copy of /etc/pve/pve-root-ca.pem.
    Ca(PathBuf),
    /// Its certificate is exactly the one with this fingerprint.
    Pinned(Fingerprint),
    /// It needs to prove nothing: whoever is in between can read the token.
    Anyone,
}

/// SHA-256 of a certificate, written as Proxmox shows it: `AB:CD:...`, 32 pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(ContentHash);

/// A text that is not a SHA-256 fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint is the SHA-256 of a certificate: 32 pairs of hexadecimal digits, with or without colons")]
pub struct WrongFingerprint;

impl Fingerprint {
    fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(ContentHash::of(certificate))
    }
}

impl FromStr for Fingerprint {
    type Err = WrongFingerprint;

    fn from_str(text: &str) -> Result<Self, WrongFingerprint> {
        let digits: String = text.trim().chars().filter(|character| *character != ':').collect();
        digits.to_lowercase().parse().map(Self).map_err(|_| WrongFingerprint)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.as_raw().iter().enumerate() {
            let separator = if index == 0 { "" } else { ":" };
            write!(f, "{separator}{byte:02X}")?;
        }
        Ok(())
    }
}

/// The settings of a TLS connection with this trust.
pub(super) fn client_config(trust: &Trust) -> Result<ClientConfig, ProxmoxError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|source| ProxmoxError::Tls { source })?;
    let pinned = match trust {
        Trust::System => return Ok(builder.with_root_certificates(system_roots()).with_no_client_auth()),
        Trust::Ca(path) => return Ok(builder.with_root_certificates(read_roots(path)?).with_no_client_auth()),
        Trust::Pinned(fingerprint) => Some(*fingerprint),
        Trust::Anyone => None,
    };
    let verifier = Arc::new(OneCertificate { pinned, provider });
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    // What cannot be read is not trusted; with none at all every server is refused, which says so.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

fn read_roots(path: &Path) -> Result<RootCertStore, ProxmoxError> {
    let pem = std::fs::read(path).map_err(|source| ProxmoxError::CaFile { path: path.to_owned(), source })?;
    let certificates = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok);
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates);
    if added == 0 { Err(ProxmoxError::NoCertificate { path: path.to_owned() }) } else { Ok(roots) }
}

/// Takes one certificate by its fingerprint, or any where none is given. The handshake's signatures are checked all the
/// same: the server must hold the certificate's key.
#[derive(Debug)]
struct OneCertificate {
    pinned: Option<Fingerprint>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for OneCertificate {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let found = Fingerprint::of(end_entity);
        match self.pinned {
            Some(wanted) if wanted != found => Err(Error::General(format!(
                "its certificate has the fingerprint {found}, not the one that is configured"
            ))),
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Says in words what is wrong with a certificate.
pub(super) fn distrust(error: &std::io::Error) -> String {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match tls {
        // A CA of the same name with another key (every Proxmox cluster's CA has the same name) is a bad signature.
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)) => {
            "its certificate is signed by a CA that is not known here".to_owned()
        }
        Some(Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. })) => {
            "its certificate has expired".to_owned()
        }
        Some(Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => "its certificate is for another name".to_owned(),
        Some(Error::General(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::Fingerprint;

    #[test]
    fn a_fingerprint_is_read_as_proxmox_shows_it() {
        let shown = vec!["AB"; 32].join(":");
        assert_eq!(shown.parse::<Fingerprint>().unwrap().to_string(), shown);
        assert_eq!("ab".repeat(32).parse::<Fingerprint>().unwrap().to_string(), shown);
        assert!("AB:CD".parse::<Fingerprint>().is_err());
    }
}
