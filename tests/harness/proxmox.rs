//! A stand-in for Proxmox VE, which cannot be had here: a small HTTPS server that answers what Proxmox's own sources say
//! it answers to the four questions that snapback asks.
//!
//! True to the sources: the status line carries the reason, refused tokens get 401 with an empty body, a missing privilege
//! gets 403 with `message` and `data: null` in JSON; `storage` lists only what the token may see, in no fixed order;
//! `next-run` moves with the clock; every error of a proxied node is 595 or 596. (`PVE/HTTPServer.pm`,
//! `PVE/API2/Backup.pm` of pve-manager; `PVE/API2/Storage/Config.pm` of pve-storage; `PVE/APIServer/AnyEvent.pm` of
//! pve-http-server.) Not true: it does not delay a 401 by three seconds.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on is a failed test"
)]

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// The one token that it knows.
pub const TOKEN: &str = "snapback@pve!backup=0f9e8d7c-aaaa-4bbb-8ccc-1234567890ab";

/// How it answers.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// The token has Sys.Audit on `/`.
    pub sys_audit: bool,
    /// The token has Datastore.Audit on `/storage`; else on the storage `local` alone.
    pub datastore_audit: bool,
    /// The answer to this path breaks off in the middle of its JSON, with a length that fits what is sent.
    pub malformed: Option<&'static str>,
    /// The answer to this path breaks off before the length that it announced.
    pub broken_off: Option<&'static str>,
    /// The node that has the answer to this path cannot be reached: 595.
    pub unreachable_node: Option<&'static str>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self { sys_audit: true, datastore_audit: true, malformed: None, broken_off: None, unreachable_node: None }
    }
}

/// A running stand-in; it ends when it is dropped.
pub struct Proxmox {
    port: u16,
    folder: tempfile::TempDir,
    fingerprint: String,
    requests: Arc<Mutex<Vec<String>>>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Proxmox {
    /// Starts one on a free port of 127.0.0.1.
    pub fn start(behaviour: Behaviour) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (ca, certificate, key) = certificates();
        std::fs::write(folder.path().join("pve-root-ca.pem"), ca).unwrap();
        let der = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
        let digest = snapback::store::ContentHash::of(&der);
        let fingerprint = digest.as_raw().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":");
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![der], PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap())
            .unwrap();
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let state = State { behaviour, requests: Arc::clone(&requests) };
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    () = serve(listener, TlsAcceptor::from(Arc::new(config)), state) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { port, folder, fingerprint, requests, stop: Some(stop), thread: Some(thread) }
    }

    /// `https://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The CA that signed its certificate.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("pve-root-ca.pem")
    }

    /// A file that holds [`TOKEN`], as a configuration would name it.
    pub fn token_file(&self) -> PathBuf {
        let path = self.folder.path().join("token");
        writeln!(std::fs::File::create(&path).unwrap(), "{TOKEN}").unwrap();
        path
    }

    /// SHA-256 of its certificate, as `pvenode cert info` shows it.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Every request line so far, such as `GET /api2/json/version`.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// A folder that ends with it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Proxmox {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A CA, and a certificate of it for 127.0.0.1, in PEM; as `pvecm updatecerts` makes them.
fn certificates() -> (String, String, String) {
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name.push(DnType::CommonName, "Proxmox Virtual Environment");
    let ca_key = KeyPair::generate().unwrap();
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let mut node = CertificateParams::new(vec!["pve1".to_owned()]).unwrap();
    node.subject_alt_names.push(SanType::IpAddress(Ipv4Addr::LOCALHOST.into()));
    node.distinguished_name.push(DnType::CommonName, "pve1");
    let key = KeyPair::generate().unwrap();
    let certificate = node.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
    (ca_pem, certificate.pem(), key.serialize_pem())
}

#[derive(Clone)]
struct State {
    behaviour: Behaviour,
    requests: Arc<Mutex<Vec<String>>>,
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, state: State) {
    loop {
        let Ok((connection, _)) = listener.accept().await else { return };
        let (acceptor, state) = (acceptor.clone(), state.clone());
        tokio::spawn(async move {
            // A client that does not trust the certificate ends here.
            let Ok(mut tls) = acceptor.accept(connection).await else { return };
            let mut lines = BufReader::new(&mut tls).lines();
            let mut head = Vec::new();
            while let Ok(Some(line)) = lines.next_line().await
                && !line.is_empty()
            {
                head.push(line);
            }
            let answer = state.answer(&head);
            let _ = tls.write_all(&answer).await;
            let _ = tls.shutdown().await;
        });
    }
}

impl State {
    fn answer(&self, head: &[String]) -> Vec<u8> {
        let request = head.first().map_or("", |line| line.trim_end_matches(" HTTP/1.1"));
        self.requests.lock().unwrap().push(request.to_owned());
        let authorization = head.iter().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("authorization").then(|| value.trim().to_owned())
        });
        let Some(authorization) = authorization else { return http(401, "No ticket", b"", 0) };
        if authorization != format!("PVEAPIToken={TOKEN}") {
            return http(401, "Authentication failed!", b"", 0);
        }
        let Some(path) = request.strip_prefix("GET /api2/json/") else {
            return refusal(501, &format!("Method '{request}' not implemented"));
        };
        if self.behaviour.unreachable_node == Some(path) {
            return http(595, "No route to host", b"", 0);
        }
        let data = match path {
            "version" => {
                json!({"version": "9.1.4", "release": "9.1", "repoid": "5ac30304265fbd8e", "console": "xtermjs"})
            }
            "cluster/backup" if !self.behaviour.sys_audit => {
                return refusal(403, "Permission check failed (/, Sys.Audit)");
            }
            "cluster/backup" => backup_jobs(),
            "storage" => self.storages(),
            "access/permissions" => self.permissions(),
            _ => return refusal(501, &format!("Method 'GET /{path}' not implemented")),
        };
        let body = json!({ "data": data }).to_string().into_bytes();
        let half = &body[..body.len() / 2];
        if self.behaviour.malformed == Some(path) {
            http(200, "OK", half, half.len())
        } else if self.behaviour.broken_off == Some(path) {
            http(200, "OK", half, body.len())
        } else {
            http(200, "OK", &body, body.len())
        }
    }

    fn storages(&self) -> Value {
        let mut storages = vec![
            json!({"storage": "local", "type": "dir", "path": "/var/lib/vz", "content": "iso,vztmpl,backup", "digest": DIGEST}),
            json!({"storage": "backups", "type": "pbs", "server": "10.0.0.9", "datastore": "main", "username": "pve@pbs",
                   "fingerprint": "aa:bb", "content": "backup", "prune-backups": "keep-all=1", "digest": DIGEST}),
            json!({"storage": "ceph", "type": "rbd", "pool": "vms", "content": "images", "krbd": 0, "digest": DIGEST}),
        ];
        if !self.behaviour.datastore_audit {
            storages.truncate(1);
        }
        // The order of a Perl hash.
        if self.requests.lock().unwrap().len().is_multiple_of(2) {
            storages.reverse();
        }
        Value::Array(storages)
    }

    fn permissions(&self) -> Value {
        let mut root = serde_json::Map::new();
        if self.behaviour.sys_audit {
            root.insert("Sys.Audit".to_owned(), json!(1));
        }
        let mut permissions = json!({ "/": root, "/storage/local": {"Datastore.Audit": 1} });
        if self.behaviour.datastore_audit {
            permissions["/storage"] = json!({"Datastore.Audit": 1});
        }
        permissions
    }
}

/// The digest of storage.cfg that every entry carries.
const DIGEST: &str = "da39a3ee5e6b4b0d3255bfef95601890afd80709";

fn backup_jobs() -> Value {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let next_run = u64::try_from(now.as_nanos() % 1_000_000_000_000).unwrap();
    json!([
        {"id": "backup-7d2a1c35-91ff", "type": "vzdump", "enabled": 1, "schedule": "21:00", "storage": "backups",
         "mode": "snapshot", "all": 1, "compress": "zstd", "notes-template": "{{guestname}}", "next-run": next_run},
        {"id": "backup-15b2ad53-cd42", "type": "vzdump", "enabled": 0, "schedule": "sun 01:00", "storage": "local",
         "vmid": "100,101", "mode": "stop", "prune-backups": {"keep-last": "3"}},
    ])
}

/// A refusal by the API itself: the reason stands in the status line and, as newer versions have it, in the body.
fn refusal(status: u16, reason: &str) -> Vec<u8> {
    let body = json!({"data": null, "message": format!("{reason}\n")}).to_string();
    http(status, reason, body.as_bytes(), body.len())
}

fn http(status: u16, reason: &str, body: &[u8], length: usize) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status} {reason}\r\nCache-Control: max-age=0\r\nConnection: close\r\nServer: pve-api-daemon/3.0\r\n\
         Content-Type: application/json;charset=UTF-8\r\nContent-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}
