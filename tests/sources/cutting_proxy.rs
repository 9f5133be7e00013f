//! A TCP proxy that cuts the line after a number of bytes, as a network does.

use std::net::{SocketAddr, TcpListener as StdListener};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Ends with the test's runtime, or when it is dropped.
pub(super) struct CuttingProxy {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl CuttingProxy {
    /// Passes so many bytes from the server to each client, and then cuts the line.
    pub(super) fn start(url: &str, bytes: usize) -> Self {
        let target = url.rsplit_once("//").unwrap().1.to_owned();
        let listener = StdListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, target.clone(), bytes));
            }
        });
        Self { address, task }
    }

    /// Where it listens.
    pub(super) fn url(&self) -> String {
        format!("https://{}", self.address)
    }
}

impl Drop for CuttingProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(client: TcpStream, target: String, mut left: usize) {
    let server = TcpStream::connect(&target).await.unwrap();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let there = tokio::spawn(async move {
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
    });
    let mut buffer = vec![0; 16 * 1024];
    while left > 0 {
        let room = buffer.len().min(left);
        let Ok(count @ 1..) = from_server.read(&mut buffer[..room]).await else { break };
        left -= count;
        if to_client.write_all(&buffer[..count]).await.is_err() {
            break;
        }
    }
    there.abort();
}
