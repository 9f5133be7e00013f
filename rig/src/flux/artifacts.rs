//! What source-controller's own file server gives: chart archives and repository indexes, by their path.

use sha2::{Digest as _, Sha256};

use super::error::FluxError;
use crate::installer::{Release, catalog};

/// The host that artifact URLs name, as in a real cluster.
pub const HOST: &str = "http://source-controller.cozy-fluxcd.svc.cluster.local.";

/// A file that is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Its path below [`HOST`].
    pub path: String,
    /// Its bytes.
    pub content: Vec<u8>,
}

impl Artifact {
    /// The archive of one chart for one HelmChart object.
    ///
    /// # Errors
    /// [`FluxError::Pack`] when it cannot be made.
    pub fn of_chart(namespace: &str, object: &str, chart: &str, version: &str) -> Result<Self, FluxError> {
        let content = catalog::chart(chart, version)
            .pack()
            .map_err(|source| FluxError::Pack { chart: chart.to_owned(), source })?;
        Ok(Self { path: format!("helmchart/{namespace}/{object}/{chart}-{version}.tgz"), content })
    }

    /// The index of one HelmRepository object.
    pub fn of_index(namespace: &str, object: &str, index: String) -> Self {
        let content = index.into_bytes();
        let hash = sha256(&content);
        Self { path: format!("helmrepository/{namespace}/{object}/index-{hash}.yaml"), content }
    }

    /// The digest of its bytes.
    pub fn digest(&self) -> String {
        digest(&self.content)
    }
}

/// `sha256:` and the hash of some bytes.
pub fn digest(content: &[u8]) -> String {
    format!("sha256:{}", sha256(content))
}

fn sha256(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The release and the repository whose index has this digest, as the revision of a HelmRepository's artifact says it.
pub fn indexed(revision: &str) -> Option<(Release, &'static str)> {
    every_index().find(|(release, repository)| revision == digest(catalog::index(*release, repository).as_bytes()))
}

fn every_index() -> impl Iterator<Item = (Release, &'static str)> {
    Release::ALL.into_iter().flat_map(|release| catalog::REPOSITORIES.map(|repository| (release, repository)))
}

/// What lies under a path: everything can be made again from the path alone, so nothing is kept.
pub fn find(path: &str) -> Option<Vec<u8>> {
    /// Answered as soon as archives are served.
    const READY: &str = "/readyz";
    if path == READY {
        return Some(Vec::new());
    }
    let path = path.trim_start_matches('/');
    let parts: Vec<&str> = path.split('/').collect();
    let found = match parts.as_slice() {
        ["helmchart", namespace, object, file] => {
            let charts = every_index().flat_map(|(release, repository)| catalog::charts(release, repository));
            let (chart, version) = charts.into_iter().find_map(|(chart, versions)| {
                let version = file.strip_suffix(".tgz")?.strip_prefix(chart.as_str())?.strip_prefix('-')?;
                versions.iter().find(|known| **known == version).map(|known| (chart.clone(), *known))
            })?;
            Artifact::of_chart(namespace, object, &chart, version).ok()?
        }
        ["helmrepository", namespace, object, _] => every_index()
            .map(|(release, repository)| Artifact::of_index(namespace, object, catalog::index(release, repository)))
            .find(|artifact| artifact.path == path)?,
        _ => return None,
    };
    Some(found.content)
}

#[cfg(test)]
mod tests {
    use super::{Artifact, Release, catalog, find, indexed};

    #[test]
    fn what_an_artifact_names_is_found_under_its_path() {
        let chart = Artifact::of_chart("cozy-system", "cozy-cilium-cilium", "cozy-cilium", "0.36.2").expect("a chart");
        assert_eq!(find(&format!("/{}", chart.path)), Some(chart.content));
        for release in Release::ALL {
            let index = catalog::index(release, "system");
            let artifact = Artifact::of_index("cozy-system", "cozystack-system", index);
            assert_eq!(indexed(&artifact.digest()), Some((release, "system")));
            assert_eq!(find(&artifact.path), Some(artifact.content));
        }
        assert_eq!(find("/helmchart/cozy-system/x/cozy-cilium-9.9.9.tgz"), None);
    }
}
