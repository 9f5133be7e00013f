//! A real S3 server for one test: versitygw on a folder, on a free port of 127.0.0.1.
//!
//! It ends with the test, however that ends: the test holds the write end of a pipe that a shell reads; when it closes,
//! the shell kills the server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on is a failed test")]

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rig::ports::{PortBlock, Purpose};
use rig::toolchain::Toolchain;
use snapback::store::backend::{S3Backend, S3Keys, S3Options, S3Place};

/// Who may do everything on it.
pub const ACCESS_KEY: &str = "snapback-test";
/// That account's secret.
pub const SECRET_KEY: &str = "canary-s3-secret-0f9e8d7c";

const SCRIPT: &str = r#"program=$1; shift
"$program" "$@" >/dev/null 2>&1 &
server=$!
cat >/dev/null
kill -9 $server"#;

/// A running server.
pub struct S3Server {
    folder: tempfile::TempDir,
    ports: PortBlock,
    shell: Option<Child>,
    buckets: AtomicU32,
}

impl S3Server {
    /// Starts one, without buckets.
    pub fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("snapback-s3.").tempdir().unwrap();
        std::fs::create_dir(folder.path().join("buckets")).unwrap();
        std::fs::create_dir(folder.path().join("versions")).unwrap();
        let mut server = Self { folder, ports: PortBlock::take().unwrap(), shell: None, buckets: AtomicU32::new(0) };
        server.restart();
        server
    }

    /// Starts it again, with what it holds.
    pub fn restart(&mut self) {
        self.stop();
        let address = self.address();
        let versions = self.folder.path().join("versions");
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, "s3"]).arg(Toolchain::find().unwrap().program("versitygw"));
        command.args(["--port", &address, "--quiet", "--keep-alive", "posix", "--versioning-dir"]);
        command.arg(versions).arg(self.folder.path().join("buckets"));
        command.env("ROOT_ACCESS_KEY", ACCESS_KEY).env("ROOT_SECRET_KEY", SECRET_KEY).stdin(Stdio::piped());
        self.shell = Some(command.spawn().unwrap());
        let begun = Instant::now();
        while TcpStream::connect(&address).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(60), "versitygw does not listen on {address}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills it.
    pub fn stop(&mut self) {
        if let Some(mut shell) = self.shell.take() {
            drop(shell.stdin.take());
            shell.wait().unwrap();
        }
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ports.port(Purpose::S3))
    }

    /// Its URL.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The folder that one of its buckets is.
    pub fn folder(&self, bucket: &str) -> PathBuf {
        self.folder.path().join("buckets").join(bucket)
    }

    /// Makes a bucket, and names it.
    pub fn bucket(&self) -> String {
        let bucket = format!("bucket-{}", self.buckets.fetch_add(1, Ordering::Relaxed));
        // A folder at its top is a bucket.
        std::fs::create_dir(self.folder(&bucket)).unwrap();
        bucket
    }

    /// How to reach it.
    pub fn options(&self) -> S3Options {
        S3Options {
            endpoint: Some(self.endpoint()),
            region: Some("us-east-1".to_owned()),
            keys: Some(S3Keys { access_key: ACCESS_KEY.to_owned(), secret_key: SECRET_KEY.to_owned() }),
            ..S3Options::default()
        }
    }

    /// A place in a new bucket.
    pub async fn backend(&self) -> S3Backend {
        let place: S3Place = format!("s3://{}/some/prefix", self.bucket()).parse().unwrap();
        S3Backend::new(place, &self.options()).await.unwrap()
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.stop();
    }
}
