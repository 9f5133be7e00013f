//! Brings the objects of a type to the storage version of the wanted CRD, and the CRD to what it should be.
//!
//! In: the wanted CRD, and every other form of it that is known. Out: steps, one at a time, for a driver that writes down
//! each before and after it is taken. Invariants (I7): each step looks at the live CRD first and is bound to its UID and
//! resourceVersion; nothing is taken off the CRD before a whole pass over all objects moved none; when the type cannot be
//! read afterwards, the versions it had are put back. So whatever happens between two steps, or in the middle of one, the
//! type can be read, and a run that begins anew ends in the same state. Each is written down before it is taken.

use std::collections::BTreeSet;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::definition::{Definition, Schemas, union};
use super::error::StorageError;
use super::everywhere::{Expected, wait_everywhere};
use super::record::{Milestone, StorageRecord, Unrecorded};
use super::rewrite::{Rewriting, Rewritten};
use super::step::{Known, Step, next_step};
use crate::cluster::{Cluster, ClusterError, ListError, ListReader};
use crate::progress::Progress;
use crate::restore::object;
use crate::restore::options::RestoreOptions;
use crate::restore::write_recipe::put_body;

/// How many steps are taken in all; five are enough when nobody interferes.
const MOST_STEPS: u32 = 40;
/// How often the wanted CRD is tried before the union stays.
const MOST_TRIES: u32 = 3;
/// How often a list, or a pass over all objects, is repeated while the API server opens the type's storage anew.
const OPENING: u32 = 10;
/// Between two such lists.
const OPENING_PAUSE: Duration = Duration::from_millis(500);

/// What a step did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is done.
    Done,
    /// Every object is stored at the wanted version.
    Rewritten(Rewritten),
    /// Somebody else was faster: the next step is found anew.
    Overtaken,
    /// The type cannot be read as it is now: the next step puts the versions it had back.
    Broken {
        /// The server's words.
        problem: String,
    },
}

/// A type on its way to another storage version.
pub struct Conversion<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) name: String,
    url: String,
    pub(super) wanted: Value,
    others: Vec<Value>,
    record: &'a dyn StorageRecord,
    patience: Duration,
    parallel: usize,
    pub(super) live: Value,
    known: Known,
    /// Versions that the API server named when it could not read an object stored in them.
    named: BTreeSet<String>,
    steps: u32,
    tries: u32,
    unread: u32,
    problem: Option<String>,
}

impl std::fmt::Debug for Conversion<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Conversion({})", self.name)
    }
}

impl<'a> Conversion<'a> {
    /// `others` are forms of the CRD that may know versions which the live one lost: of the live capture, of the snapshot
    /// that was taken before anything was changed.
    pub fn new(cluster: &'a Cluster, wanted: Value, others: Vec<Value>, options: &RestoreOptions) -> Self {
        let name = Definition::of(&wanted).name().to_owned();
        Self {
            cluster,
            url: format!("{}/{name}", crate::cluster::CRDS_URL),
            name,
            wanted,
            others,
            record: &Unrecorded,
            patience: options.patience,
            parallel: options.parallel,
            live: Value::Null,
            known: Known::default(),
            named: BTreeSet::new(),
            steps: 0,
            tries: 0,
            unread: 0,
            problem: None,
        }
    }

    /// The same with somebody who writes down each step before it is taken.
    #[must_use]
    pub fn recorded_by(self, record: &'a dyn StorageRecord) -> Self {
        Self { record, ..self }
    }

    /// The same, and it does not end before this very run has seen every object stored as it should be, though the CRD
    /// may say so from the start: somebody else's hand may have finished it.
    #[must_use]
    pub fn seeing_every_object(mut self) -> Self {
        self.known.trusts_crd = false;
        self
    }

    /// Looks at the live CRD and says what comes next; `None` when everything is as it should be.
    ///
    /// # Errors
    /// The CRD is gone, is being deleted, is another one, or changes again and again; or the cluster does not answer.
    pub async fn next_step(&mut self) -> Result<Option<Step>, StorageError> {
        self.steps += 1;
        if self.steps > MOST_STEPS {
            return Err(StorageError::Contended { crd: self.name.clone() });
        }
        let live = self.read().await?;
        let same = self.live.is_null() || object::uid(&self.live) == object::uid(&live);
        if !same {
            return Err(StorageError::Replaced { crd: self.name.clone() });
        }
        if Definition::of(&live).is_terminating() {
            return Err(StorageError::Ending { crd: self.name.clone() });
        }
        self.live = live;
        Ok(next_step(&self.live, &self.wanted, &self.named, &self.known))
    }

    /// Takes the step that [`Conversion::next_step`] named last.
    ///
    /// # Errors
    /// The step cannot be taken. What was done so far stays, and the type can be read.
    pub async fn take(&mut self, step: Step, progress: &dyn Progress) -> Result<Taken, StorageError> {
        self.say(Milestone::About(step)).await?;
        let taken = match step {
            Step::Union => self.put_union().await,
            Step::Rewrite => self.rewrite(progress).await,
            Step::Narrow => self.narrow().await,
            Step::Finish => self.finish().await,
            Step::Prove => self.prove().await,
        }?;
        match (step, &taken) {
            (_, Taken::Rewritten(Rewritten { objects, .. })) => {
                self.say(Milestone::Rewritten { objects: *objects }).await?;
            }
            (Step::Prove, Taken::Done) => self.say(Milestone::Readable).await?,
            _ => {}
        }
        Ok(taken)
    }

    async fn say(&self, milestone: Milestone) -> Result<(), StorageError> {
        Ok(self.record.milestone(&self.name, milestone).await?)
    }

    /// Takes every step.
    ///
    /// # Errors
    /// As [`Conversion::next_step`] and [`Conversion::take`].
    pub async fn run(&mut self, progress: &dyn Progress) -> Result<Rewritten, StorageError> {
        let mut rewritten = Rewritten::default();
        while let Some(step) = self.next_step().await? {
            if let Taken::Rewritten(all) = self.take(step, progress).await? {
                rewritten = all;
            }
        }
        Ok(rewritten)
    }

    pub(super) async fn read(&self) -> Result<Value, StorageError> {
        match self.cluster.get(&self.url).await {
            Ok(bytes) => Ok(crate::cluster::parse(&self.url, "a CRD", &bytes)?),
            Err(error) if error.status() == Some(404) => Err(StorageError::Gone { crd: self.name.clone() }),
            Err(error) => Err(error.into()),
        }
    }

    async fn put_union(&mut self) -> Result<Taken, StorageError> {
        let whole = union(&self.live, &self.wanted, &self.others, &self.named, Schemas::Whole);
        let taken = match self.put(Step::Union, &self.url, &whole).await {
            Err(StorageError::Refused { answer, .. }) if is_too_large(answer.status, &answer.message) => {
                let open = union(&self.live, &self.wanted, &self.others, &self.named, Schemas::Open);
                self.put(Step::Union, &self.url, &open).await
            }
            other => other,
        }?;
        match self.problem.take() {
            Some(problem) if taken == Taken::Done => {
                self.tries += 1;
                if self.tries >= MOST_TRIES {
                    return Err(StorageError::PutBack { crd: self.name.clone(), problem });
                }
            }
            problem => self.problem = problem,
        }
        Ok(taken)
    }

    async fn rewrite(&mut self, progress: &dyn Progress) -> Result<Taken, StorageError> {
        let definition = Definition::of(&self.live);
        let (at, group) = (definition.at(), definition.group().to_owned());
        if !wait_everywhere(self.cluster, &Expected::of(definition, BTreeSet::new()), self.patience).await? {
            return Ok(Taken::Overtaken);
        }
        let rewriting = Rewriting {
            cluster: self.cluster,
            crd: &self.name,
            address: &definition.address(definition.storage()),
            parallel: self.parallel,
            progress,
        };
        let rewritten = match rewriting.until_still().await {
            Err(StorageError::Unreadable { crd, problem }) => {
                // With another version in the union the objects may be readable.
                if self.learn(&problem, &group) {
                    return Ok(Taken::Overtaken);
                }
                // A server may still read with the conversion that the union has set aside.
                self.unread += 1;
                if self.unread >= OPENING {
                    return Err(StorageError::Unreadable { crd, problem });
                }
                tokio::time::sleep(OPENING_PAUSE).await;
                return Ok(Taken::Overtaken);
            }
            other => other?,
        };
        // A CRD that changed meanwhile may have stored some of them otherwise.
        if Definition::of(&self.read().await?).at() != at {
            return Ok(Taken::Overtaken);
        }
        self.known.rewritten = Some(at);
        Ok(Taken::Rewritten(rewritten))
    }

    async fn narrow(&self) -> Result<Taken, StorageError> {
        let mut body = self.live.clone();
        object::set(&mut body, "/status", "storedVersions", json!(Definition::of(&self.wanted).stored()));
        self.put(Step::Narrow, &format!("{}/status", self.url), &body).await
    }

    pub(super) async fn finish(&mut self) -> Result<Taken, StorageError> {
        // What the union knows is needed if it has to come back.
        self.others.push(self.live.clone());
        let path = Definition::of(&self.wanted).tree_path();
        self.put(Step::Finish, &self.url, &put_body(&path, &self.wanted, &self.live)).await
    }

    pub(super) async fn prove(&mut self) -> Result<Taken, StorageError> {
        let definition = Definition::of(&self.live);
        let (at, group) = (definition.at(), definition.group().to_owned());
        let mut absent: BTreeSet<String> =
            self.others.iter().flat_map(|other| Definition::of(other).version_names()).collect();
        absent.retain(|version| !definition.version_names().contains(version));
        if !wait_everywhere(self.cluster, &Expected::of(definition, absent), self.patience).await? {
            return Ok(Taken::Overtaken);
        }
        let problem = match definition.read_version() {
            Some(version) => unreadable(self.cluster, &definition.address(version).list_url(None)).await?,
            None => None,
        };
        self.known.proven = Some((at, problem.is_none()));
        let Some(problem) = problem else { return Ok(Taken::Done) };
        self.learn(&problem, &group);
        self.problem = Some(problem.clone());
        Ok(Taken::Broken { problem })
    }

    /// Takes note of versions that the server names and the union does not have; says whether there were any.
    fn learn(&mut self, problem: &str, group: &str) -> bool {
        let mut known = Definition::of(&self.live).version_names();
        known.extend(self.named.iter().cloned());
        let new: Vec<String> = versions_in(problem, group).into_iter().filter(|name| !known.contains(name)).collect();
        let learned = !new.is_empty();
        self.named.extend(new);
        learned
    }

    async fn put(&self, step: Step, url: &str, body: &Value) -> Result<Taken, StorageError> {
        match self.cluster.send(Method::PUT, url, Some(body.to_string().into_bytes())).await {
            Ok(_) => Ok(Taken::Done),
            Err(ClusterError::Api(answer)) if answer.status == 409 => Ok(Taken::Overtaken),
            Err(ClusterError::Api(answer)) => Err(StorageError::Refused { crd: self.name.clone(), step, answer }),
            Err(error) => Err(error.into()),
        }
    }
}

/// A CRD with all its versions' schemas may be larger than etcd or the API server takes.
fn is_too_large(status: u16, message: &str) -> bool {
    status == 413 || message.contains("too large") || message.contains("larger than max")
}

/// Lists a whole type; why it cannot be read, if it cannot.
async fn unreadable(cluster: &Cluster, url: &str) -> Result<Option<String>, StorageError> {
    let mut problem = String::new();
    for _ in 0..OPENING {
        let mut reader = ListReader::latest(cluster, url.to_owned());
        let answer = loop {
            match reader.next().await {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(None),
                Err(ListError::Cluster(ClusterError::Api(answer))) => break answer,
                Err(ListError::Cluster(error)) => return Err(error.into()),
                // Compacted between two pages: begin anew.
                Err(_) => reader = ListReader::latest(cluster, url.to_owned()),
            }
        };
        problem = format!("{} {}", answer.status, answer.message);
        if !matches!(answer.status, 404 | 429 | 503) {
            break;
        }
        tokio::time::sleep(OPENING_PAUSE).await;
    }
    Ok(Some(problem))
}

/// The versions of a group that a text names, such as `v1` in `a.example/v1`.
pub(super) fn versions_in(text: &str, group: &str) -> BTreeSet<String> {
    let before = format!("{group}/");
    let after = text.split(&before).skip(1);
    let name = |rest: &str| -> String { rest.chars().take_while(char::is_ascii_alphanumeric).collect() };
    let is_version = |name: &String| {
        let mut letters = name.chars();
        letters.next() == Some('v') && letters.next().is_some_and(|digit| digit.is_ascii_digit())
    };
    after.map(name).filter(is_version).collect()
}

#[cfg(test)]
mod tests {
    use super::versions_in;

    #[test]
    fn a_lost_version_is_known_by_the_servers_words() {
        let names = |text: &str| versions_in(text, "a.example").into_iter().collect::<Vec<_>>();
        assert_eq!(names("request to convert CR from an invalid group/version: a.example/v2"), ["v2"]);
        assert_eq!(names("a.example/v1alpha1, Kind=A and a.example/v2beta1; b.a.example/x"), ["v1alpha1", "v2beta1"]);
        assert!(names("/apis/b.example/v1: a.example/v, a.examples/v1").is_empty());
    }
}
