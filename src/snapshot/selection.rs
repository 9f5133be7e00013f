//! What of a snapshot is meant: `--only`, `--exclude` and `--scope`.
//!
//! In: patterns as they were typed. Out: a test of paths, and which types and namespaces have to be listed at all.
//! An exclusion wins over everything. The same selection always has the same text, since it is part of a snapshot's
//! series.

use std::collections::BTreeSet;

use super::path::{ObjectPath, TYPES_PATH};
use super::pattern::{Pattern, SelectionError};
use super::type_names::TypeNames;

/// The backup step of the upgrade plan: `kubectl get cm -n cozy-system cozystack`, `kubectl get hr -A`, `kubectl get
/// crd`, and `kubectl get all,cm,secret,pvc -n` of these namespaces; then etcd and Proxmox's backup jobs.
const PLAN: [&str; 5] = [
    "configmaps.core/cozy-system/cozystack",
    "helmreleases.helm.toolkit.fluxcd.io",
    "customresourcedefinitions.apiextensions.k8s.io",
    "etcd",
    "proxmox/cluster/backup.json",
];
const PLAN_NAMESPACES: [&str; 3] = ["cozy-system", "cozy-cluster-api", "capmox-system"];
/// `all` is a category, which only discovery knows.
const PLAN_TYPES: [&str; 4] = ["all", "configmaps.core", "secrets.core", "persistentvolumeclaims.core"];

/// Between two selections that must both mean a path, as text. No pattern has a blank in it.
const AND: &str = " & ";

/// A preset of what is selected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// All there is.
    #[default]
    Everything,
    /// The list in the upgrade plan's backup step.
    Plan,
}

/// Which paths of a snapshot are meant.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    only: Vec<Pattern>,
    exclude: Vec<Pattern>,
    scope: Scope,
    /// The patterns that the scope stands for; empty for everything.
    scope_patterns: Vec<Pattern>,
    /// Another selection that must mean a path too.
    within: Option<Box<Self>>,
}

impl Selection {
    /// All of it.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Takes patterns as they were typed: globs on paths, or `TYPE[.GROUP][/NAMESPACE[/NAME]]`.
    ///
    /// # Errors
    /// A pattern can be neither.
    pub fn new(only: &[String], exclude: &[String], scope: Scope) -> Result<Self, SelectionError> {
        let parse = |patterns: &[String]| patterns.iter().map(|text| Pattern::parse(text)).collect::<Result<_, _>>();
        let mut scope_patterns = Vec::new();
        if scope == Scope::Plan {
            scope_patterns = PLAN.into_iter().map(Pattern::parse).collect::<Result<_, _>>()?;
            for namespace in PLAN_NAMESPACES {
                for kind in PLAN_TYPES {
                    scope_patterns.push(Pattern::parse(&format!("{kind}/{namespace}"))?.with_cluster_scoped());
                }
            }
        }
        Ok(Self { only: parse(only)?, exclude: parse(exclude)?, scope, scope_patterns, within: None })
    }

    /// What both mean: a part of a snapshot that was itself taken of a part.
    #[must_use]
    pub fn within(mut self, other: Self) -> Self {
        self.within = Some(Box::new(match self.within.take() {
            Some(inner) => inner.within(other),
            None => other,
        }));
        self
    }

    /// The same, with kinds, short names and categories looked up among the types that there are. A capture does
    /// this itself; what reads only snapshots may give the names out of `cluster/_types.json`.
    ///
    /// # Errors
    /// A pattern of `only` names no type. (One of `exclude` may: then there is nothing to exclude.)
    pub fn resolve(&self, types: &[TypeNames]) -> Result<Self, SelectionError> {
        let mut resolved = self.clone();
        for pattern in &mut resolved.only {
            if !pattern.resolve(types) {
                let near = pattern.near(types);
                return Err(SelectionError::UnknownType { pattern: pattern.text().to_owned(), near });
            }
        }
        for pattern in resolved.exclude.iter_mut().chain(&mut resolved.scope_patterns) {
            pattern.resolve(types);
        }
        if let Some(within) = &self.within {
            resolved.within = Some(Box::new(within.resolve(types)?));
        }
        Ok(resolved)
    }

    /// This path is meant.
    pub fn includes_path(&self, tree_path: &str) -> bool {
        if self.is_everything() {
            return true;
        }
        let object = ObjectPath::parse(tree_path);
        let object = object.as_ref();
        let any = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(tree_path, object));
        if any(&self.exclude) || self.within.as_ref().is_some_and(|within| !within.includes_path(tree_path)) {
            return false;
        }
        // A part of a cluster is no reason to compare the list of all its types.
        if tree_path == TYPES_PATH {
            return self.only.is_empty() && self.scope == Scope::Everything;
        }
        (self.only.is_empty() || any(&self.only)) && (self.scope == Scope::Everything || any(&self.scope_patterns))
    }

    /// The patterns of `--only`.
    pub(super) fn only(&self) -> &[Pattern] {
        &self.only
    }

    /// Nothing is left out.
    pub fn is_everything(&self) -> bool {
        self.only.is_empty()
            && self.exclude.is_empty()
            && self.scope == Scope::Everything
            && self.within.as_ref().is_none_or(|within| within.is_everything())
    }

    /// Some object of this type may be meant.
    pub fn may_include_type(&self, group: &str, resource: &str) -> bool {
        let may = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.may_match_type(group, resource));
        !self.exclude.iter().any(|pattern| pattern.matches_whole_type(group, resource))
            && (self.only.is_empty() || may(&self.only))
            && (self.scope == Scope::Everything || may(&self.scope_patterns))
            && self.within.as_ref().is_none_or(|within| within.may_include_type(group, resource))
    }

    /// The namespaces that objects of this (namespaced) type can be in to be meant; `None` for any.
    pub fn namespaces(&self, group: &str, resource: &str) -> Option<BTreeSet<String>> {
        let among = |patterns: &[Pattern]| -> Option<BTreeSet<String>> {
            let relevant = patterns.iter().filter(|pattern| pattern.may_match_type(group, resource));
            relevant.map(|pattern| pattern.namespace().map(str::to_owned)).collect()
        };
        let only = if self.only.is_empty() { None } else { among(&self.only) };
        let scope = if self.scope == Scope::Everything { None } else { among(&self.scope_patterns) };
        let within = self.within.as_ref().and_then(|within| within.namespaces(group, resource));
        [only, scope, within].into_iter().flatten().reduce(|left, right| left.intersection(&right).cloned().collect())
    }

    /// Reads what [`Self::canonical_text`] wrote.
    ///
    /// # Errors
    /// It is no such text, or that of a later program.
    pub fn parse(text: &str) -> Result<Self, SelectionError> {
        let mut whole: Option<Self> = None;
        for part in text.split(AND) {
            let (mut only, mut exclude, mut scope) = (Vec::new(), Vec::new(), Scope::Everything);
            for word in part.split_whitespace() {
                match word.split_once('=') {
                    Some(("only", pattern)) => only.push(pattern.to_owned()),
                    Some(("exclude", pattern)) => exclude.push(pattern.to_owned()),
                    Some(("scope", "plan")) => scope = Scope::Plan,
                    _ => return Err(SelectionError::NotUnderstood { text: text.to_owned() }),
                }
            }
            let part = Self::new(&only, &exclude, scope)?;
            whole = Some(match whole {
                Some(whole) => whole.within(part),
                None => part,
            });
        }
        Ok(whole.unwrap_or_default())
    }

    /// The same selection always gives the same text; empty for everything. A selection within another one is written
    /// as both, with ` & ` between them.
    pub fn canonical_text(&self) -> String {
        let mut words = Vec::new();
        if self.scope == Scope::Plan {
            words.push("scope=plan".to_owned());
        }
        for (name, patterns) in [("only", &self.only), ("exclude", &self.exclude)] {
            let texts: BTreeSet<&str> = patterns.iter().map(Pattern::text).collect();
            words.extend(texts.into_iter().map(|text| format!("{name}={text}")));
        }
        let within = self.within.as_ref().map(|within| within.canonical_text());
        let parts = [words.join(" "), within.unwrap_or_default()];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(AND)
    }
}

#[cfg(test)]
mod tests {
    use super::{Scope, Selection, SelectionError, TypeNames};

    fn texts(patterns: &[&str]) -> Vec<String> {
        patterns.iter().map(|text| (*text).to_owned()).collect()
    }

    fn only(patterns: &[&str]) -> Selection {
        Selection::new(&texts(patterns), &[], Scope::Everything).unwrap()
    }

    fn names(group: &str, resource: &str, kind: &str, short: &[&str], categories: &[&str]) -> TypeNames {
        TypeNames {
            group: group.to_owned(),
            resource: resource.to_owned(),
            singular: kind.to_lowercase(),
            kind: kind.to_owned(),
            short_names: texts(short),
            categories: texts(categories),
        }
    }

    fn cluster() -> Vec<TypeNames> {
        vec![
            names("", "configmaps", "ConfigMap", &["cm"], &[]),
            names("", "pods", "Pod", &["po"], &["all"]),
            names("", "secrets", "Secret", &[], &[]),
            names("apps", "deployments", "Deployment", &["deploy"], &["all"]),
            names("helm.toolkit.fluxcd.io", "helmreleases", "HelmRelease", &["hr"], &[]),
            names("rbac.authorization.k8s.io", "clusterroles", "ClusterRole", &[], &[]),
            names("x.io", "wides", "Wide", &[], &["all"]),
        ]
    }

    const CONFIG: &str = "cluster/core/configmaps/cozy-system/cozystack.json";
    const SECRET: &str = "cluster/core/secrets/tenant-a/password.json";
    const ROLE: &str = "cluster/rbac.authorization.k8s.io/clusterroles/_/admin.json";
    const RELEASE: &str = "cluster/helm.toolkit.fluxcd.io/helmreleases/tenant-a/db.json";

    fn hits(selection: &Selection) -> Vec<bool> {
        [CONFIG, SECRET, ROLE, RELEASE, "etcd/snapshot.db"].map(|path| selection.includes_path(path)).to_vec()
    }

    #[test]
    fn patterns_mean_what_kubectl_users_expect() {
        let t = true;
        let f = false;
        for (patterns, wanted) in [
            (vec!["cm"], [t, f, f, f, f]),
            (vec!["ConfigMap"], [t, f, f, f, f]),
            (vec!["configmaps.core/cozy-*"], [t, f, f, f, f]),
            (vec!["configmaps/tenant-a"], [f, f, f, f, f]),
            (vec!["secret/tenant-a/pass*"], [f, t, f, f, f]),
            (vec!["secret/tenant-a/word"], [f, f, f, f, f]),
            (vec!["clusterroles/admin"], [f, f, t, f, f]),
            (vec!["clusterroles/_/admin"], [f, f, t, f, f]),
            (vec!["clusterroles/view"], [f, f, f, f, f]),
            (vec!["helmreleases.helm.toolkit.fluxcd.io"], [f, f, f, t, f]),
            (vec!["hr.*.fluxcd.io"], [f, f, f, t, f]),
            (vec!["hr.example.com"], [f, f, f, f, f]),
            (vec!["*/tenant-a"], [f, t, f, t, f]),
            (vec!["cluster/core"], [t, t, f, f, f]),
            (vec!["cluster/*/*/tenant-a"], [f, t, f, t, f]),
            (vec!["**/*.json"], [t, t, t, t, f]),
            (vec!["etcd", "cm"], [t, f, f, f, t]),
            (vec!["cluster/"], [t, t, t, t, f]),
        ] {
            assert_eq!(hits(&only(&patterns)), wanted, "{patterns:?}");
            if let Ok(resolved) = only(&patterns).resolve(&cluster()) {
                assert_eq!(hits(&resolved), wanted, "{patterns:?}, resolved");
            }
        }
        let selection = Selection::new(&texts(&["cluster"]), &texts(&["secrets"]), Scope::Everything).unwrap();
        assert_eq!(hits(&selection), [true, false, true, true, false]);
        assert_eq!(hits(&Selection::everything()), [true; 5]);
    }

    #[test]
    fn types_that_cannot_match_are_not_listed() {
        for (patterns, secrets, releases) in [
            (vec!["secrets/a/b"], true, false),
            (vec!["cluster/core/*/a"], true, false),
            (vec!["cluster/core/secrets/a/*.json"], true, false),
            (vec!["**/a.json"], true, true),
            (vec!["cluster/{core,helm.toolkit.fluxcd.io}/x"], true, true),
            (vec!["etcd"], false, false),
        ] {
            let selection = only(&patterns);
            assert_eq!(selection.may_include_type("", "secrets"), secrets, "{patterns:?}");
            assert_eq!(selection.may_include_type("helm.toolkit.fluxcd.io", "helmreleases"), releases, "{patterns:?}");
        }
        for (exclude, listed) in
            [("secrets", false), ("secrets/a", true), ("cluster/core", false), ("cluster/core/*/a", true)]
        {
            let selection = Selection::new(&[], &texts(&[exclude]), Scope::Everything).unwrap();
            assert_eq!(selection.may_include_type("", "secrets"), listed, "{exclude}");
        }
        assert_eq!(only(&["secrets/a", "cm/b"]).namespaces("", "secrets"), Some(["a".to_owned()].into()));
        assert_eq!(only(&["secrets/a", "secrets/b*"]).namespaces("", "secrets"), None);
        assert_eq!(Selection::everything().namespaces("", "secrets"), None);
    }

    #[test]
    fn the_plan_is_the_list_of_its_backup_step() {
        let plan = Selection::new(&[], &[], Scope::Plan).unwrap().resolve(&cluster()).unwrap();
        for (path, wanted) in [
            (CONFIG, true),
            ("cluster/core/configmaps/cozy-system/other.json", true),
            ("cluster/core/configmaps/tenant-a/cozystack.json", false),
            (RELEASE, true),
            ("cluster/apps/deployments/capmox-system/x.json", true),
            ("cluster/apps/deployments/tenant-a/x.json", false),
            ("cluster/core/pods/cozy-cluster-api/x.json", true),
            ("cluster/core/secrets/cozy-cluster-api/x.json", true),
            ("cluster/x.io/wides/_/anything.json", true),
            (SECRET, false),
            (ROLE, false),
            ("etcd/snapshot.db", true),
            ("proxmox/cluster/backup.json", true),
            ("proxmox/storage.json", false),
            ("files/talos/x.yaml", false),
        ] {
            assert_eq!(plan.includes_path(path), wanted, "{path}");
        }
        let namespaces = plan.namespaces("", "secrets").unwrap();
        assert_eq!(namespaces.into_iter().collect::<Vec<_>>(), ["capmox-system", "cozy-cluster-api", "cozy-system"]);
        assert_eq!(plan.namespaces("helm.toolkit.fluxcd.io", "helmreleases"), None);
    }

    #[test]
    fn what_cannot_mean_anything_is_refused() {
        for pattern in [
            "",
            "/",
            "/cluster/core",
            "a//b",
            "a/b/c/d",
            "cluster/../x",
            "a.",
            ".x",
            "cluster/[",
            "Ä",
            "a b",
            "cm/a/[b ]",
        ] {
            let found = Selection::new(&texts(&[pattern]), &[], Scope::Everything);
            assert!(matches!(found, Err(SelectionError::Malformed { .. })), "{pattern:?}");
        }
        for pattern in ["*".repeat(100_000), format!("cluster/{}{}", "{a,".repeat(1000), "}".repeat(1000))] {
            let found = Selection::new(&[pattern], &[], Scope::Everything);
            assert!(matches!(found, Err(SelectionError::TooBig)));
        }
        let typo = only(&["helmrelaeses"]).resolve(&cluster()).unwrap_err();
        assert_eq!(
            typo.to_string(),
            "`helmrelaeses` names no type that the cluster serves (similar: helmreleases.helm.toolkit.fluxcd.io)"
        );
        let exclude = Selection::new(&[], &texts(&["gone"]), Scope::Everything).unwrap();
        assert!(exclude.resolve(&cluster()).is_ok());
    }

    #[test]
    fn the_text_does_not_depend_on_the_order() {
        assert_eq!(Selection::everything().canonical_text(), "");
        let selection = Selection::new(&texts(&["b", "a", "b"]), &texts(&["c/"]), Scope::Plan).unwrap();
        assert_eq!(selection.canonical_text(), "scope=plan only=a only=b exclude=c");
    }

    #[test]
    fn a_text_is_read_back_as_it_was_written() {
        for text in [
            "",
            "scope=plan",
            "exclude=pods",
            "only=configmaps/a only=secrets exclude=cluster/core/secrets/b",
            "only=cm & scope=plan & exclude=cluster/core/secrets/b",
        ] {
            assert_eq!(Selection::parse(text).unwrap().canonical_text(), text);
        }
        for text in ["later=x", "only=cm later", "platform"] {
            assert!(matches!(Selection::parse(text), Err(SelectionError::NotUnderstood { .. })), "{text}");
        }
    }

    #[test]
    fn a_part_of_a_part_is_what_both_mean() {
        let selection = only(&["cm", "secrets"]).within(only(&["*/tenant-a"])).within(Selection::everything());
        let selection = selection.resolve(&cluster()).unwrap();
        assert_eq!(hits(&selection), [false, true, false, false, false]);
        assert!(selection.may_include_type("", "secrets") && !selection.may_include_type("apps", "deployments"));
        assert_eq!(selection.namespaces("", "secrets"), Some(["tenant-a".to_owned()].into()));
        assert_eq!(selection.canonical_text(), "only=cm only=secrets & only=*/tenant-a");
        let read = Selection::parse(&selection.canonical_text()).unwrap().resolve(&cluster()).unwrap();
        assert_eq!(hits(&read), hits(&selection));
        // All of a part is that part: a restore of one must not take the rest for something to delete.
        let all = Selection::everything().within(only(&["cm"])).within(Selection::everything());
        assert!(!all.is_everything() && hits(&all) == [true, false, false, false, false]);
        assert!(Selection::everything().within(Selection::everything()).is_everything());
    }

    #[test]
    fn names_with_blanks_are_found_and_survive_the_text() {
        let role = "cluster/rbac.authorization.k8s.io/clusterroles/_/my%20own%20role.json";
        for pattern in ["clusterroles/my own role", "clusterroles/_/my own*", "clusterroles/my%20own%20role", role] {
            let selection = only(&[pattern]);
            assert!(selection.includes_path(role), "{pattern}");
            assert!(!selection.includes_path(&role.replace("%20", "-")), "{pattern}");
            let read = Selection::parse(&selection.canonical_text()).unwrap();
            assert!(read.includes_path(role) && read.canonical_text() == selection.canonical_text(), "{pattern}");
        }
        assert!(only(&["cluster/*/clusterroles/_/my own role.json"]).includes_path(role));
    }

    #[test]
    fn cut_names_are_found() {
        let name = "x".repeat(253);
        let path = super::ObjectPath {
            group: String::new(),
            resource: "configmaps".to_owned(),
            namespace: Some("a".to_owned()),
            name: name.clone(),
        };
        assert!(only(&[&format!("cm/a/{name}")]).includes_path(&path.to_tree_path()));
    }
}
