//! Plain HTTP on 127.0.0.1, and who asks there: how the stand-ins serve files and say that they are ready.

use std::convert::Infallible;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::Client;
use tokio::net::TcpListener;

use crate::error::RigError;

/// Answers GETs until the process ends: what `find` has under a path, else 404.
///
/// # Errors
/// What the system says when the port is taken.
pub async fn serve(
    port: u16,
    find: impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static,
) -> io::Result<Infallible> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let find = Arc::new(find);
    loop {
        let (stream, _) = listener.accept().await?;
        let find = Arc::clone(&find);
        tokio::spawn(async move {
            let answer = service_fn(move |request: Request<Incoming>| {
                let answer = answer(find(request.uri().path()));
                async move { Ok::<_, Infallible>(answer) }
            });
            // A client that goes away in the middle is no concern of ours.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

fn answer(found: Option<Vec<u8>>) -> Response<Full<Bytes>> {
    let status = if found.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
    let mut response = Response::new(Full::new(Bytes::from(found.unwrap_or_default())));
    *response.status_mut() = status;
    response
}

/// A client of a server that speaks plain HTTP on a port of 127.0.0.1. It never retries by itself.
///
/// # Errors
/// [`RigError::Client`] when no client can be made.
pub fn client(port: u16) -> Result<Client, RigError> {
    let url = format!("http://127.0.0.1:{port}");
    let failed = |reason: String| RigError::Client { config: PathBuf::from(&url), reason };
    let mut config = kube::Config::new(url.parse().map_err(|error: http::uri::InvalidUri| failed(error.to_string()))?);
    config.default_retry = false;
    Client::try_from(config).map_err(|error| failed(error.to_string()))
}
