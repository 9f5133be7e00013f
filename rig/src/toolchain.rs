//! The folder of real servers that `scripts/toolchain` builds.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::RigError;

/// The environment variable that names the folder, set by `scripts/control-plane`.
pub const TOOLCHAIN_VARIABLE: &str = "SNAPBACK_TOOLCHAIN";

/// The programs of one toolchain folder.
#[derive(Debug, Clone)]
pub struct Toolchain {
    folder: PathBuf,
}

impl Toolchain {
    /// The toolchain named by the environment, else the one `scripts/toolchain --path` names.
    ///
    /// # Errors
    /// [`RigError::Toolchain`] when it is not there or a program is missing.
    pub fn find() -> Result<Self, RigError> {
        let folder = match std::env::var_os(TOOLCHAIN_VARIABLE) {
            Some(folder) => PathBuf::from(folder),
            None => folder_from_script()?,
        };
        for program in ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok", "kwok-stages"] {
            if !folder.join(program).exists() {
                return Err(RigError::Toolchain { reason: format!("`{program}` is not in `{}`", folder.display()) });
            }
        }
        Ok(Self { folder })
    }

    /// The folder; its last part names the versions of everything in it.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The path of one program.
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

fn folder_from_script() -> Result<PathBuf, RigError> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/toolchain");
    let failed = |reason: String| RigError::Toolchain { reason };
    let output = Command::new(&script)
        .arg("--path")
        .output()
        .map_err(|error| failed(format!("cannot run `{}`: {error}", script.display())))?;
    if !output.status.success() {
        return Err(failed("scripts/toolchain --path finds programs missing".to_owned()));
    }
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}
