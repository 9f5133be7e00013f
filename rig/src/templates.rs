//! Clusters that are seeded once and then copied: a test begins in seconds with what took a minute to make.
//!
//! In: a name of [`TEMPLATES`]. Out: a folder `$SNAPBACK_CACHE/templates/NAME-KEY` with `etcd/` and `pki/`, made at most
//! once: by seeding a fresh cluster through its API, stopping it in order and moving the folder to its name whole. The
//! key is a hash of the toolchain and of the source text that the content follows from, so a change of either makes a
//! new template. Whoever builds holds `NAME.lock`; others wait for it.
//!
//! All copies have the same `kube-system` UID, which is what clusters are told apart by: a test that needs two
//! clusters starts one of them without a template.

use std::error::Error;
use std::fs::{self, TryLockError};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Command;
use std::time::{Duration, SystemTime};

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, ListParams};
use sha2::{Digest as _, Sha256};

use crate::cluster::Cluster;
use crate::error::RigError;
use crate::layout::Layout;
use crate::options::UpOptions;
use crate::seed;
use crate::servers::{API_SERVER, ETCD};
use crate::toolchain::Toolchain;

/// What a template's `build` gives.
pub type BuildResult = Result<(), Box<dyn Error + Send + Sync>>;

/// One kind of seeded cluster.
pub struct Template {
    /// Its name, for `up --template`.
    pub name: &'static str,
    /// The source texts that its content follows from (`include_str!`).
    pub sources: &'static [&'static str],
    /// Whether helm-controller and its charts run while it is built.
    pub flux: bool,
    /// Seeds a fresh cluster with all controllers; they are stopped when this returns.
    pub build: for<'a> fn(&'a mut Cluster) -> Pin<Box<dyn Future<Output = BuildResult> + 'a>>,
}

/// Every template there is.
pub const TEMPLATES: &[Template] = &[
    Template { name: "empty", sources: &[], flux: false, build: |cluster| Box::pin(settle(cluster)) },
    Template {
        name: "cozystack-500",
        sources: seed::SOURCES,
        flux: false,
        build: |cluster| Box::pin(seed::fill_template(cluster, 500)),
    },
    // For benchmarks: minutes to make, seconds to copy.
    Template {
        name: "cozystack-12000",
        sources: seed::SOURCES,
        flux: false,
        build: |cluster| Box::pin(seed::fill_template(cluster, 12_000)),
    },
    Template {
        name: "cozystack-100000",
        sources: seed::SOURCES,
        flux: false,
        build: |cluster| Box::pin(seed::fill_template(cluster, 100_000)),
    },
];

/// Of every template: what a cluster is made of.
const SOURCES: [&str; 3] = [include_str!("templates.rs"), include_str!("servers.rs"), include_str!("nodes.rs")];

/// A folder to copy a cluster from; builds it when it is not there yet.
///
/// # Errors
/// [`RigError::UnknownTemplate`], or why it cannot be built.
pub async fn folder(name: &str, toolchain: &Toolchain) -> Result<PathBuf, RigError> {
    let (template, templates) = (named(name)?, cache_folder().join("templates"));
    let wanted = templates.join(folder_name(template, toolchain));
    if wanted.exists() {
        mark_as_used(&wanted)?;
        return Ok(wanted);
    }
    fs::create_dir_all(&templates).map_err(RigError::file("create", &templates))?;
    let lock_path = templates.join(format!("{name}.lock"));
    let lock = fs::File::create(&lock_path).map_err(RigError::file("create", &lock_path))?;
    // Not a blocking wait: this process must be able to end meanwhile.
    while let Err(refused) = lock.try_lock() {
        match refused {
            TryLockError::WouldBlock => tokio::time::sleep(Duration::from_millis(100)).await,
            TryLockError::Error(source) => return Err(RigError::File { action: "lock", path: lock_path, source }),
        }
    }
    if wanted.exists() {
        return Ok(wanted);
    }
    remove_unused(&templates)?;
    let building = templates.join(format!("{name}-building"));
    if building.exists() {
        // Left by a build that was cut off.
        fs::remove_dir_all(&building).map_err(RigError::file("remove", &building))?;
    }
    build(template, toolchain, &building).await?;
    fs::rename(&building, &wanted).map_err(RigError::file("rename", &building))?;
    Ok(wanted)
}

/// Whether a template is there already, so that `up` takes seconds and not a minute.
///
/// # Errors
/// [`RigError::UnknownTemplate`].
pub fn is_built(name: &str, toolchain: &Toolchain) -> Result<bool, RigError> {
    Ok(cache_folder().join("templates").join(folder_name(named(name)?, toolchain)).exists())
}

fn named(name: &str) -> Result<&'static Template, RigError> {
    TEMPLATES.iter().find(|template| template.name == name).ok_or_else(|| {
        let known: Vec<&str> = TEMPLATES.iter().map(|template| template.name).collect();
        RigError::UnknownTemplate { name: name.to_owned(), known: known.join(", ") }
    })
}

async fn build(template: &Template, toolchain: &Toolchain, folder: &Path) -> Result<(), RigError> {
    let options = UpOptions { flux: template.flux, ..UpOptions::default() };
    // Boxed: bringing a cluster up may ask for a template, and this is how one is made.
    let mut cluster = Box::pin(Cluster::up(Layout::new(folder), toolchain.clone(), &options)).await?;
    (template.build)(&mut cluster)
        .await
        .map_err(|source| RigError::Template { name: template.name.to_owned(), source })?;
    settle(&cluster).await.map_err(|source| RigError::Template { name: template.name.to_owned(), source })?;
    let others: Vec<String> =
        cluster.servers().filter(|name| ![ETCD, API_SERVER].contains(name)).map(str::to_owned).collect();
    for server in others {
        cluster.stop(&server).await?;
    }
    cluster.down(true).await?;
    // What a copy makes for itself.
    let layout = Layout::new(folder);
    for path in ["config", "logs"] {
        let path = folder.join(path);
        fs::remove_dir_all(&path).map_err(RigError::file("remove", &path))?;
    }
    for path in [layout.audit_log(), layout.kubeconfig(), layout.description()] {
        fs::remove_file(&path).map_err(RigError::file("remove", &path))?;
    }
    // etcd keeps two log files of 64 MB at hand, nearly all zeros: copied sparse, a copy costs no time.
    let (full, sparse) = (layout.etcd_data(), folder.join("etcd-sparse"));
    copy(&full, &sparse)?;
    fs::remove_dir_all(&full).map_err(RigError::file("remove", &full))?;
    fs::rename(&sparse, &full).map_err(RigError::file("rename", &sparse))
}

/// Copies a template's etcd data, certificates and keys into a folder that was just made.
///
/// # Errors
/// [`RigError::File`] or [`RigError::Spawn`] when it cannot be copied.
pub fn copy_into(template: &Path, layout: &Layout) -> Result<(), RigError> {
    let from = Layout::new(template);
    fs::remove_dir(layout.pki()).map_err(RigError::file("replace", layout.pki()))?;
    copy(&from.pki(), &layout.pki())?;
    copy(&from.etcd_data(), &layout.etcd_data())
}

fn copy(from: &Path, to: &Path) -> Result<(), RigError> {
    let failed = |source| RigError::File { action: "copy", path: from.to_owned(), source };
    let output = Command::new("cp").args(["-a", "--sparse=always", "--"]).arg(from).arg(to).output().map_err(failed)?;
    if output.status.success() {
        Ok(())
    } else {
        Err(failed(std::io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned())))
    }
}

/// Waits until nothing is written any more: controllers have made what they make by themselves.
async fn settle(cluster: &Cluster) -> BuildResult {
    /// Longer than any controller waits between two steps of its start; shorter than the nodes' heartbeat (10 s).
    const QUIET: Duration = Duration::from_millis(1500);
    /// A cluster that is never quiet is still good to be copied.
    const LOOKS: u32 = 40;
    let namespaces: Api<Namespace> = Api::all(cluster.client().await?);
    let mut before = None;
    for _ in 0..LOOKS {
        let revision = namespaces.list(&ListParams::default().limit(1)).await?.metadata.resource_version;
        if revision == before {
            return Ok(());
        }
        before = revision;
        tokio::time::sleep(QUIET).await;
    }
    Ok(())
}

fn folder_name(template: &Template, toolchain: &Toolchain) -> String {
    let mut hash = Sha256::new();
    hash.update(toolchain.folder().file_name().unwrap_or_default().as_encoded_bytes());
    for source in SOURCES.iter().chain(template.sources) {
        hash.update(source.len().to_le_bytes());
        hash.update(source);
    }
    let key: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{key}", template.name)
}

fn mark_as_used(template: &Path) -> Result<(), RigError> {
    let touch = || fs::File::open(template)?.set_modified(SystemTime::now());
    touch().map_err(RigError::file("touch", template))
}

/// Templates of older keys go when nothing has asked for them for a while: other working copies of the project, with
/// other keys, share the cache.
fn remove_unused(templates: &Path) -> Result<(), RigError> {
    const UNUSED: Duration = Duration::from_secs(24 * 60 * 60);
    let entries = fs::read_dir(templates).map_err(RigError::file("read", templates))?;
    for entry in entries.filter_map(Result::ok) {
        let Ok(metadata) = entry.metadata() else { continue };
        let age = metadata.modified().ok().and_then(|at| at.elapsed().ok()).unwrap_or_default();
        if metadata.is_dir() && age > UNUSED {
            fs::remove_dir_all(entry.path()).map_err(RigError::file("remove", entry.path()))?;
        }
    }
    Ok(())
}

/// `$SNAPBACK_CACHE`, else where `scripts/prepare` puts it.
fn cache_folder() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from);
    set("SNAPBACK_CACHE").unwrap_or_else(|| {
        let caches = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
        caches.unwrap_or_else(std::env::temp_dir).join("snapback")
    })
}
