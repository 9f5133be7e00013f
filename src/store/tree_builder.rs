//! From paths to trees: collects the entries of a snapshot and lists them folder by folder.
//!
//! In: paths with what is stored there, in any order. Out: every tree of the snapshot, children first, and its root.
//! Invariants: the same entries always give the same trees (I1 needs it for nothing, but an unchanged backup does);
//! a path is there once; a file never has entries below it.

use std::collections::BTreeMap;

use super::error::StoreError;
use super::hash::ContentHash;
use super::tree::{EntryKind, MAX_ENTRIES, Tree, TreeEntry};

/// One file, as small as it can be: a hundred thousand of them are kept.
#[derive(Debug)]
struct File {
    hash: ContentHash,
    size: u64,
    kind: FileKind,
}

#[derive(Debug)]
enum FileKind {
    Blob,
    Exec,
    Link,
    /// The hash of the list of segments; boxed, since it is rare.
    Parts(Box<ContentHash>),
}

/// The files of a snapshot being written.
#[derive(Debug, Default)]
pub(crate) struct TreeBuilder {
    folders: BTreeMap<String, BTreeMap<Box<str>, File>>,
}

/// Trees, children before parents.
#[derive(Debug)]
pub(crate) struct BuiltTrees {
    pub(crate) root: ContentHash,
    pub(crate) bytes: u64,
    pub(crate) trees: Vec<(ContentHash, Vec<u8>)>,
}

impl TreeBuilder {
    /// A file whose content is one blob.
    pub(crate) fn add_blob(
        &mut self,
        path: &str,
        kind: EntryKind,
        hash: ContentHash,
        size: u64,
    ) -> Result<(), StoreError> {
        let kind = match kind {
            EntryKind::Blob => FileKind::Blob,
            EntryKind::Exec => FileKind::Exec,
            EntryKind::Link => FileKind::Link,
            EntryKind::Tree | EntryKind::Sub | EntryKind::Parts(_) => {
                return Err(StoreError::BadPath { path: path.to_owned(), reason: "a folder is not a file" });
            }
        };
        self.add(path, File { hash, size, kind })
    }

    pub(crate) fn add_parts(
        &mut self,
        path: &str,
        hash: ContentHash,
        size: u64,
        list: ContentHash,
    ) -> Result<(), StoreError> {
        self.add(path, File { hash, size, kind: FileKind::Parts(Box::new(list)) })
    }

    fn add(&mut self, path: &str, file: File) -> Result<(), StoreError> {
        let refuse = |reason| Err(StoreError::BadPath { path: path.to_owned(), reason });
        if !path.split('/').all(super::tree::is_encoded_name) {
            return refuse("a part of it is empty, `.`, `..` or not encoded");
        }
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        if !self.folders.contains_key(folder) {
            self.folders.insert(folder.to_owned(), BTreeMap::new());
        }
        match self.folders.get_mut(folder).map(|files| files.insert(name.into(), file)) {
            Some(None) => Ok(()),
            _ => refuse("it is there twice"),
        }
    }

    /// Forgets every entry at or below a folder.
    pub(crate) fn discard(&mut self, folder: &str) {
        let below = format!("{folder}/");
        self.folders.retain(|path, _| !folder.is_empty() && path != folder && !path.starts_with(&below));
        let (above, name) = folder.rsplit_once('/').unwrap_or(("", folder));
        if let Some(files) = self.folders.get_mut(above) {
            files.remove(name);
        }
    }

    /// Every blob that a file refers to: contents, segments' lists.
    pub(crate) fn contents(&self) -> impl Iterator<Item = ContentHash> {
        let files = self.folders.values().flat_map(BTreeMap::values);
        files.map(|file| match &file.kind {
            FileKind::Blob | FileKind::Exec | FileKind::Link => file.hash,
            FileKind::Parts(list) => **list,
        })
    }

    /// Lists every folder.
    pub(crate) fn build(self) -> Result<BuiltTrees, StoreError> {
        let mut folders: BTreeMap<String, Vec<TreeEntry>> = BTreeMap::new();
        folders.insert(String::new(), Vec::new());
        for (path, files) in self.folders {
            let mut above = path.as_str();
            while let Some((parent, _)) = above.rsplit_once('/') {
                folders.entry(parent.to_owned()).or_default();
                above = parent;
            }
            let entries = files.into_iter().map(|(name, file)| {
                let kind = match file.kind {
                    FileKind::Blob => EntryKind::Blob,
                    FileKind::Exec => EntryKind::Exec,
                    FileKind::Link => EntryKind::Link,
                    FileKind::Parts(list) => EntryKind::Parts(*list),
                };
                TreeEntry { kind, hash: file.hash, size: file.size, name: name.into() }
            });
            folders.insert(path.clone(), entries.collect());
        }
        let mut built = BuiltTrees { root: ContentHash::of(b""), bytes: 0, trees: Vec::new() };
        // A folder sorts before everything below it, so from the end children come before their parents.
        while let Some((path, entries)) = folders.pop_last() {
            // The only thing that can be wrong by now: a folder that has the name of a file.
            let twice = |_| StoreError::BadPath { path: path.clone(), reason: "a name in it is a file and a folder" };
            let (hash, size) = built.list(entries, 0).map_err(twice)?;
            match path.rsplit_once('/') {
                _ if path.is_empty() => (built.root, built.bytes) = (hash, size),
                split => {
                    let (above, name) = split.unwrap_or(("", &path));
                    let parent = folders.entry(above.to_owned()).or_default();
                    parent.push(TreeEntry { kind: EntryKind::Tree, hash, size, name: name.to_owned() });
                }
            }
        }
        Ok(built)
    }
}

impl BuiltTrees {
    /// Lists entries in one tree, or in sixteen by the next hex digit of sha256(name).
    fn list(&mut self, entries: Vec<TreeEntry>, depth: usize) -> Result<(ContentHash, u64), super::tree::TreeError> {
        let size = entries.iter().fold(0_u64, |sum, entry| sum.saturating_add(entry.size));
        let mut lines = entries;
        if lines.len() > MAX_ENTRIES {
            let mut sixteenths: BTreeMap<String, Vec<TreeEntry>> = BTreeMap::new();
            for entry in lines {
                let digits = ContentHash::of(entry.name.as_bytes()).to_string();
                sixteenths.entry(digits.get(depth..=depth).unwrap_or_default().to_owned()).or_default().push(entry);
            }
            lines = Vec::new();
            for (name, entries) in sixteenths {
                let (hash, size) = self.list(entries, depth + 1)?;
                lines.push(TreeEntry { kind: EntryKind::Sub, hash, size, name });
            }
        }
        let bytes = Tree::new(lines)?.to_bytes();
        let hash = ContentHash::of(&bytes);
        self.trees.push((hash, bytes));
        Ok((hash, size))
    }
}
