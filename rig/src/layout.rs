//! Where everything lies in the folder of a throwaway cluster.
//!
//! ```text
//! FOLDER/            0700
//!   rig.json         0600  endpoints, certificate paths, pids: for machines (see `description`)
//!   kubeconfig       0600  system:masters
//!   audit.log              every request, level Metadata
//!   etcd/                  etcd's data folder
//!   pki/                   certificates and keys; copied with etcd/ when a cluster starts from a template
//!   config/                kubeconfigs of the controllers, audit policy, kwok's stages, encryption configuration
//!   logs/                  one file for each server
//! ```

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::RigError;

/// The paths inside one cluster's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    folder: PathBuf,
}

impl Layout {
    /// The layout of a folder, which need not exist.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The description for machines, which also marks a folder as ours.
    pub fn description(&self) -> PathBuf {
        self.folder.join("rig.json")
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// The API server's audit log.
    pub fn audit_log(&self) -> PathBuf {
        self.folder.join("audit.log")
    }

    /// The administrator's kubeconfig for the second API server, where there is one.
    pub fn second_kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig-2")
    }

    /// The second API server's audit log.
    pub fn second_audit_log(&self) -> PathBuf {
        self.folder.join("audit-2.log")
    }

    /// etcd's data folder.
    pub fn etcd_data(&self) -> PathBuf {
        self.folder.join("etcd")
    }

    /// The folder of certificates and keys.
    pub fn pki(&self) -> PathBuf {
        self.folder.join("pki")
    }

    /// A certificate in [`Layout::pki`].
    pub fn certificate(&self, name: &str) -> PathBuf {
        self.pki().join(format!("{name}.crt"))
    }

    /// A private key in [`Layout::pki`].
    pub fn key(&self, name: &str) -> PathBuf {
        self.pki().join(format!("{name}.key"))
    }

    /// A file that is made at start from options.
    pub fn config(&self, name: &str) -> PathBuf {
        self.folder.join("config").join(name)
    }

    /// The log of one server.
    pub fn log(&self, server: &str) -> PathBuf {
        self.folder.join("logs").join(format!("{server}.log"))
    }

    /// Makes the folder and its sub-folders. An existing folder must be empty: then it is ours from here on.
    ///
    /// # Errors
    /// [`RigError::FolderInUse`] when something is in the folder, [`RigError::File`] when it cannot be made.
    pub fn create(&self) -> Result<OwnedFolder, RigError> {
        if let Ok(mut entries) = fs::read_dir(&self.folder)
            && entries.next().is_some()
        {
            return Err(RigError::FolderInUse { folder: self.folder.clone() });
        }
        let make = |folder: &Path| {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.map_err(RigError::file("create", folder))
        };
        make(&self.folder)?;
        let owned = OwnedFolder { folder: self.folder.clone(), kept: false };
        for folder in [self.pki(), self.folder.join("config"), self.folder.join("logs")] {
            make(&folder)?;
        }
        Ok(owned)
    }
}

/// A folder that we made and that goes with everything in it when this is dropped, unless it is kept.
#[derive(Debug)]
pub struct OwnedFolder {
    folder: PathBuf,
    kept: bool,
}

impl OwnedFolder {
    /// Leaves the folder where it is.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for OwnedFolder {
    fn drop(&mut self) {
        /// A server that was just killed may still finish a write.
        const TRIES: u32 = 50;
        if self.kept {
            return;
        }
        for _ in 0..TRIES {
            if fs::remove_dir_all(&self.folder).is_ok() || !self.folder.exists() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Writes a file that only its owner may read, whole or not at all.
///
/// # Errors
/// [`RigError::File`] when it cannot be written.
pub fn write_private(path: &Path, text: &[u8]) -> Result<(), RigError> {
    let partial = path.with_extension("partial");
    let write = || {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
        file.write_all(text)?;
        fs::rename(&partial, path)
    };
    write().map_err(RigError::file("write", path))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_folder_is_ours_only_when_it_was_empty() {
        let place = tempfile::tempdir().unwrap();
        let layout = Layout::new(place.path().join("cluster"));
        let owned = layout.create().unwrap();
        assert_eq!(fs::metadata(layout.folder()).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(matches!(layout.create(), Err(RigError::FolderInUse { .. })));
        assert!(layout.pki().exists(), "the refusal removed nothing");
        drop(owned);
        assert!(!layout.folder().exists());

        layout.create().unwrap().keep();
        assert!(layout.folder().exists());
    }

    #[test]
    fn private_files_are_private_whatever_was_there() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("kubeconfig");
        fs::write(&path, "readable by all").unwrap();
        write_private(&path, b"secret").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read(&path).unwrap(), b"secret");
    }
}
