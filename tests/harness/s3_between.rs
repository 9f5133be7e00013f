//! Stands between a client and a real S3 server, and does to single requests what networks and bad servers do.
//!
//! Requests and answers are passed on byte for byte, each over a connection of its own. A rule looks at each request and
//! says what becomes of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on is a failed test"
)]

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is passed on, and so is its answer.
    Pass,
    /// It is passed on, but its answer is lost.
    LoseAnswer,
    /// It is passed on; of the answer's body only half comes, and its length says so: nothing.
    CutBody,
    /// It is not passed on; this status and S3 code are the answer.
    Refuse(u16, &'static str),
    /// It is not passed on, and the answer says that all went well.
    Pretend,
}

/// What a rule sees.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Such as `PUT`.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// How many requests came before.
    pub number: usize,
}

type Rule = dyn Fn(&Asked) -> Fate + Send + Sync;

/// A running one; it ends when it is dropped.
pub struct Between {
    port: u16,
    stop: Arc<AtomicBool>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Between {
    /// Starts one in front of the server at this `host:port`.
    pub fn start(server: &str, rule: impl Fn(&Asked) -> Fate + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (rule, server): (Arc<Rule>, String) = (Arc::new(rule), server.to_owned());
        let (stopped, seen) = (Arc::clone(&stop), Arc::clone(&asked));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let (rule, server, seen) = (Arc::clone(&rule), server.clone(), Arc::clone(&seen));
                // A client that goes away is no failure of the one between.
                std::thread::spawn(move || serve(client.unwrap(), &server, &*rule, &seen));
            }
        });
        Self { port, stop, asked }
    }

    /// Its URL.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Every request that came.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

fn serve(mut client: TcpStream, server: &str, rule: &Rule, seen: &Mutex<Vec<Asked>>) -> io::Result<()> {
    while let Some((head, body)) = read_request(&mut client)? {
        let mut words = head.split_whitespace();
        let (method, target) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
        let asked = {
            let mut seen = seen.lock().unwrap();
            let asked = Asked { method, target, number: seen.len() };
            seen.push(asked.clone());
            asked
        };
        let fate = rule(&asked);
        let answer = match fate {
            Fate::Refuse(status, code) => error(status, code),
            Fate::Pretend => b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec(),
            _ => pass_on(server, &head, &body)?,
        };
        match fate {
            Fate::LoseAnswer => return Ok(()),
            Fate::CutBody => {
                let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
                return client.write_all(&answer[..end + (answer.len() - end) / 2]);
            }
            _ => client.write_all(&answer)?,
        }
        // Each answer of the server ends with its connection; so does each of ours.
        if !matches!(fate, Fate::Refuse(..) | Fate::Pretend) {
            return Ok(());
        }
    }
    Ok(())
}

fn error(status: u16, code: &str) -> Vec<u8> {
    let body =
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>as the test wants it</Message></Error>");
    let length = body.len();
    format!("HTTP/1.1 {status} x\r\nContent-Type: application/xml\r\nContent-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

/// Head and body of a request; `None` when the client has no more.
fn read_request(client: &mut TcpStream) -> io::Result<Option<(String, Vec<u8>)>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if client.read(&mut byte)? == 0 {
            return Ok(None);
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let header = |name: &str| {
        head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    };
    if header("expect").is_some() {
        client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let mut body = vec![0; header("content-length").map_or(0, |length| length.parse().unwrap())];
    client.read_exact(&mut body)?;
    Ok(Some((head, body)))
}

fn pass_on(server: &str, head: &str, body: &[u8]) -> io::Result<Vec<u8>> {
    let mut server = TcpStream::connect(server)?;
    let stays = |line: &&str| {
        let name = line.split(':').next().unwrap_or_default();
        !["connection", "expect"].iter().any(|known| name.eq_ignore_ascii_case(known))
    };
    let lines: Vec<&str> = head.trim_end().lines().filter(stays).collect();
    server.write_all(format!("{}\r\nConnection: close\r\n\r\n", lines.join("\r\n")).as_bytes())?;
    server.write_all(body)?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    Ok(answer)
}
