//! The objects that Helm and Flux make releases from, as they are or as they will be.
//!
//! In: a snapshot's tree (of the cluster now or of the wanted state), or two of these and a plan. Out: a value with a
//! few kinds of objects by their paths. Invariant: [`HelmView::planned`] is what the plan leaves behind when every
//! action is done.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt as _;
use serde_json::Value;

use crate::restore::address::{defined_type, is_namespace};
use crate::restore::error::RestoreError;
use crate::restore::object;
use crate::restore::plan::{Action, Operation};
use crate::restore::world::MOST_OBJECT_BYTES;
use crate::snapshot::ObjectPath;
use crate::store::{SnapshotTree, TreeEntry};

/// Flux's HelmReleases.
pub(super) const HELM_RELEASES: (&str, &str) = ("helm.toolkit.fluxcd.io", "helmreleases");
/// Where charts come from.
pub(super) const HELM_CHARTS: (&str, &str) = ("source.toolkit.fluxcd.io", "helmcharts");
pub(super) const OCI_REPOSITORIES: (&str, &str) = ("source.toolkit.fluxcd.io", "ocirepositories");
pub(super) const EXTERNAL_ARTIFACTS: (&str, &str) = ("source.toolkit.fluxcd.io", "externalartifacts");
pub(super) const SECRETS: (&str, &str) = ("", "secrets");
pub(super) const CONFIG_MAPS: (&str, &str) = ("", "configmaps");
/// How Helm names its Secrets: `sh.helm.release.v1.<release>.v<number>`.
const RELEASE_SECRETS: &str = "sh.helm.release.v1.";

/// Objects by their paths inside a snapshot. There are Secrets among them: it is never printed (I10).
#[derive(Clone, Default)]
pub(super) struct HelmView {
    objects: BTreeMap<String, Arc<Value>>,
}

impl FromIterator<(String, Value)> for HelmView {
    fn from_iter<T: IntoIterator<Item = (String, Value)>>(objects: T) -> Self {
        Self { objects: objects.into_iter().map(|(path, object)| (path, Arc::new(object))).collect() }
    }
}

impl HelmView {
    /// Reads what counts from a snapshot: HelmReleases, their sources and stored releases, and the ConfigMaps and Secrets
    /// that they take values from. Where there are no HelmReleases, nothing counts.
    pub(super) async fn load(tree: &SnapshotTree) -> Result<Self, RestoreError> {
        let mut view = Self::default();
        view.read_folder(tree, HELM_RELEASES, |_| true).await?;
        if view.objects.is_empty() {
            return Ok(view);
        }
        let values: Vec<String> = view.of(HELM_RELEASES).flat_map(paths_of_values).collect();
        for kind in [HELM_CHARTS, OCI_REPOSITORIES, EXTERNAL_ARTIFACTS] {
            view.read_folder(tree, kind, |_| true).await?;
        }
        view.read_folder(tree, SECRETS, |name| name.starts_with(RELEASE_SECRETS)).await?;
        for path in values {
            if let Some(entry) = tree.entry(&path).await? {
                view.read(tree, path, &entry).await;
            }
        }
        Ok(view)
    }

    async fn read_folder(
        &mut self,
        tree: &SnapshotTree,
        kind: (&str, &str),
        wanted: impl Fn(&str) -> bool,
    ) -> Result<(), RestoreError> {
        let folder = folder(kind);
        let mut files = tree.walk(folder.trim_end_matches('/'));
        while let Some(file) = files.next().await {
            let (path, entry) = file?;
            if path.rsplit('/').next().is_some_and(&wanted) {
                self.read(tree, path, &entry).await;
            }
        }
        Ok(())
    }

    /// What is damaged, no object, or larger than any is kept as nothing, of which nothing is known: the planner says so
    /// where it is to be restored, and elsewhere it must not stop the restore of what is whole.
    async fn read(&mut self, tree: &SnapshotTree, path: String, entry: &TreeEntry) {
        let fits = tree.blob_size(&entry.hash).is_some_and(|size| size <= MOST_OBJECT_BYTES);
        let object = match tree.blob(&entry.hash).await {
            Ok(bytes) if fits => object::parse(&path, &bytes).unwrap_or_default(),
            _ => Value::Null,
        };
        self.objects.insert(path, Arc::new(object));
    }

    /// What there will be when every action of a plan is done.
    pub(super) fn planned(live: &Self, wanted: &Self, actions: &[Action]) -> Self {
        let mut objects = live.objects.clone();
        for action in actions {
            if let Operation::Delete { .. } | Operation::Recreate { .. } = action.operation {
                let beneath = Beneath::of(&action.path);
                objects.retain(|path, _| *path != action.path && !beneath.as_ref().is_some_and(|all| all.has(path)));
            }
        }
        for action in actions {
            let is_written = match action.operation {
                Operation::Create { .. } | Operation::Recreate { .. } | Operation::Update { .. } => true,
                Operation::Convert { .. }
                | Operation::Release { .. }
                | Operation::Readopt { .. }
                | Operation::Delete { .. } => false,
            };
            if let Some(coming) = wanted.objects.get(&action.path).filter(|_| is_written) {
                objects.insert(action.path.clone(), Arc::clone(coming));
            }
        }
        Self { objects }
    }

    pub(super) fn at(&self, path: &str) -> Option<&Value> {
        self.objects.get(path).map(Arc::as_ref)
    }

    pub(super) fn get(&self, kind: (&str, &str), namespace: &str, name: &str) -> Option<&Value> {
        self.at(&path_of(kind, namespace, name))
    }

    /// Every object of a type.
    fn of(&self, kind: (&str, &str)) -> impl Iterator<Item = &Value> {
        self.beginning_with(folder(kind)).map(|(_, object)| object)
    }

    /// Every object whose path begins so, with its path.
    pub(super) fn beginning_with(&self, begin: String) -> impl Iterator<Item = (&str, &Value)> {
        let from = self.objects.range(begin.clone()..);
        from.take_while(move |(path, _)| path.starts_with(&begin))
            .map(|(path, object)| (path.as_str(), object.as_ref()))
    }
}

/// The folder of a type, with the slash behind it.
pub(super) fn folder((group, resource): (&str, &str)) -> String {
    format!("cluster/{}/{resource}/", if group.is_empty() { "core" } else { group })
}

/// The path of an object that lies in a namespace.
pub(super) fn path_of((group, resource): (&str, &str), namespace: &str, name: &str) -> String {
    ObjectPath {
        group: group.to_owned(),
        resource: resource.to_owned(),
        namespace: Some(namespace.to_owned()),
        name: name.to_owned(),
    }
    .to_tree_path()
}

/// Where a HelmRelease's `spec.valuesFrom` points.
fn paths_of_values(release: &Value) -> Vec<String> {
    let namespace = object::namespace(release).unwrap_or_default();
    let sources = release.pointer("/spec/valuesFrom").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let path = |source: &Value| {
        let kind = if object::text(source, "/kind")? == "Secret" { SECRETS } else { CONFIG_MAPS };
        Some(path_of(kind, namespace, object::text(source, "/name")?))
    };
    sources.iter().filter_map(path).collect()
}

/// What goes with a namespace or with a CRD.
enum Beneath {
    Namespace(String),
    Type(String),
}

impl Beneath {
    fn of(path: &str) -> Option<Self> {
        let path = ObjectPath::parse(path)?;
        if let Some((group, resource)) = defined_type(&path) {
            return Some(Self::Type(folder((&group, &resource))));
        }
        is_namespace(&path).then_some(Self::Namespace(path.name))
    }

    fn has(&self, path: &str) -> bool {
        match self {
            Self::Namespace(name) => ObjectPath::parse(path).is_some_and(|path| path.namespace.as_ref() == Some(name)),
            Self::Type(folder) => path.starts_with(folder),
        }
    }
}
