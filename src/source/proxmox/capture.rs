//! Captures what Proxmox says of its backup jobs and storages.

use serde_json::Value;

use super::address::ProxmoxAddress;
use super::answer::{by_name, canonical, sees_all_storages, without_clock};
use super::client::Client;
use super::error::ProxmoxError;
use super::tls::Trust;
use super::token::ApiToken;
use crate::progress::{Progress, ProgressEvent};
use crate::store::{Blob, FrameGroup, SnapshotWriter, SourceRecord, SourceState};

/// The source's name, and the folder it has in a snapshot.
const NAME: &str = "proxmox";

/// A Proxmox cluster: any node answers for all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxmoxSource {
    /// A node.
    pub address: ProxmoxAddress,
    /// Who asks; the role PVEAuditor on `/` is enough.
    pub token: ApiToken,
    /// How the node proves itself.
    pub trust: Trust,
}

/// Takes Proxmox's answers into `proxmox/`. On an error nothing of it is in the snapshot. The source is partial when the
/// token may not see every storage.
///
/// # Errors
/// Proxmox cannot be reached, does not let the token read, or answers something else; or the repository failed.
pub async fn capture_proxmox(
    source: &ProxmoxSource,
    writer: &mut SnapshotWriter,
    progress: &dyn Progress,
) -> Result<SourceRecord, ProxmoxError> {
    progress.report(ProgressEvent::Stage(format!("reading Proxmox at `{}`", source.address)));
    if source.trust == Trust::Anyone {
        progress.report(ProgressEvent::Note(
            "the Proxmox certificate is not checked (`insecure_skip_tls_verify`): whoever is in between can read the token"
                .to_owned(),
        ));
    }
    let client = Client::new(&source.address, &source.token, &source.trust)?;
    let version = client.get("version").await?;
    let jobs = without_clock(client.get("cluster/backup").await?);
    let storages = by_name(client.get("storage").await?);
    let sees_all = sees_all_storages(&client.get("access/permissions").await?);
    for (path, answer) in [("version", &version), ("cluster/backup", &jobs), ("storage", &storages)] {
        if let Err(error) = put(path, answer, writer).await {
            writer.discard(NAME);
            return Err(error);
        }
        progress.report(ProgressEvent::Done(1));
    }
    let (state, detail) = if sees_all {
        (SourceState::Complete, String::new())
    } else {
        let detail = format!(
            "the token `{}` lacks Datastore.Audit on /storage, so storages that it may not see are not listed",
            source.token.id()
        );
        (SourceState::Partial, detail)
    };
    Ok(SourceRecord { name: NAME.to_owned(), state, detail })
}

async fn put(path: &str, answer: &Value, writer: &mut SnapshotWriter) -> Result<(), ProxmoxError> {
    let blob = Blob::new(canonical(answer).into());
    Ok(writer.put(&format!("{NAME}/{path}.json"), blob, FrameGroup::Apart(NAME.to_owned())).await?)
}
