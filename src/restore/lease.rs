//! One writer on a cluster at a time (I9): a Lease that the transaction holds while it works.
//!
//! In: the id of a transaction. Out: the lease, kept alive in the background, and a [`Guard`] that says before each
//! write whether it still is. Invariants: whoever lost the lease finds its guard closed before anyone else can have it,
//! since it stops earlier than the lease runs out; a lease that has a holder is taken only after it was seen unrenewed for
//! as long as it lasts, so that no clock that jumps or differs gives it to two. Leases are never restored, so a restore
//! does not fight it.
//!
//! ```text
//!   renewed ──────── writes allowed ────────┤ STOP_AT of the duration ├── nobody writes ──┤ runs out: others take it
//! ```

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cluster::{Cluster, ClusterError, WriteGate};

use super::lease_record::{
    after, delete, duration, holder, lease_name, process, read, renewed, server_time, taken_by, until, write,
};
use super::moment::Moment;
use super::object;

/// How often taking it is tried while others are faster.
const ATTEMPTS: u32 = 5;
/// Between two looks at a lease that may run out.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Where the lease is, and its times.
#[derive(Clone, Debug)]
pub struct LeaseOptions {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// How long it lasts after it was renewed. Nobody writes in the last third of it.
    pub duration: Duration,
    /// How often it is renewed.
    pub renew_every: Duration,
    /// What is known of an earlier process of the same transaction.
    pub predecessor: Predecessor,
}

impl Default for LeaseOptions {
    /// `kube-system/snapback`, half a minute: a renewal may fail twice, and who was killed is replaced soon.
    fn default() -> Self {
        Self {
            namespace: "kube-system".to_owned(),
            name: "snapback".to_owned(),
            duration: Duration::from_secs(30),
            renew_every: Duration::from_secs(6),
            predecessor: Predecessor::Unknown,
        }
    }
}

/// What is known of an earlier process of the same transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Predecessor {
    /// Nothing: its lease is waited for.
    #[default]
    Unknown,
    /// It has ended (the caller has the lock that it held): its lease is taken over at once.
    Dead,
}

/// Why the lease cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LeaseError {
    /// Somebody else has it.
    #[error(
        "transaction `{holder}` works on this cluster: it holds the lease `{lease}` until {until} by the API server's clock"
    )]
    Held {
        /// `namespace/name`.
        lease: String,
        /// Who.
        holder: String,
        /// Until when, unless it is renewed.
        until: Timestamp,
    },
    /// It changes hands faster than it can be taken.
    #[error("the lease `{lease}` changes hands faster than it can be taken")]
    Contended {
        /// `namespace/name`.
        lease: String,
    },
    /// It was lost.
    #[error(transparent)]
    Lost(#[from] LeaseLost),
    /// The cluster does not answer.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

/// Why nothing may be written any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseLost {
    /// Somebody took it, or removed it.
    #[error("the lease `{lease}` was taken by {}", taker(holder.as_deref()))]
    Taken {
        /// `namespace/name`.
        lease: String,
        /// Who has it now.
        holder: Option<String>,
    },
    /// It could not be renewed in time.
    #[error("the lease `{lease}` could not be renewed for {seconds} s")]
    NotRenewed {
        /// `namespace/name`.
        lease: String,
        /// Since the last renewal.
        seconds: u64,
    },
    /// Its owner gave it back.
    #[error("the lease `{lease}` was given back")]
    GivenBack {
        /// `namespace/name`.
        lease: String,
    },
}

fn taker(holder: Option<&str>) -> String {
    holder.map_or_else(|| "somebody who removed it".to_owned(), |holder| format!("transaction `{holder}`"))
}

/// The lease, held. Dropping it without [`Lease::release`] lets it run out.
#[derive(Debug)]
pub struct Lease {
    keeper: Arc<Keeper>,
    renewing: JoinHandle<()>,
}

/// Says whether the lease is still held. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Guard {
    keeper: Arc<Keeper>,
    lost: watch::Receiver<Option<LeaseLost>>,
}

#[derive(Debug)]
struct Keeper {
    cluster: Cluster,
    options: LeaseOptions,
    process: String,
    clock: ServerClock,
    state: Mutex<State>,
    lost: watch::Sender<Option<LeaseLost>>,
}

/// The API server's clock, read once and run on by ours.
#[derive(Clone, Copy, Debug)]
struct ServerClock {
    read: Timestamp,
    at: Moment,
}

impl ServerClock {
    fn now(self) -> Timestamp {
        after(self.read, self.at.elapsed())
    }
}

#[derive(Clone, Debug)]
struct State {
    /// As the API server had it last.
    lease: Value,
    /// When the last renewal began.
    renewed: Moment,
}

impl Lease {
    /// Takes the lease for a transaction and keeps it.
    ///
    /// # Errors
    /// Another transaction has it, or another living process of this one; the cluster does not answer.
    pub async fn acquire(cluster: &Cluster, transaction: &str, options: &LeaseOptions) -> Result<Self, LeaseError> {
        let process = format!("{:016x}", RandomState::new().build_hasher().finish());
        let clock = ServerClock { read: server_time(cluster, options).await?, at: Moment::now() };
        let mut watched = None;
        for _ in 0..ATTEMPTS {
            let current = wait_for_turn(cluster, transaction, options, clock, &mut watched).await?;
            let renewed = Moment::now();
            let lease = taken_by(transaction, &process, clock.now(), options, current);
            match write(cluster, options, &lease).await {
                Ok(lease) => {
                    let keeper = Arc::new(Keeper {
                        cluster: cluster.clone(),
                        options: options.clone(),
                        process,
                        clock,
                        state: Mutex::new(State { lease, renewed }),
                        lost: watch::channel(None).0,
                    });
                    let renewing = tokio::spawn(Arc::clone(&keeper).keep());
                    return Ok(Self { keeper, renewing });
                }
                Err(error) if matches!(error.status(), Some(404 | 409)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(LeaseError::Contended { lease: lease_name(options) })
    }

    /// What asks, before each write, whether the lease is still held.
    pub fn guard(&self) -> Guard {
        Guard { keeper: Arc::clone(&self.keeper), lost: self.keeper.lost.subscribe() }
    }

    /// Gives it back, so that the next one need not wait.
    ///
    /// # Errors
    /// It was lost before, or the cluster does not answer.
    pub async fn release(self) -> Result<(), LeaseError> {
        self.renewing.abort();
        self.keeper.check()?;
        let (cluster, options) = (&self.keeper.cluster, &self.keeper.options);
        let mut lease = self.keeper.lock().lease.clone();
        loop {
            match delete(cluster, options, &lease).await {
                Ok(()) => return Ok(()),
                Err(error) if matches!(error.status(), Some(404 | 409)) => {}
                Err(error) => return Err(error.into()),
            }
            // A renewal that was under way may have been done.
            match read(cluster, options).await? {
                Some(now) if process(&now) == Some(self.keeper.process.as_str()) => lease = now,
                _ => return Ok(()),
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewing.abort();
        let given_back = LeaseLost::GivenBack { lease: lease_name(&self.keeper.options) };
        self.keeper.lost.send_if_modified(|lost| {
            let held = lost.is_none();
            lost.get_or_insert(given_back);
            held
        });
    }
}

/// The transaction that has the lease, or had it when its process died. Nothing is written, and nothing waited for.
///
/// # Errors
/// The cluster does not answer, or this account may not read leases.
pub async fn lease_holder(cluster: &Cluster) -> Result<Option<String>, ClusterError> {
    let lease = read(cluster, &LeaseOptions::default()).await?;
    Ok(lease.map(|lease| holder(&lease).to_owned()).filter(|holder| !holder.is_empty()))
}

/// Gives the lease as it is, once this transaction may take it; `None` when there is none.
async fn wait_for_turn(
    cluster: &Cluster,
    transaction: &str,
    options: &LeaseOptions,
    clock: ServerClock,
    watched: &mut Option<(String, Moment)>,
) -> Result<Option<Value>, LeaseError> {
    loop {
        let Some(current) = read(cluster, options).await? else { return Ok(None) };
        if holder(&current).is_empty() {
            return Ok(Some(current));
        }
        let held = || LeaseError::Held {
            lease: lease_name(options),
            holder: holder(&current).to_owned(),
            until: until(&current),
        };
        let ours = holder(&current) == transaction;
        if !ours && until(&current) >= clock.now() {
            return Err(held());
        }
        // An earlier process of this transaction, which may be dead, or a lease that ran out by the API server's clock,
        // which may have jumped, or be another API server's than the holder's. One that nobody renewed for as long as
        // it lasts, by our own clock, is nobody's; one that is renewed has a living owner.
        let version = object::resource_version(&current);
        match watched {
            _ if ours && options.predecessor == Predecessor::Dead => return Ok(Some(current)),
            Some((known, since)) if *known == version => {
                if since.elapsed() >= duration(&current) {
                    return Ok(Some(current));
                }
            }
            Some(_) => return Err(held()),
            None => *watched = Some((version, Moment::now())),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// A connection that is gated by it writes nothing after the lease was lost.
impl WriteGate for Guard {
    fn check(&self) -> Result<(), String> {
        self.keeper.check().map_err(|lost| lost.to_string())
    }
}

impl Guard {
    /// Nothing may be written after this failed.
    ///
    /// # Errors
    /// The lease was lost, or could not be renewed in time.
    pub fn check(&self) -> Result<(), LeaseLost> {
        self.keeper.check()
    }

    /// Ends when the lease is lost for good.
    pub async fn lost(&mut self) -> LeaseLost {
        let lost = self.lost.wait_for(Option::is_some).await.ok().and_then(|lost| lost.clone());
        lost.unwrap_or_else(|| self.keeper.taken(None))
    }
}

impl Keeper {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self) -> Result<(), LeaseLost> {
        if let Some(lost) = self.lost.borrow().clone() {
            return Err(lost);
        }
        // After a sleep of the machine a renewal comes first; a jump of its clock is none.
        let since = self.lock().renewed.elapsed();
        if since >= self.stop_after() {
            return Err(LeaseLost::NotRenewed { lease: lease_name(&self.options), seconds: since.as_secs() });
        }
        Ok(())
    }

    /// The last third of the lease is for what is under way, and for what a clock of whole seconds cuts off.
    fn stop_after(&self) -> Duration {
        self.options.duration * 2 / 3
    }

    /// Renews it until it is lost. While that fails it is tried faster; the guard is closed after a while, and opens
    /// again if nobody took the lease meanwhile.
    async fn keep(self: Arc<Self>) {
        let mut wait = self.options.renew_every;
        loop {
            tokio::time::sleep(wait).await;
            match tokio::time::timeout(self.stop_after(), self.renew()).await {
                Ok(Ok(())) => wait = self.options.renew_every,
                Ok(Err(Some(lost))) => {
                    self.lost.send_replace(Some(lost));
                    return;
                }
                Ok(Err(None)) | Err(_) => wait = self.options.renew_every / 4,
            }
        }
    }

    /// Renews it once. An error without a reason says that nothing is known.
    async fn renew(&self) -> Result<(), Option<LeaseLost>> {
        let began = Moment::now();
        let lease = renewed(&self.lock().lease, self.clock.now());
        match write(&self.cluster, &self.options, &lease).await {
            Ok(lease) => {
                *self.lock() = State { lease, renewed: began };
                Ok(())
            }
            Err(error) if matches!(error.status(), Some(404 | 409)) => {
                let Some(now) = read(&self.cluster, &self.options).await.map_err(|_| None)? else {
                    return Err(Some(self.taken(None)));
                };
                if process(&now) != Some(self.process.as_str()) {
                    return Err(Some(self.taken(Some(holder(&now).to_owned()))));
                }
                // An earlier renewal was done, though its answer did not come.
                self.lock().lease = now;
                Err(None)
            }
            Err(_) => Err(None),
        }
    }

    fn taken(&self, holder: Option<String>) -> LeaseLost {
        LeaseLost::Taken { lease: lease_name(&self.options), holder }
    }
}
