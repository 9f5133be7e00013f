//! Asks the Proxmox API: GET only, one connection a question.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONNECTION, HOST};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::ext::ReasonPhrase;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::address::ProxmoxAddress;
use super::answer::{data, message};
use super::error::ProxmoxError;
use super::tls::{Trust, client_config, distrust};
use super::token::ApiToken;

/// How long one question may take. Proxmox itself delays a refusal by 3 s (`PVE/APIServer/AnyEvent.pm`) and gives up on
/// another node after 30 s.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// More than any cluster's jobs or storages: an answer this long is not what was asked for.
const BODY_LIMIT: usize = 32 * 1024 * 1024;

/// A Proxmox API and who asks it.
#[derive(Debug)]
pub(super) struct Client<'a> {
    address: &'a ProxmoxAddress,
    token: &'a ApiToken,
    tls: Arc<ClientConfig>,
}

impl<'a> Client<'a> {
    pub(super) fn new(address: &'a ProxmoxAddress, token: &'a ApiToken, trust: &Trust) -> Result<Self, ProxmoxError> {
        Ok(Self { address, token, tls: Arc::new(client_config(trust)?) })
    }

    /// The `data` of an answer, such as that of `cluster/backup`.
    pub(super) async fn get(&self, path: &str) -> Result<Value, ProxmoxError> {
        match tokio::time::timeout(ANSWER_LIMIT, self.ask(path)).await {
            Ok(answer) => answer,
            Err(_) => Err(ProxmoxError::Timeout {
                address: self.address.to_string(),
                path: path.to_owned(),
                limit: ANSWER_LIMIT,
            }),
        }
    }

    async fn ask(&self, path: &str) -> Result<Value, ProxmoxError> {
        let address = self.address.to_string();
        let broken = |source: Box<dyn std::error::Error + Send + Sync>| ProxmoxError::Broken {
            address: self.address.to_string(),
            path: path.to_owned(),
            source,
        };
        let name = ServerName::try_from(self.address.host.clone())
            .map_err(|_| ProxmoxError::WrongHost { host: self.address.host.clone() })?;
        let request = Request::get(format!("/api2/json/{path}"))
            .header(HOST, &address)
            .header(ACCEPT, "application/json")
            .header(CONNECTION, "close")
            .header(AUTHORIZATION, self.token.header()?)
            .body(Empty::<Bytes>::new())
            .map_err(|error| broken(error.into()))?;

        let tcp = TcpStream::connect((self.address.host.as_str(), self.address.port))
            .await
            .map_err(|source| ProxmoxError::Connect { address: address.clone(), source })?;
        let tls = TlsConnector::from(Arc::clone(&self.tls))
            .connect(name, tcp)
            .await
            .map_err(|error| ProxmoxError::Untrusted { address: address.clone(), reason: distrust(&error) })?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(tls)).await.map_err(|error| broken(error.into()))?;
        // Works while it is polled, and ends by itself once the answer is read or given up. How it ends is told by the
        // answer.
        tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(|error| broken(error.into()))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, BODY_LIMIT).collect().await.map_err(broken)?.to_bytes();

        if head.status == StatusCode::OK {
            return data(&body).map_err(|reason| ProxmoxError::NotJson { address, path: path.to_owned(), reason });
        }
        let phrase = head.extensions.get::<ReasonPhrase>().map(ReasonPhrase::as_bytes);
        let reason = message(&body, phrase, self.token);
        let (token, path) = (self.token.id().to_owned(), path.to_owned());
        Err(match head.status {
            StatusCode::UNAUTHORIZED => ProxmoxError::Unauthorized { address, token, reason },
            StatusCode::FORBIDDEN => ProxmoxError::Forbidden { address, token, path, reason },
            status => ProxmoxError::Status { address, path, status: status.as_u16(), reason },
        })
    }
}
