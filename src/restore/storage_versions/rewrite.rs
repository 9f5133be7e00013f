//! Writes every object of a type as it is, so that it is stored at the version that the CRD stores at now.
//!
//! In: a type at its storage version. Out: how many objects there are once a whole pass moved none. A write that changes
//! nothing moves an object's resourceVersion only when it was stored otherwise. Every write is bound to the UID and the
//! resourceVersion that were read; what somebody wrote meanwhile is read again, and no write of theirs counts as one of
//! ours, so that a busy cluster comes to an end too. Bounded memory: a page at a time.

use std::time::Duration;

use futures::StreamExt as _;
use http::Method;
use serde::Deserialize;

use super::error::{RefusedObject, StorageError};
use crate::cluster::{Cluster, ClusterError, ListError, ListReader};
use crate::progress::{Progress, ProgressEvent};
use crate::restore::address::TypeAddress;
use crate::restore::refuser::Refuser;
use crate::snapshot::ObjectPath;

/// How many whole passes are made; the second one moves nothing unless somebody else stores at another version.
const MOST_PASSES: u32 = 10;
/// How often a pass begins anew because its revision was compacted.
const MOST_RESTARTS: u32 = 5;
/// How often an object is read again that somebody else just wrote.
const CONFLICTS: u32 = 8;
/// How often a write is repeated that the API server did not take yet.
const THROTTLED: u32 = 10;

/// All objects of a type, written anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rewritten {
    /// How many there were in the last pass.
    pub objects: u64,
    /// How many moved in all passes.
    pub moved: u64,
    /// How many passes it took; the last one moved none.
    pub passes: u32,
}

/// A type whose objects are written anew.
pub(super) struct Rewriting<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) crd: &'a str,
    /// At its storage version.
    pub(super) address: &'a TypeAddress,
    pub(super) parallel: usize,
    pub(super) progress: &'a dyn Progress,
}

#[derive(Default)]
struct Pass {
    objects: u64,
    moved: u64,
    refused: u64,
    first_refused: Option<RefusedObject>,
}

enum Written {
    Same,
    Moved,
    Gone,
    Refused(RefusedObject),
}

impl Rewriting<'_> {
    /// Passes over all objects until one moves none.
    pub(super) async fn until_still(&self) -> Result<Rewritten, StorageError> {
        let mut rewritten = Rewritten::default();
        while rewritten.passes < MOST_PASSES {
            let stage = format!("storing {} at {}", self.crd, self.address.version);
            self.progress.report(ProgressEvent::Stage(stage));
            let pass = self.pass().await?;
            rewritten.passes += 1;
            rewritten.moved += pass.moved;
            rewritten.objects = pass.objects;
            if let Some(first) = pass.first_refused {
                let (crd, version) = (self.crd.to_owned(), self.address.version.clone());
                return Err(StorageError::ObjectsRefused { crd, version, count: pass.refused, first });
            }
            if pass.moved == 0 {
                return Ok(rewritten);
            }
        }
        Err(StorageError::NeverStill { crd: self.crd.to_owned(), passes: rewritten.passes })
    }

    async fn pass(&self) -> Result<Pass, StorageError> {
        let mut pass = Pass::default();
        let mut restarts = 0;
        let mut reader = ListReader::latest(self.cluster, self.address.list_url(None));
        loop {
            let page = match reader.next().await {
                Ok(Some(page)) => page,
                Ok(None) => return Ok(pass),
                // Compacted meanwhile: what was written so far stays, and the pass counts from its new begin.
                Err(ListError::Gone { .. } | ListError::OtherRevision { .. }) if restarts < MOST_RESTARTS => {
                    restarts += 1;
                    pass = Pass { moved: pass.moved, ..Pass::default() };
                    reader = ListReader::latest(self.cluster, self.address.list_url(None));
                    continue;
                }
                Err(ListError::Cluster(ClusterError::Api(answer))) => {
                    let problem = format!("{} {}", answer.status, answer.message);
                    return Err(StorageError::Unreadable { crd: self.crd.to_owned(), problem });
                }
                Err(ListError::Cluster(error)) => return Err(error.into()),
                Err(lost) => {
                    return Err(StorageError::Unreadable { crd: self.crd.to_owned(), problem: lost.to_string() });
                }
            };
            let items: Vec<String> = page.items().map(str::to_owned).collect();
            let count = items.len() as u64;
            let mut writes =
                futures::stream::iter(items).map(|item| self.write(item)).buffer_unordered(self.parallel.max(1));
            while let Some(written) = writes.next().await {
                let written = written?;
                pass.objects += u64::from(!matches!(written, Written::Gone));
                match written {
                    Written::Same | Written::Gone => {}
                    Written::Moved => pass.moved += 1,
                    Written::Refused(refused) => {
                        pass.refused += 1;
                        pass.first_refused.get_or_insert(refused);
                    }
                }
            }
            self.progress.report(ProgressEvent::Done(count));
        }
    }

    async fn write(&self, mut item: String) -> Result<Written, ClusterError> {
        let mut known = self.identity(&item)?;
        let url = self.address.object_url(known.namespace.as_deref(), &known.name);
        for _ in 0..CONFLICTS {
            match self.put(&url, item).await {
                Ok(answer) => {
                    let now = self.identity(&answer)?;
                    return Ok(if now.resource_version == known.resource_version {
                        Written::Same
                    } else {
                        Written::Moved
                    });
                }
                Err(ClusterError::Api(answer)) if answer.status == 404 => return Ok(Written::Gone),
                Err(ClusterError::Api(answer)) if answer.status == 409 => {}
                Err(ClusterError::Api(answer)) => {
                    let path = ObjectPath {
                        group: self.address.group.clone(),
                        resource: self.address.resource.clone(),
                        namespace: known.namespace,
                        name: known.name,
                    };
                    let reason = format!("{} {}: {}", answer.status, answer.reason, answer.message);
                    let by = Refuser::of(&answer);
                    return Ok(Written::Refused(RefusedObject { path: path.to_tree_path(), by, reason }));
                }
                Err(error) => return Err(error),
            }
            item = match self.cluster.get(&url).await {
                Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                Err(error) if error.status() == Some(404) => return Ok(Written::Gone),
                Err(error) => return Err(error),
            };
            known = self.identity(&item)?;
        }
        // Somebody writes it all the time: the next pass finds it still.
        Ok(Written::Moved)
    }

    async fn put(&self, url: &str, item: String) -> Result<String, ClusterError> {
        let body = item.into_bytes();
        for attempt in 0.. {
            match self.cluster.send(Method::PUT, url, Some(body.clone())).await {
                // 429 says that the request was not looked at.
                Err(ClusterError::Api(answer)) if answer.status == 429 && attempt < THROTTLED => {
                    tokio::time::sleep(Duration::from_secs(answer.retry_after.unwrap_or(1))).await;
                }
                other => return other.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
            }
        }
        Ok(String::new())
    }

    fn identity(&self, object: &str) -> Result<Identity, ClusterError> {
        #[derive(Deserialize)]
        struct Object {
            metadata: Identity,
        }
        let url = self.address.list_url(None);
        Ok(crate::cluster::parse::<Object>(&url, "an object", object.as_bytes())?.metadata)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity {
    name: String,
    namespace: Option<String>,
    resource_version: String,
}
