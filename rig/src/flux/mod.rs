//! Flux's helm-controller and the stand-in for its source-controller (being built).

use crate::process::ServerSpec;
use crate::servers::Site;

/// The servers that `up --flux` starts after all others.
pub fn servers(_site: &Site<'_>) -> Vec<ServerSpec> {
    Vec::new()
}
