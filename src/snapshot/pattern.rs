//! One pattern of `--only` or `--exclude`: a glob on paths, or `TYPE[.GROUP][/NAMESPACE[/NAME]]`.
//!
//! In: what was typed. Out: a test of paths. A pattern is a glob on paths when it begins with a folder of a snapshot's
//! root or with `**`; everything else names a type. A glob that matches a folder means all below it.

use std::collections::BTreeSet;

use globset::{GlobBuilder, GlobMatcher};

use super::path::ObjectPath;
use super::type_names::TypeNames;
use crate::store::encode_name;

/// The folders at the root of a snapshot (design, section 2).
const ROOTS: [&str; 5] = ["cluster", "etcd", "proxmox", "files", "state"];
/// More than any pattern needs. The library that compiles them panics where the program of a pattern gets too big or
/// its braces lie too deep.
const MAX_PATTERN_BYTES: usize = 4096;
const MAX_BRACES: usize = 64;
/// How the namespace of what has none is written.
const NO_NAMESPACE: &str = "_";
/// kubectl's short names of built-in types, and the plan's `hr`: for snapshots that are read without a list of types.
const SHORT_NAMES: [(&str, &str); 24] = [
    ("cj", "cronjobs"),
    ("cm", "configmaps"),
    ("crd", "customresourcedefinitions"),
    ("crds", "customresourcedefinitions"),
    ("deploy", "deployments"),
    ("ds", "daemonsets"),
    ("ep", "endpoints"),
    ("hpa", "horizontalpodautoscalers"),
    ("hr", "helmreleases"),
    ("ing", "ingresses"),
    ("limits", "limitranges"),
    ("netpol", "networkpolicies"),
    ("no", "nodes"),
    ("ns", "namespaces"),
    ("pc", "priorityclasses"),
    ("pdb", "poddisruptionbudgets"),
    ("po", "pods"),
    ("pv", "persistentvolumes"),
    ("pvc", "persistentvolumeclaims"),
    ("quota", "resourcequotas"),
    ("rs", "replicasets"),
    ("sa", "serviceaccounts"),
    ("sc", "storageclasses"),
    ("svc", "services"),
];

/// A pattern that cannot mean anything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SelectionError {
    /// Neither a glob on a path nor `TYPE[.GROUP][/NAMESPACE[/NAME]]`.
    #[error("`{pattern}` is no pattern: {problem}")]
    Malformed {
        /// As it was given.
        pattern: String,
        /// What is wrong with it.
        problem: String,
    },
    /// More than can be compiled.
    #[error("a pattern is too long or has too many braces")]
    TooBig,
    /// A text that no program, or a later one, wrote as a selection.
    #[error("`{text}` is not understood as a selection of objects")]
    NotUnderstood {
        /// As it was read.
        text: String,
    },
    /// The cluster serves no such type.
    #[error("`{pattern}` names no type that the cluster serves{}", did_you_mean(near))]
    UnknownType {
        /// As it was given.
        pattern: String,
        /// Types with a similar name.
        near: Vec<String>,
    },
}

fn did_you_mean(near: &[String]) -> String {
    if near.is_empty() { String::new() } else { format!(" (similar: {})", near.join(", ")) }
}

/// A pattern that was understood.
#[derive(Clone, Debug)]
pub(super) enum Pattern {
    Path(Box<PathPattern>),
    Object(Box<ObjectPattern>),
}

/// A glob on whole paths.
#[derive(Clone, Debug)]
pub(super) struct PathPattern {
    text: String,
    whole: GlobMatcher,
    /// The glob of each part; `None` stands for `**` or for what cannot be cut at its slashes.
    parts: Vec<Option<GlobMatcher>>,
}

/// Objects of some types.
#[derive(Clone, Debug)]
pub(super) struct ObjectPattern {
    text: String,
    kind: String,
    kind_glob: GlobMatcher,
    group: Option<GlobMatcher>,
    namespace: Option<(String, GlobMatcher)>,
    name: Option<(String, GlobMatcher)>,
    /// kubectl does not ask for a namespace where a type has none: `kubectl get all -n X` shows such objects too.
    with_cluster_scoped: bool,
    /// Group and resource of the types that are meant, once looked up.
    types: Option<BTreeSet<(String, String)>>,
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Self, SelectionError> {
        let refuse =
            |problem: &str| SelectionError::Malformed { pattern: text.to_owned(), problem: problem.to_owned() };
        if text.len() > MAX_PATTERN_BYTES || text.matches('{').count() > MAX_BRACES {
            return Err(SelectionError::TooBig);
        }
        if text.contains('[') && text.contains(char::is_whitespace) {
            return Err(refuse("a blank cannot stand together with `[`; `?` means any one character"));
        }
        let text = &without_blanks(text);
        let trimmed = text.trim_end_matches('/');
        if trimmed.is_empty() {
            return Err(refuse("it is empty"));
        }
        let segments: Vec<&str> = trimmed.split('/').collect();
        if segments.contains(&"") {
            return Err(refuse("a part of it between slashes is empty; paths begin with `cluster/`, not with `/`"));
        }
        if segments.iter().any(|part| matches!(*part, "." | "..")) {
            return Err(refuse("a path inside a snapshot has no `.` or `..`"));
        }
        let first = segments.first().copied().unwrap_or_default();
        if ROOTS.contains(&first) || first.contains("**") {
            return Ok(Self::Path(Box::new(PathPattern::parse(trimmed).map_err(|problem| refuse(&problem))?)));
        }
        if segments.len() > 3 {
            return Err(refuse(
                "it is neither a path (these begin with cluster/, etcd/, proxmox/, files/ or state/) nor \
                 TYPE[.GROUP][/NAMESPACE[/NAME]]",
            ));
        }
        Ok(Self::Object(Box::new(ObjectPattern::parse(trimmed, &segments).map_err(|problem| refuse(&problem))?)))
    }

    pub(super) fn text(&self) -> &str {
        match self {
            Self::Path(pattern) => &pattern.text,
            Self::Object(pattern) => &pattern.text,
        }
    }

    pub(super) fn matches(&self, path: &str, object: Option<&ObjectPath>) -> bool {
        match self {
            Self::Path(pattern) => pattern.matches(path),
            Self::Object(pattern) => object.is_some_and(|object| pattern.matches(object)),
        }
    }

    /// Some object of the type may match.
    pub(super) fn may_match_type(&self, group: &str, resource: &str) -> bool {
        match self {
            Self::Path(pattern) => pattern.may_match_below(&type_folder(group, resource)),
            Self::Object(pattern) => pattern.is_of_type(group, resource),
        }
    }

    /// Every object of the type matches.
    pub(super) fn matches_whole_type(&self, group: &str, resource: &str) -> bool {
        match self {
            Self::Path(pattern) => pattern.matches(&type_folder(group, resource).join("/")),
            Self::Object(pattern) => pattern.namespace.is_none() && pattern.is_of_type(group, resource),
        }
    }

    /// The only namespace that matches, when it is a single one.
    pub(super) fn namespace(&self) -> Option<&str> {
        match self {
            Self::Object(pattern) => {
                pattern.namespace.as_ref().map(|(text, _)| text.as_str()).filter(|text| is_literal(text))
            }
            Self::Path(_) => None,
        }
    }

    /// Looks the type up; `false` when there is none.
    pub(super) fn resolve(&mut self, types: &[TypeNames]) -> bool {
        let Self::Object(pattern) = self else { return true };
        let found: BTreeSet<_> = types
            .iter()
            .filter(|names| pattern.is_named(names))
            .map(|names| (names.group.clone(), names.resource.clone()))
            .collect();
        // A type that was found once stays meant: a restore may have deleted it since.
        if !found.is_empty() || pattern.types.is_none() {
            pattern.types = Some(found);
        }
        pattern.types.as_ref().is_some_and(|types| !types.is_empty())
    }

    /// Names that look like the one that was typed.
    pub(super) fn near(&self, types: &[TypeNames]) -> Vec<String> {
        let Self::Object(pattern) = self else { return Vec::new() };
        let mut near: Vec<(usize, String)> = types
            .iter()
            .map(|names| {
                (distance(&pattern.kind, &names.resource).min(distance(&pattern.kind, &names.singular)), names)
            })
            .filter(|(distance, _)| *distance <= 1 + pattern.kind.len() / 4)
            .map(|(distance, names)| (distance, names.full_name()))
            .collect();
        near.sort();
        near.into_iter().take(3).map(|(_, name)| name).collect()
    }

    /// kubectl's meaning of `-n NAMESPACE`: types that have no namespace match too.
    pub(super) fn with_cluster_scoped(mut self) -> Self {
        if let Self::Object(pattern) = &mut self {
            pattern.with_cluster_scoped = true;
        }
        self
    }
}

impl PathPattern {
    fn parse(text: &str) -> Result<Self, String> {
        let parts = match text.contains(['{', '[']) {
            // Their content may hold slashes.
            true => vec![None],
            false => text
                .split('/')
                .map(|part| if part.contains("**") { Ok(None) } else { glob(part).map(Some) })
                .collect::<Result<_, _>>()?,
        };
        Ok(Self { whole: glob(text)?, parts, text: text.to_owned() })
    }

    /// The path itself or a folder above it matches.
    fn matches(&self, path: &str) -> bool {
        let folders = path.match_indices('/').filter_map(|(end, _)| path.get(..end));
        folders.chain([path]).any(|part| self.whole.is_match(part))
    }

    fn may_match_below(&self, folder: &[String; 3]) -> bool {
        for (pattern, part) in self.parts.iter().zip(folder) {
            match pattern {
                None => return true,
                Some(pattern) if !pattern.is_match(part) => return false,
                Some(_) => {}
            }
        }
        true
    }
}

impl ObjectPattern {
    fn parse(text: &str, segments: &[&str]) -> Result<Self, String> {
        let mut segments = segments.iter().copied();
        let type_text = segments.next().unwrap_or_default();
        let (kind, group) = match type_text.split_once('.') {
            Some((kind, group)) => (kind, Some(group)),
            None => (type_text, None),
        };
        if kind.is_empty() || group == Some("") {
            return Err("the type or its group is empty".to_owned());
        }
        if type_text
            .contains(|character: char| !character.is_ascii_alphanumeric() && !"-._*?[]{},!".contains(character))
        {
            return Err(format!("`{type_text}` cannot be the name of a type"));
        }
        let mut part = || segments.next().map(|part| glob(part).map(|glob| (part.to_owned(), glob))).transpose();
        let (namespace, name) = (part()?, part()?);
        Ok(Self {
            text: text.to_owned(),
            kind: kind.to_lowercase(),
            kind_glob: glob(&kind.to_lowercase())?,
            group: group.map(|group| glob(if group == "core" { "" } else { group })).transpose()?,
            namespace,
            name,
            with_cluster_scoped: false,
            types: None,
        })
    }

    fn is_of_type(&self, group: &str, resource: &str) -> bool {
        if let Some(types) = &self.types {
            return types.contains(&(group.to_owned(), resource.to_owned()));
        }
        let short = SHORT_NAMES.iter().any(|(short, plural)| *short == self.kind && *plural == resource);
        let named = short || self.kind_glob.is_match(resource) || plurals(&self.kind).contains(&resource.to_owned());
        named && self.group.as_ref().is_none_or(|known| known.is_match(group))
    }

    fn is_named(&self, names: &TypeNames) -> bool {
        let group = self.group.as_ref().is_none_or(|known| known.is_match(&names.group));
        let own = [&names.resource, &names.singular, &names.kind];
        let mut all = own.into_iter().chain(&names.short_names).chain(&names.categories);
        group && all.any(|name| self.kind_glob.is_match(name.to_lowercase()))
    }

    fn matches(&self, object: &ObjectPath) -> bool {
        if !self.is_of_type(&object.group, &object.resource) {
            return false;
        }
        let Some((namespace_text, namespace)) = &self.namespace else { return true };
        match (&object.namespace, &self.name) {
            (Some(found), None) => namespace.is_match(found),
            (Some(found), Some(name)) => namespace.is_match(found) && is_name(name, &object.name),
            (None, _) if self.with_cluster_scoped => true,
            // `clusterroles/admin`: what has no namespace is named by the second part.
            (None, None) => {
                namespace_text == NO_NAMESPACE || is_name(&(namespace_text.clone(), namespace.clone()), &object.name)
            }
            (None, Some(name)) => matches!(namespace_text.as_str(), NO_NAMESPACE | "*") && is_name(name, &object.name),
        }
    }
}

/// A name cut in the path is found by its cut form, and one with blanks by the form that it has there.
fn is_name((text, pattern): &(String, GlobMatcher), found: &str) -> bool {
    pattern.is_match(found)
        || (text.contains('%') && pattern.is_match(encode_name(found)))
        || (is_literal(text) && encode_name(text) == found)
}

/// Blanks as paths have them: a selection is written as words with blanks between them. No name has a `%` (the API
/// server refuses it), so this means nothing else.
fn without_blanks(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_whitespace() { encode_name(&letter.to_string()) } else { letter.into() })
        .collect()
}

fn is_literal(text: &str) -> bool {
    !text.contains(['*', '?', '[', '{', '\\'])
}

fn glob(text: &str) -> Result<GlobMatcher, String> {
    let glob = GlobBuilder::new(text).literal_separator(true).build().map_err(|error| error.kind().to_string())?;
    Ok(glob.compile_matcher())
}

fn type_folder(group: &str, resource: &str) -> [String; 3] {
    let group = if group.is_empty() { "core".to_owned() } else { encode_name(group) };
    ["cluster".to_owned(), group, encode_name(resource)]
}

/// What the plural of a kind may be, by English rules: only used where no list of types is at hand.
fn plurals(kind: &str) -> [String; 3] {
    let y = kind.strip_suffix('y').map_or_else(String::new, |stem| format!("{stem}ies"));
    [format!("{kind}s"), format!("{kind}es"), y]
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (line, left) in a.chars().enumerate() {
        let mut corner = line;
        let mut before = line + 1;
        let mut next = vec![before];
        for (right, above) in b.chars().zip(row.iter().skip(1)) {
            before = (corner + usize::from(left != right)).min(above + 1).min(before + 1);
            corner = *above;
            next.push(before);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn the_distance_counts_edits() {
        for (a, b, wanted) in [("", "", 0), ("a", "", 1), ("", "ab", 2), ("pod", "pods", 1), ("kitten", "sitting", 3)] {
            assert_eq!(distance(a, b), wanted, "{a} {b}");
        }
    }
}
