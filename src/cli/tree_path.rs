//! What the PATH in `SNAPSHOT:PATH` means: a path inside the snapshot, or `TYPE[.GROUP][/NAMESPACE[/NAME]]`.
//!
//! Invariant: what comes out is a path of encoded names below the root; `..` and the like never get through.

use snapback::snapshot::ObjectPath;
use snapback::store::{SnapshotTree, TreeEntry, decode_name, encode_name};

use super::error::Failure;
use super::exit::Exit;
use super::scope;

/// What lies at the top of a snapshot; anything else in front is a type.
const TOP: [&str; 5] = ["cluster", "etcd", "files", "proxmox", "state"];
/// How many near names are offered.
const OFFERED: usize = 3;

/// Something in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A file with its path.
    File(String, TreeEntry),
    /// A folder's path; empty for the root.
    Folder(String),
}

/// Looks a path up.
pub(crate) async fn find(tree: &SnapshotTree, text: &str) -> Result<Found, Failure> {
    for path in candidates(tree, text).await? {
        if path.is_empty() || tree.folder(&path).await?.is_some() {
            return Ok(Found::Folder(path));
        }
        if let Some(entry) = tree.entry(&path).await? {
            return Ok(Found::File(path, entry));
        }
    }
    Err(not_found(tree, text).await)
}

/// Every path that a text can mean, the likeliest first, whether it exists or not.
pub(crate) async fn candidates(tree: &SnapshotTree, text: &str) -> Result<Vec<String>, Failure> {
    let parts = parts(text)?;
    let Some((first, rest)) = parts.split_first() else { return Ok(vec![String::new()]) };
    if TOP.contains(first) {
        return Ok(as_stored(&parts));
    }
    let mut paths = Vec::new();
    let names = scope::types(tree).await?.map(|document| document.types).unwrap_or_default();
    let (wanted, wanted_group) = first.split_once('.').map_or((*first, None), |(name, group)| (name, Some(group)));
    for (group, resource) in types(tree).await? {
        let record = names.iter().find(|record| record.group == group && record.resource == resource);
        let called = resource == wanted
            || record.is_some_and(|record| {
                record.singular == wanted
                    || record.kind.eq_ignore_ascii_case(wanted)
                    || record.short_names.iter().any(|short| short == wanted)
            });
        if called && wanted_group.is_none_or(|wanted| wanted == group) {
            paths.extend(below_type(&group, &resource, rest));
        }
    }
    Ok(paths)
}

/// As `ls` prints it, then with every name encoded as it would be stored.
fn as_stored(parts: &[&str]) -> Vec<String> {
    let encoded: Vec<String> = parts.iter().map(|part| encode_name(part)).collect();
    let mut paths = vec![parts.join("/"), encoded.join("/")];
    if let (Some((_, folder)), Some(last)) = (encoded.split_last(), parts.last()) {
        // A long name is cut without its ending, whether that was typed or not.
        let name = encode_name(last.strip_suffix(".json").unwrap_or(last));
        paths.push(format!("{}/{name}.json", folder.join("/")));
    }
    paths.retain(|path| path.split('/').all(is_stored_name));
    paths.dedup();
    paths
}

/// `[/NAMESPACE[/NAME]]` below a type; a single name is one of a type without namespaces, too.
fn below_type(group: &str, resource: &str, rest: &[&str]) -> Vec<String> {
    let object = |namespace: Option<&str>, name: &str| {
        let (namespace, name) = (namespace.map(str::to_owned), name.strip_suffix(".json").unwrap_or(name).to_owned());
        ObjectPath { group: group.to_owned(), resource: resource.to_owned(), namespace, name }.to_tree_path()
    };
    let folder = format!("cluster/{}/{}", if group.is_empty() { "core" } else { group }, encode_name(resource));
    match rest {
        [] => vec![folder],
        [one] => vec![object(None, one), format!("{folder}/{}", encode_name(one))],
        ["_", name] => vec![object(None, name)],
        [namespace, name] => vec![object(Some(namespace), name)],
        _ => Vec::new(),
    }
}

fn parts(text: &str) -> Result<Vec<&str>, Failure> {
    let trimmed = text.trim_matches('/');
    if trimmed.is_empty() {
        return Ok(Vec::new());
    }
    let parts: Vec<&str> = trimmed.split('/').collect();
    if parts.iter().any(|part| matches!(*part, "" | "." | "..")) || text.contains('\0') {
        return Err(Failure::new(Exit::Usage, format!("`{text}` is not a path inside a snapshot"))
            .hint("paths look like `cluster/core/configmaps/NAMESPACE/NAME.json`; `snapback ls latest` lists them"));
    }
    Ok(parts)
}

fn is_stored_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..")
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:@+-%~".contains(&byte))
}

/// Every (group, resource) that has a folder in the snapshot.
async fn types(tree: &SnapshotTree) -> Result<Vec<(String, String)>, Failure> {
    let mut types = Vec::new();
    for group in tree.folder("cluster").await?.unwrap_or_default() {
        for resource in tree.folder(&format!("cluster/{}", group.name)).await?.unwrap_or_default() {
            let group = if group.name == "core" { String::new() } else { decode_name(&group.name) };
            types.push((group, decode_name(&resource.name)));
        }
    }
    Ok(types)
}

/// The failure for a path that is not there, with what lies near it.
async fn not_found(tree: &SnapshotTree, text: &str) -> Failure {
    let failure = Failure::new(Exit::Failed, format!("there is no `{text}` in the snapshot"));
    let parts: Vec<&str> = text.trim_matches('/').split('/').collect();
    let Some((wanted, above)) = parts.split_last() else { return failure };
    if above.is_empty() && !TOP.contains(wanted) {
        let names: Vec<String> = types(tree)
            .await
            .unwrap_or_default()
            .into_iter()
            .map(|(group, resource)| if group.is_empty() { resource } else { format!("{resource}.{group}") })
            .collect();
        return offer(failure, wanted, names, "");
    }
    let folders = candidates(tree, &above.join("/")).await.unwrap_or_default();
    for folder in folders {
        if let Ok(Some(entries)) = tree.folder(&folder).await {
            let names = entries.iter().map(|entry| decode_name(entry.name.trim_end_matches(".json"))).collect();
            return offer(failure, wanted, names, &format!("{}/", above.join("/")));
        }
    }
    failure.hint("run `snapback ls latest` and go down from there")
}

fn offer(failure: Failure, wanted: &str, names: Vec<String>, above: &str) -> Failure {
    let wanted = wanted.trim_end_matches(".json");
    let likeness = |name: &String| similar::TextDiff::from_chars(name.as_str(), wanted).ratio();
    let mut near: Vec<(f32, String)> = names.into_iter().map(|name| (likeness(&name), name)).collect();
    near.retain(|(likeness, _)| *likeness >= 0.5);
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    near.truncate(OFFERED);
    if near.is_empty() {
        return failure.hint("run `snapback ls latest` and go down from there");
    }
    let near: Vec<String> = near.into_iter().map(|(_, name)| format!("{above}{name}")).collect();
    failure.hint(format!("did you mean {}?", super::advice::quoted(&near)))
}

#[cfg(test)]
mod tests {
    use snapback::snapshot::ObjectPath;

    use super::{as_stored, below_type, is_stored_name, parts};

    #[test]
    fn a_path_never_leaves_the_snapshot() {
        for path in ["..", "cluster/../..", "cluster//core", "./cluster", "cluster/.", "a\0b"] {
            assert!(parts(path).is_err(), "{path:?}");
        }
        assert_eq!(parts("/cluster/core/").unwrap(), ["cluster", "core"]);
        assert!(parts("").unwrap().is_empty());
        assert!(is_stored_name("a%2Fb") && !is_stored_name("a b") && !is_stored_name(".."));
    }

    #[test]
    fn a_long_name_is_found_with_its_ending_and_without() {
        let name = "x".repeat(253);
        let object = ObjectPath {
            group: String::new(),
            resource: "configmaps".to_owned(),
            namespace: Some("a".to_owned()),
            name: name.clone(),
        };
        for typed in [name.clone(), format!("{name}.json")] {
            let paths = as_stored(&["cluster", "core", "configmaps", "a", &typed]);
            assert!(paths.contains(&object.to_tree_path()), "{paths:?}");
        }
        let plain = as_stored(&["cluster", "core", "configmaps", "a", "b.json"]);
        assert_eq!(plain, ["cluster/core/configmaps/a/b.json"]);
    }

    #[test]
    fn a_type_with_a_namespace_and_a_name_is_a_path() {
        assert_eq!(below_type("", "configmaps", &["a", "b c"]), ["cluster/core/configmaps/a/b%20c.json"]);
        assert_eq!(
            below_type("apps", "deployments", &["a"]),
            ["cluster/apps/deployments/_/a.json", "cluster/apps/deployments/a"]
        );
        assert_eq!(below_type("apps", "deployments", &[]), ["cluster/apps/deployments"]);
    }
}
