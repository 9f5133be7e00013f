//! Tries a bucket before anything is trusted to it.
//!
//! In: a backend. Out: how it places files, or why it cannot hold a repository. Tried: of many writers of one name exactly
//! one wins; a listing shows at once what was written; what is read is what was written; a body that does not match its
//! checksum is refused. What it wrote is deleted again where that is allowed.

use bytes::Bytes;
use futures::future::join_all;

use super::retry::try_until_clear;
use super::{Backend as _, BackendError, ContentHash, Refusal, S3Backend};
use crate::store::pack::random_hex;

/// Writers of one name at once.
const WRITERS: u8 = 4;

/// Tries it.
pub(super) async fn probe(bucket: &S3Backend) -> Result<String, BackendError> {
    let unsuitable = |reason: &str| BackendError::Unsuitable { place: bucket.place(), reason: reason.to_owned() };
    let random = random_hex(8).map_err(|error| unsuitable(&error.to_string()))?;
    let name = format!("tmp/probe-{random}");
    let told = attempts(bucket, &name).await;
    // A bucket with object lock may say no; the name says what it is.
    for name in [name.clone(), wrong(&name)] {
        if let Err(error) = bucket.delete(&name).await {
            tracing::debug!(%error, "what the probe wrote stays");
        }
    }
    told?.map_err(|reason| unsuitable(&reason))
}

fn wrong(name: &str) -> String {
    format!("{name}-wrong")
}

/// `Ok(Err(reason))`: it answers, but cannot hold a repository.
async fn attempts(bucket: &S3Backend, name: &str) -> Result<Result<String, String>, BackendError> {
    let bodies: Vec<Bytes> = (0..WRITERS).map(|writer| Bytes::from(format!("{name} {writer}"))).collect();
    let answers = join_all(bodies.iter().map(|body| put(bucket, name, body, ContentHash::of(body)))).await;
    let mut winner = None;
    for (body, answer) in bodies.iter().zip(answers) {
        match answer {
            Ok(()) if winner.is_none() => winner = Some(body),
            Ok(()) => {
                return Ok(Err(
                    "it replaced a file where it had to refuse: it does not know `If-None-Match`".to_owned()
                ));
            }
            Err(refusal) if refusal.is_there_already() => {}
            Err(Refusal::Answer { code, .. }) if code == "NotImplemented" => {
                return Ok(Err("it cannot create without replacing (`If-None-Match`)".to_owned()));
            }
            Err(refusal) => return Err(refusal.into_error("create", name)),
        }
    }
    let Some(winner) = winner else { return Ok(Err("of several writers of one name none came through".to_owned())) };
    if !bucket.list("tmp/").await?.iter().any(|file| file.name == name && file.size == winner.len() as u64) {
        return Ok(Err("what was just written is not in its listing".to_owned()));
    }
    if bucket.read(name).await? != *winner {
        return Ok(Err("what was just written is read back differently".to_owned()));
    }
    if bucket.without_checksums {
        return Ok(Ok("S3 without checksums".to_owned()));
    }
    let other = ContentHash::of(b"something else");
    match put(bucket, &wrong(name), winner, other).await {
        Ok(()) => Ok(Err("it took a body that does not match its SHA-256; `checksums: false` in the configuration \
                          does without"
            .to_owned())),
        Err(Refusal::Answer { status: 400..=499, .. }) => Ok(Ok("S3 with SHA-256".to_owned())),
        Err(refusal) => Err(refusal.into_error("create", &wrong(name))),
    }
}

async fn put(bucket: &S3Backend, name: &str, body: &Bytes, hash: ContentHash) -> Result<(), Refusal> {
    try_until_clear(|| bucket.put(name, body, &hash)).await.answer
}
