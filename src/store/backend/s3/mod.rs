//! A repository in a bucket of S3 or a server like it.
//!
//! In and out: as every backend. Invariants: a file is created by one conditional request with its SHA-256, so that it
//! appears whole or not at all and never replaces (I1, I2); a create whose answer was lost is looked at before anybody is
//! told that the name was taken; what a bucket cannot do is found by [`Backend::probe`], at `init`.

mod answer;
mod connect;
mod place;
mod probe;
mod retry;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::{Backend, BackendError, Content, StoredFile};
use crate::store::ContentHash;

use answer::Refusal;
use retry::{Tried, try_until_clear};

pub use connect::{S3Keys, S3Options};
pub(super) use place::SCHEME;
pub use place::{S3Place, S3PlaceError};

/// A repository's files in a bucket. A clone is the same place.
#[derive(Clone, Debug)]
pub struct S3Backend {
    client: Client,
    place: S3Place,
    spool: Option<PathBuf>,
    without_checksums: bool,
    /// Log entries that this process read or wrote. They never change, and a backup reads the log four times.
    log: Arc<Mutex<HashMap<String, Bytes>>>,
}

/// What is remembered is named like this.
const LOG: &str = "log/";

impl S3Backend {
    /// Names a place in a bucket; nothing is asked of the server yet.
    ///
    /// # Errors
    /// The certificates cannot be used.
    pub async fn new(place: S3Place, options: &S3Options) -> Result<Self, BackendError> {
        let client = connect::connect(&place, options).await?;
        let (spool, without_checksums) = (options.spool.clone(), options.without_checksums);
        Ok(Self { client, place, spool, without_checksums, log: Arc::default() })
    }

    fn log(&self) -> MutexGuard<'_, HashMap<String, Bytes>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a create-only write once. `Ok`: it is there, durable, by this very request.
    async fn put(&self, name: &str, bytes: &Bytes, hash: &ContentHash) -> Result<(), Refusal> {
        let mut request = self
            .client
            .put_object()
            .bucket(self.place.bucket())
            .key(self.place.key(name))
            .if_none_match("*")
            .body(ByteStream::from(bytes.clone()));
        if !self.without_checksums {
            request = request.checksum_sha256(STANDARD.encode(hash.as_raw()));
        }
        request.send().await.map(drop).map_err(Refusal::from)
    }

    /// Reads a range once; all of the file when there is none. A body that ends early is no answer.
    async fn get(&self, name: &str, range: Option<String>) -> Result<Vec<u8>, Refusal> {
        let request = self.client.get_object().bucket(self.place.bucket()).key(self.place.key(name)).set_range(range);
        let answer = request.send().await?;
        let length = answer.content_length().and_then(|length| usize::try_from(length).ok());
        let body = answer.body.collect().await.map_err(|error| Refusal::broken_off(&error))?.to_vec();
        if length.is_some_and(|length| length != body.len()) {
            return Err(Refusal::nonsense("the body is shorter than its length says"));
        }
        Ok(body)
    }

    async fn read_whole(&self, name: &str) -> Result<Vec<u8>, Refusal> {
        if let Some(known) = self.log().get(name) {
            return Ok(known.to_vec());
        }
        let bytes = try_until_clear(|| self.get(name, None)).await.answer?;
        if name.starts_with(LOG) {
            self.log().insert(name.to_owned(), Bytes::copy_from_slice(&bytes));
        }
        Ok(bytes)
    }

    /// One page of a listing, and where the next one begins.
    async fn page(&self, prefix: &str, from: Option<String>) -> Result<(Vec<StoredFile>, Option<String>), Refusal> {
        let request = self.client.list_objects_v2().bucket(self.place.bucket()).prefix(self.place.key(prefix));
        let answer = request.set_continuation_token(from).send().await?;
        let mut files = Vec::new();
        for object in answer.contents() {
            let Some(name) = object.key().and_then(|key| self.place.name(key)) else { continue };
            // Some tools make an empty object for a folder.
            if name.is_empty() || name.ends_with('/') {
                continue;
            }
            let created = object.last_modified().and_then(|time| u64::try_from(time.secs()).ok()).unwrap_or_default();
            files.push(StoredFile {
                name: name.to_owned(),
                size: object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
                created: SystemTime::UNIX_EPOCH + Duration::from_secs(created),
            });
        }
        let next = answer.next_continuation_token().filter(|_| answer.is_truncated() == Some(true)).map(str::to_owned);
        if next.is_none() && answer.is_truncated() == Some(true) {
            return Err(Refusal::nonsense("a listing goes on, but not where"));
        }
        Ok((files, next))
    }

    async fn remove(&self, name: &str) -> Result<(), Refusal> {
        let request = self.client.delete_object().bucket(self.place.bucket()).key(self.place.key(name));
        request.send().await.map(drop).map_err(Refusal::from)
    }
}

#[async_trait]
impl Backend for S3Backend {
    fn place(&self) -> String {
        self.place.to_string()
    }

    async fn probe(&self) -> Result<String, BackendError> {
        probe::probe(self).await
    }

    fn spool_folder(&self) -> Option<PathBuf> {
        self.spool.clone()
    }

    async fn create(&self, name: &str, content: Content<'_>) -> Result<(), BackendError> {
        let bytes: Bytes = match content {
            Content::Bytes(bytes) => Bytes::copy_from_slice(bytes),
            // A pack: at most 32 MiB.
            Content::File(path) => tokio::fs::read(path)
                .await
                .map_err(|source| BackendError::Failed { operation: "create", name: name.to_owned(), source })?
                .into(),
        };
        let hash = ContentHash::of(&bytes);
        let Tried { answer, again } = try_until_clear(|| self.put(name, &bytes, &hash)).await;
        match answer {
            // An attempt of ours, of which nothing was heard, may have put it there.
            Err(refusal) if refusal.is_there_already() && again => match self.read(name).await {
                Ok(there) if there == bytes => Ok(()),
                Ok(_) => Err(BackendError::Exists { name: name.to_owned() }),
                Err(error) => Err(error),
            },
            answer => answer.map_err(|refusal| refusal.into_error("create", name)),
        }
    }

    async fn read(&self, name: &str) -> Result<Vec<u8>, BackendError> {
        self.read_whole(name).await.map_err(|refusal| refusal.into_error("read", name))
    }

    async fn read_range(&self, name: &str, offset: u64, length: u64) -> Result<Vec<u8>, BackendError> {
        // A range of nothing cannot be asked for, and says nothing of whether the file is there.
        let last = offset.saturating_add(length.max(1)).saturating_sub(1);
        // Servers count in signed numbers; what goes on for ever is asked for without an end.
        let range = match i64::try_from(last) {
            Ok(last) => format!("bytes={offset}-{last}"),
            Err(_) => format!("bytes={offset}-"),
        };
        match try_until_clear(|| self.get(name, Some(range.clone()))).await.answer {
            Ok(mut bytes) => {
                bytes.truncate(usize::try_from(length).unwrap_or(usize::MAX));
                Ok(bytes)
            }
            Err(refusal) if refusal.is_past_the_end() => Ok(Vec::new()),
            Err(refusal) => Err(refusal.into_error("read", name)),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<StoredFile>, BackendError> {
        let (mut files, mut from) = (Vec::new(), None);
        loop {
            let page = try_until_clear(|| self.page(prefix, from.clone())).await.answer;
            // An empty prefix is asked for by a folder's name: a bucket that is not there is not an empty one.
            let (found, next) = page.map_err(|refusal| refusal.into_error("list", prefix))?;
            files.extend(found);
            from = next;
            if from.is_none() {
                break;
            }
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(files)
    }

    async fn make_durable(&self, _name: &str) -> Result<(), BackendError> {
        // What can be seen is durable.
        Ok(())
    }

    async fn delete(&self, name: &str) -> Result<(), BackendError> {
        self.log().remove(name);
        match try_until_clear(|| self.remove(name)).await.answer {
            Err(refusal) if !refusal.is_not_found() => Err(refusal.into_error("delete", name)),
            _ => Ok(()),
        }
    }
}
