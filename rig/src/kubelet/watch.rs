//! One controller's pods, watched, and its process, kept as they want it.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};

use super::binding::Binding;
use super::pod;
use crate::error::RigError;
use crate::process::{Process, ProcessState};

/// Between two looks at whether the process still runs; also the pause before a watch or a process that ended begins
/// anew.
const TICK: Duration = Duration::from_millis(500);
/// What a process gets to end by itself: a pod's default grace period.
const GRACE: Duration = Duration::from_secs(30);

/// Keeps every binding until the process ends.
///
/// Must be called on the main thread of a current-thread runtime (see [`crate::process`]).
pub async fn run(client: Client, bindings: Vec<Binding>, say: &dyn Fn(&str)) {
    let controllers = bindings.into_iter().map(|binding| {
        let pods = Api::namespaced(client.clone(), &binding.namespace);
        Controller { pods, process: Process::new(binding.spec.clone()), binding, runs_for: None, restarts: 0 }.keep(say)
    });
    futures::future::join_all(controllers).await;
}

struct Controller {
    binding: Binding,
    pods: Api<Pod>,
    process: Process,
    /// The UID of the pod that the process is.
    runs_for: Option<String>,
    /// How often the process ended by itself since its pod began.
    restarts: u32,
}

impl Controller {
    async fn keep(mut self, say: &dyn Fn(&str)) {
        loop {
            if let Err(error) = self.follow(say).await {
                say(&format!("{}: {error}", self.binding.app));
            }
            // The API server may be away: the process runs on, as it would under a kubelet.
            tokio::time::sleep(TICK).await;
        }
    }

    /// Lists, then watches until the watch ends.
    async fn follow(&mut self, say: &dyn Fn(&str)) -> Result<(), RigError> {
        let label = format!("app={}", self.binding.app);
        let list = self.pods.list(&ListParams::default().labels(&label)).await.map_err(RigError::api("list pods"))?;
        let version = list.metadata.resource_version.unwrap_or_default();
        let mut pods: BTreeMap<String, Pod> = list.items.into_iter().map(|pod| (pod::uid(&pod), pod)).collect();
        let watching = WatchParams::default().labels(&label);
        let mut events = self.pods.watch(&watching, &version).await.map_err(RigError::api("watch pods"))?.boxed();
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(Ok(WatchEvent::Added(pod) | WatchEvent::Modified(pod))) => {
                        pods.insert(pod::uid(&pod), pod);
                    }
                    Some(Ok(WatchEvent::Deleted(pod))) => {
                        pods.remove(&pod::uid(&pod));
                    }
                    Some(Ok(WatchEvent::Bookmark(_))) => {}
                    Some(Ok(WatchEvent::Error(_)) | Err(_)) | None => return Ok(()),
                },
                _ = tick.tick() => {}
            }
            self.act(&pods, say).await?;
        }
    }

    async fn act(&mut self, pods: &BTreeMap<String, Pod>, say: &dyn Fn(&str)) -> Result<(), RigError> {
        let own = self.runs_for.as_ref().and_then(|uid| pods.get(uid));
        if self.runs_for.is_some() && !own.is_some_and(pod::is_wanted) {
            say(&format!("{}: its pod goes, so it ends", self.binding.app));
            self.process.stop(GRACE).await?;
            self.runs_for = None;
        }
        for going in pods.values().filter(|pod| pod.metadata.deletion_timestamp.is_some()) {
            pod::let_go(&self.pods, going).await.map_err(RigError::api("delete a pod"))?;
        }
        let wanted = pods.values().filter(|pod| pod::is_wanted(pod));
        if self.runs_for.is_none()
            && let Some(oldest) = wanted.clone().min_by_key(|pod| pod.metadata.creation_timestamp.clone())
        {
            self.process = Process::new(self.binding.spec_for(pod::image(oldest)));
            self.process.start()?;
            say(&format!("{}: started for {} ({})", self.binding.app, pod::name(oldest), pod::image(oldest)));
            self.runs_for = Some(pod::uid(oldest));
            self.restarts = 0;
        }
        for new in wanted.filter(|pod| !is_running(pod)) {
            pod::report(&self.pods, new, true, 0).await.map_err(RigError::api("report a pod"))?;
        }
        self.restart_if_ended(pods, say).await
    }

    async fn restart_if_ended(&mut self, pods: &BTreeMap<String, Pod>, say: &dyn Fn(&str)) -> Result<(), RigError> {
        let Some(own) = self.runs_for.as_ref().and_then(|uid| pods.get(uid)) else { return Ok(()) };
        let ProcessState::Ended { status } = self.process.state() else { return Ok(()) };
        self.restarts += 1;
        say(&format!("{}: ended by itself ({status}), started again", self.binding.app));
        let reported = |result: Result<(), kube::Error>| result.map_err(RigError::api("report a pod"));
        reported(pod::report(&self.pods, own, false, self.restarts).await)?;
        tokio::time::sleep(TICK).await;
        self.process.start()?;
        reported(pod::report(&self.pods, own, true, self.restarts).await)
    }
}

fn is_running(pod: &Pod) -> bool {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running")
}
