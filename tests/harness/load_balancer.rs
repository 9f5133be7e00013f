//! A TCP load balancer, as it stands in front of several API servers: each new connection goes to the next server that
//! takes it. It can hold everything up after so many bytes, so that a test can do something at that very moment.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "what fails fails the test")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};

/// It ends with the test's runtime.
pub struct LoadBalancer {
    address: SocketAddr,
    line: Arc<Line>,
}

/// What all its connections share.
#[derive(Default)]
struct Line {
    /// Bytes that came from servers.
    passed: AtomicU64,
    /// Nothing comes through any more behind this many bytes, unless it is zero.
    hold_after: AtomicU64,
    released: AtomicBool,
}

impl LoadBalancer {
    /// Starts one in front of these servers, URLs of 127.0.0.1.
    pub async fn start(servers: &[&str]) -> Self {
        let servers: Vec<String> = servers.iter().map(|url| url.rsplit_once('/').unwrap().1.to_owned()).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let line = Arc::new(Line::default());
        let shared = Arc::clone(&line);
        tokio::spawn(async move {
            let next = AtomicUsize::new(0);
            while let Ok((client, _)) = listener.accept().await {
                // A server that is away refuses at once: the next one gets the connection, as with health checks.
                for _ in &servers {
                    let server = &servers[next.fetch_add(1, Ordering::Relaxed) % servers.len()];
                    if let Ok(server) = TcpStream::connect(server).await {
                        tokio::spawn(pass(client, server, Arc::clone(&shared)));
                        break;
                    }
                }
            }
        });
        Self { address, line }
    }

    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// How many bytes came from the servers.
    pub fn passed(&self) -> u64 {
        self.line.passed.load(Ordering::Relaxed)
    }

    /// Holds everything up once so many more bytes have come.
    pub fn hold_after(&self, bytes: u64) {
        self.line.hold_after.store(self.passed() + bytes, Ordering::Relaxed);
    }

    /// Waits until everything is held up.
    pub async fn until_held(&self) {
        while !self.line.is_held() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Lets everything go on.
    pub fn release(&self) {
        self.line.released.store(true, Ordering::Relaxed);
    }
}

impl Line {
    fn is_held(&self) -> bool {
        let limit = self.hold_after.load(Ordering::Relaxed);
        limit > 0 && self.passed.load(Ordering::Relaxed) >= limit && !self.released.load(Ordering::Relaxed)
    }
}

async fn pass(client: TcpStream, server: TcpStream, line: Arc<Line>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let there = tokio::spawn(async move {
        // Either side may end it.
        let _ = copy(&mut from_client, &mut to_server).await;
    });
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
        line.passed.fetch_add(count as u64, Ordering::Relaxed);
        while line.is_held() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if to_client.write_all(&buffer[..count]).await.is_err() {
            break;
        }
    }
    there.abort();
}
