//! Where the stand-in for source-controller gets a repository's index from.

use http::Request;
use kube::Client;

use super::artifacts::digest;
use crate::installer::{Release, catalog};

/// What serves the repositories that HelmRepositories name.
pub enum RepositoryServer {
    /// Nobody: every repository is as this release has it.
    Fixed(Release),
    /// The installer that runs now. Its answers change with its release, and there are none while it does not run.
    Installer(Client),
}

impl RepositoryServer {
    /// Whether the repository under a URL is still the one whose index has this digest: the charts of an older index are
    /// served no more.
    pub async fn still_has(&self, url: &str, index: &str) -> bool {
        match self {
            Self::Fixed(_) => true,
            Self::Installer(_) => self.index(url).await.is_ok_and(|now| digest(now.as_bytes()) == index),
        }
    }

    /// The index of the repository under a URL such as `http://cozystack.cozy-system.svc/repos/system`.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub async fn index(&self, url: &str) -> Result<String, String> {
        let repository = url.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        match self {
            Self::Fixed(release) => Ok(catalog::index(*release, repository)),
            Self::Installer(client) => {
                let request = Request::get(format!("/repos/{repository}/index.yaml")).body(Vec::new());
                let request = request.map_err(|error| error.to_string())?;
                client.request_text(request).await.map_err(|error| error.to_string())
            }
        }
    }
}
