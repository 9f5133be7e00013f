//! No volume's data goes with its claim, or with its own object.
//!
//! In: a claim or a PersistentVolume that is about to be deleted. Out: the volume's reclaim policy is Retain first, so that
//! whoever provisioned it leaves the data alone. Where the snapshot has another policy, the next plan puts that back once
//! the volume is bound as it should be. Invariants: only a volume that is bound to this very claim is touched; the write is
//! bound to what was read.

use serde_json::{Value, json};

use crate::snapshot::ObjectPath;

use super::apply::Run;
use super::object;
use super::references::{core_path, is_claim, is_volume};
use super::requests::{Known, Target, WriteError};

const POLICY: &str = "/spec/persistentVolumeReclaimPolicy";

/// What a person should read where a claim or a volume is deleted.
pub(super) const KEPT: &str = "its data stays, since the volume is set to Retain first";

/// Deleting it could take data with it.
pub(super) fn holds_data(path: &ObjectPath) -> bool {
    is_claim(path) || is_volume(path)
}

impl Run<'_> {
    /// Sets the volume to Retain that would go with what is about to be deleted.
    pub(super) async fn keep_data(&self, place: &Target, known: &mut Known) -> Result<(), WriteError> {
        if is_volume(&place.path) && !object::is_terminating(&known.value) {
            return self.retain(place, known).await;
        }
        let Some(name) = object::text(&known.value, "/spec/volumeName").filter(|_| is_claim(&place.path)) else {
            return Ok(());
        };
        let path = core_path("persistentvolumes", None, name);
        let Some(parsed) = ObjectPath::parse(&path) else { return Ok(()) };
        let volume = Target { path: parsed, url: format!("/api/v1/persistentvolumes/{name}") };
        let Some(mut bound) = self.requests.read(&volume).await? else { return Ok(()) };
        let is_ours = object::text(&bound.value, "/spec/claimRef/uid") == Some(object::uid(&known.value).as_str());
        if !is_ours || object::is_terminating(&bound.value) {
            return Ok(());
        }
        self.retain(&volume, &mut bound).await?;
        // Its own action, if it has one, goes on from there.
        self.state().latest.insert(path, bound);
        Ok(())
    }

    async fn retain(&self, volume: &Target, known: &mut Known) -> Result<(), WriteError> {
        if object::text(&known.value, POLICY) == Some("Retain") {
            return Ok(());
        }
        let retained = |known: &Known| {
            let mut body: Value = known.value.clone();
            object::set(&mut body, "/spec", "persistentVolumeReclaimPolicy", json!("Retain"));
            body
        };
        self.requests.put(volume, &volume.url, known, retained).await
    }
}
