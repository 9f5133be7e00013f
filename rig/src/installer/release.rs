//! The releases of CozyStack that the small one can run.

/// A release, in the order of their versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Release {
    /// 0.36.2: what a small CozyStack is seeded as.
    V0_36_2,
    /// 0.37.2, whose migration deletes HelmReleases and CRDs.
    V0_37_2,
}

impl Release {
    /// Every release there is, oldest first.
    pub const ALL: [Self; 2] = [Self::V0_36_2, Self::V0_37_2];

    /// The one that a small CozyStack is seeded as.
    pub const SEEDED: Self = Self::V0_36_2;

    /// The release of a version such as `0.37.2`.
    pub fn of_version(version: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|release| release.version() == version)
    }

    /// Its version, without the `v` of its tag.
    pub fn version(self) -> &'static str {
        match self {
            Self::V0_36_2 => "0.36.2",
            Self::V0_37_2 => "0.37.2",
        }
    }

    /// The migration counter that it brings a cluster to: the number of its last migration and one more.
    pub fn counter(self) -> u32 {
        match self {
            Self::V0_36_2 => 20,
            Self::V0_37_2 => 21,
        }
    }

    /// The versions of the tenant chart in its repository, oldest first. Applications have versions of their own up to
    /// 0.36; from 0.37 on there is one, the platform's.
    pub fn tenant_charts(self) -> &'static [&'static str] {
        match self {
            Self::V0_36_2 => &["1.13.0", "1.14.0"],
            Self::V0_37_2 => &["0.37.2"],
        }
    }

    /// The image of its installer. The digest is made up, and the same every time.
    pub fn image(self) -> String {
        let (version, counter) = (self.version(), self.counter());
        format!("ghcr.io/cozystack/cozystack/installer:v{version}@sha256:{counter:064x}")
    }
}

/// The version in an image such as `ghcr.io/cozystack/cozystack/installer:v0.37.2@sha256:...`.
pub fn version_of_image(image: &str) -> Option<&str> {
    let named = image.split('@').next()?;
    let (_, tag) = named.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'))?;
    Some(tag.trim_start_matches('v'))
}

#[cfg(test)]
mod tests {
    use super::{Release, version_of_image};

    #[test]
    fn an_image_tells_its_release() {
        for release in Release::ALL {
            let image = release.image();
            assert_eq!(version_of_image(&image).and_then(Release::of_version), Some(release));
        }
        assert_eq!(version_of_image("registry.example:5000/installer"), None);
    }
}
