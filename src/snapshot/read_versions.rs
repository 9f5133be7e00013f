//! At which version each custom type is read, when somebody chose one.
//!
//! In: the CRDs of the revision, and the versions of a snapshot that the capture is compared with. Out: the CRDs, with the
//! chosen versions where they can be read: at any other version every object of the type would differ. A conversion
//! webhook that does not answer makes a type unreadable at any version but its storage version, so where there is one the
//! type is listed to see.

use std::collections::BTreeMap;

use crate::cluster::{Cluster, ClusterError, CustomResourceDefinition, ListError, ListReader};

/// Lets each CRD be read at the version that was chosen for it, if that is possible.
pub(super) async fn choose_versions(
    cluster: &Cluster,
    crds: &mut BTreeMap<String, CustomResourceDefinition>,
    chosen: &BTreeMap<(String, String), String>,
) -> Result<(), ClusterError> {
    if chosen.is_empty() {
        return Ok(());
    }
    for crd in crds.values_mut() {
        let Some(version) = chosen.get(&(crd.group.clone(), crd.plural.clone())) else { continue };
        let differs = *version != crd.storage_version && crd.served_versions.contains(version);
        if differs && (!crd.converts_by_webhook || is_readable(cluster, crd, version).await?) {
            crd.read_version.clone_from(version);
        }
    }
    Ok(())
}

async fn is_readable(cluster: &Cluster, crd: &CustomResourceDefinition, version: &str) -> Result<bool, ClusterError> {
    let mut reader = ListReader::latest(cluster, format!("/apis/{}/{version}/{}", crd.group, crd.plural));
    loop {
        match reader.next().await {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(true),
            Err(ListError::Cluster(error)) if error.api().is_none() => return Err(error),
            Err(_) => return Ok(false),
        }
    }
}
