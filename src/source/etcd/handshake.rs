//! Finds out why a member closed the connection.
//!
//! With TLS 1.3 a server refuses a client's certificate after the client's handshake is over, and the gRPC client only
//! says `connection closed`. This does the handshake again, waits for the first byte and tells the alert that comes
//! instead.

use std::sync::Arc;

use http::Uri;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, ClientConfig, Error, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::tls::EtcdTls;

/// etcd's port for clients, where an endpoint names none.
const PORT: u16 = 2379;
/// What an HTTP/2 client says first: the preface and empty settings (RFC 9113, 3.4 and 6.5).
const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// What is wrong with the TLS connection, when something is.
pub(super) async fn rejection(endpoint: &str, tls: &EtcdTls) -> Option<String> {
    let uri: Uri = endpoint.parse().ok()?;
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(tls.server_name.clone().unwrap_or_else(|| host.clone())).ok()?;
    let config = match client_config(tls).await? {
        Ok(config) => config,
        Err(error) => return Some(error.to_string()),
    };
    let tcp = TcpStream::connect((host.as_str(), uri.port_u16().unwrap_or(PORT))).await.ok()?;
    let answer = async {
        let mut connection = TlsConnector::from(Arc::new(config)).connect(name, tcp).await?;
        connection.write_all(GREETING).await?;
        connection.read_u8().await
    };
    match answer.await {
        Ok(_) => None,
        Err(error) => error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()).map(describe),
    }
}

async fn client_config(tls: &EtcdTls) -> Option<Result<ClientConfig, Error>> {
    let ca = tokio::fs::read(&tls.ca).await.ok()?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&ca).filter_map(Result::ok));
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(roots);
    let mut config = if let Some((cert, key)) = &tls.identity {
        let (cert, key) = (tokio::fs::read(cert).await.ok()?, tokio::fs::read(key).await.ok()?);
        let chain = CertificateDer::pem_slice_iter(&cert).filter_map(Result::ok).collect();
        match builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(&key).ok()?) {
            Ok(config) => config,
            Err(error) => return Some(Err(error)),
        }
    } else {
        builder.with_no_client_auth()
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Some(Ok(config))
}

fn describe(error: &Error) -> String {
    match error {
        Error::AlertReceived(AlertDescription::CertificateExpired) => {
            "it refuses this client's certificate, which has expired".to_owned()
        }
        Error::AlertReceived(AlertDescription::UnknownCA) => {
            "it refuses this client's certificate, which is signed by a CA that it does not know".to_owned()
        }
        Error::AlertReceived(AlertDescription::CertificateRequired) => "it wants a client certificate".to_owned(),
        Error::AlertReceived(alert) => format!("it refuses this client's certificate ({alert:?})"),
        other => other.to_string(),
    }
}
