//! Both sides of a comparison: stored snapshots, and the cluster as it is now.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use snapback::cluster::Cluster;
use snapback::restore::comparable_versions;
use snapback::snapshot::{CaptureOptions, ClusterCapture, Selection, TYPES_PATH, UnlistableType, capture_cluster};
use snapback::store::{Snapshot, SnapshotTree, SnapshotWriter};

use super::error::{Failure, Prefix};
use super::output::Output;
use super::progress::Shown;
use super::restore_failure::restore_failure;
use super::scope;
use super::session::{Opened, Session};
use super::snapshot_name::SnapshotName;
use super::snapshots;
use super::taking::PARALLEL;

/// One side of a comparison.
pub(crate) struct Side {
    /// Its content.
    pub(crate) tree: SnapshotTree,
    /// What it is.
    pub(crate) origin: Origin,
}

/// Where a side comes from.
pub(crate) enum Origin {
    /// A snapshot of the repository.
    Stored(Box<Snapshot>),
    /// The cluster, captured a moment ago and kept nowhere.
    Live {
        /// The kubeconfig's context.
        context: String,
        /// What the capture found.
        capture: ClusterCapture,
    },
}

impl Side {
    /// The cluster itself.
    pub(crate) const fn is_live(&self) -> bool {
        matches!(self.origin, Origin::Live { .. })
    }

    /// As JSON.
    pub(crate) fn document(&self) -> Value {
        match &self.origin {
            Origin::Stored(snapshot) => snapshots::document(snapshot),
            Origin::Live { context, capture } => json!({
                "live": true,
                "context": context,
                "cluster": capture.identity,
                "kubernetes": capture.kubernetes,
                "revision": capture.revision,
                "objects": capture.objects,
                "types": capture.types,
                "complete": capture.unlistable.is_empty(),
            }),
        }
    }

    /// The selection that it was taken with.
    fn scope(&self) -> Result<Selection, Failure> {
        match &self.origin {
            Origin::Stored(snapshot) => scope::selection(&snapshot.body.scope),
            Origin::Live { .. } => Ok(Selection::everything()),
        }
    }

    /// It holds Events or Leases.
    async fn has_events(&self) -> Result<bool, Failure> {
        for folder in ["cluster/core/events", "cluster/events.k8s.io", "cluster/coordination.k8s.io/leases"] {
            if self.tree.folder(folder).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Session<'_> {
    /// The content that a name means. `live` is captured, compared with `base` as it streams in.
    pub(crate) async fn side(
        &self,
        opened: &Opened,
        name: &SnapshotName,
        base: Option<&Side>,
    ) -> Result<Side, Failure> {
        if *name != SnapshotName::Live {
            let snapshot = self.stored(opened, name).await?;
            let tree = opened.repository.tree(&snapshot).await?;
            return Ok(Side { tree, origin: Origin::Stored(Box::new(snapshot)) });
        }
        let cluster = self.connect().await?;
        let (selection, with_events) = match base {
            Some(base) => (base.scope()?, base.has_events().await?),
            None => (self.selection()?, false),
        };
        self.capture_live(&cluster, selection, with_events, base.map(|base| base.tree.clone())).await
    }

    /// Both sides of a comparison.
    pub(crate) async fn pair(
        &self,
        opened: &Opened,
        first: &SnapshotName,
        second: &SnapshotName,
    ) -> Result<(Side, Side), Failure> {
        if *first == SnapshotName::Live {
            let second = self.side(opened, second, None).await?;
            let first = self.side(opened, first, Some(&second)).await?;
            return Ok((first, second));
        }
        let first = self.side(opened, first, None).await?;
        let second = self.side(opened, second, Some(&first)).await?;
        Ok((first, second))
    }

    /// The cluster as it is; nothing is stored.
    pub(crate) async fn capture_live(
        &self,
        cluster: &Cluster,
        selection: Selection,
        with_events: bool,
        base: Option<SnapshotTree>,
    ) -> Result<Side, Failure> {
        let shown = Shown::new(self.output);
        // Read as the other side has it: at another version every object of a type would differ.
        let versions = match &base {
            Some(base) => comparable_versions(base).await.map_err(restore_failure)?,
            None => BTreeMap::new(),
        };
        let mut writer = SnapshotWriter::scratch(base);
        let options = CaptureOptions { selection, with_events, parallel: PARALLEL, versions };
        let capture = capture_cluster(cluster, &options, &mut writer, &shown).await?;
        let tree = writer.finish().await?.tree();
        let context = cluster.context().to_owned();
        Ok(Side { tree, origin: Origin::Live { context, capture } })
    }

    /// What of two sides can be compared: what both were taken of, and the user asked for.
    pub(crate) async fn comparison(&self, before: &Side, after: &Side) -> Result<Comparison, Failure> {
        let mut unreadable = BTreeMap::new();
        for side in [before, after] {
            unreadable.extend(match &side.origin {
                Origin::Live { capture, .. } => {
                    let why = |found: &UnlistableType| {
                        let name = scope::type_name(&found.group, &found.resource);
                        (name.clone(), scope::unreadable(&found.verb, &name, found.status, &found.reason))
                    };
                    capture.unlistable.iter().map(why).collect()
                }
                Origin::Stored(snapshot) if !snapshot.body.complete => scope::unreadable_types(&side.tree).await?,
                Origin::Stored(_) => BTreeMap::new(),
            });
        }
        let trees = [&before.tree, &after.tree];
        let selection = self.selection_in(&trees).await?;
        // What could not be read may hold what is meant.
        if unreadable.is_empty() {
            scope::warn_unmatched(self.output, &selection, &trees).await?;
        }
        Ok(Comparison {
            selection,
            // Taken with a short name, it is not understood without the types.
            scopes: vec![scope::resolve(before.scope()?, &trees).await?, scope::resolve(after.scope()?, &trees).await?],
            cluster_only: before.is_live() || after.is_live(),
            unreadable,
        })
    }
}

/// What is compared.
pub(crate) struct Comparison {
    /// What the user asked for.
    pub(crate) selection: Selection,
    /// What the sides were taken of.
    scopes: Vec<Selection>,
    /// One side is the cluster itself, which has no etcd file and no folders.
    cluster_only: bool,
    /// Types that one side could not read, each with why.
    unreadable: BTreeMap<String, String>,
}

impl Comparison {
    /// Whether a difference at this path says anything.
    pub(crate) fn compares(&self, path: &str) -> bool {
        // The list of types has counts in it: it differs whenever anything does.
        path != TYPES_PATH
            && (!self.cluster_only || path.starts_with("cluster/"))
            && self.scopes.iter().all(|scope| scope.includes_path(path))
            && !snapback::snapshot::ObjectPath::parse(path)
                .is_some_and(|place| self.unreadable.contains_key(&scope::type_name(&place.group, &place.resource)))
    }

    /// Types that were left out.
    pub(crate) fn left_out(&self) -> Vec<String> {
        self.unreadable.keys().cloned().collect()
    }

    /// Says which types were left out, and why.
    pub(crate) fn warn(&self, output: &Output, text: &str) {
        if !self.unreadable.is_empty() {
            let reasons: Vec<String> = self.unreadable.values().cloned().collect();
            output.message_with_list(Prefix::Warning, text, &reasons);
        }
    }
}
