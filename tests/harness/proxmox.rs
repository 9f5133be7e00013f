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
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::https_stand_in::{HttpsStandIn, Request};

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
    server: HttpsStandIn,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Proxmox {
    /// Starts one, with a certificate as `pvecm updatecerts` makes them.
    pub fn start(behaviour: Behaviour) -> Self {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let state = State { behaviour, requests: Arc::clone(&requests) };
        let server = HttpsStandIn::start("Proxmox Virtual Environment", "pve1", move |request| state.answer(request));
        Self { server, requests }
    }

    /// `https://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The CA that signed its certificate.
    pub fn ca(&self) -> PathBuf {
        self.server.ca()
    }

    /// A file that holds [`TOKEN`], as a configuration would name it.
    pub fn token_file(&self) -> PathBuf {
        let path = self.folder().join("token");
        writeln!(std::fs::File::create(&path).unwrap(), "{TOKEN}").unwrap();
        path
    }

    /// SHA-256 of its certificate, as `pvenode cert info` shows it.
    pub fn fingerprint(&self) -> &str {
        self.server.fingerprint()
    }

    /// Every request line so far, such as `GET /api2/json/version`.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// A folder that ends with it.
    pub fn folder(&self) -> &Path {
        self.server.folder()
    }
}

struct State {
    behaviour: Behaviour,
    requests: Arc<Mutex<Vec<String>>>,
}

impl State {
    fn answer(&self, request: &Request) -> Vec<u8> {
        let line = request.line.as_str();
        self.requests.lock().unwrap().push(line.to_owned());
        let Some(authorization) = request.header("authorization") else { return http(401, "No ticket", b"", 0) };
        if authorization != format!("PVEAPIToken={TOKEN}") {
            return http(401, "Authentication failed!", b"", 0);
        }
        let Some(path) = line.strip_prefix("GET /api2/json/") else {
            return refusal(501, &format!("Method '{line}' not implemented"));
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
