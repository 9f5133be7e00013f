//! From every snapshot's root down: does each reference lead to a whole member of a pack that the snapshot names?
//!
//! In: what the scans found. Out: the paths that a snapshot has lost.
//! Invariants: a path is lost exactly if its content, or a tree above it, is whole in no pack that its snapshot names.
//! Trees are shared between snapshots, and so is the answer: a tree is walked once, however many snapshots hold it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::pack_scan::PackScan;
use crate::store::{ContentHash, EntryKind, PackRef, SegmentList, Snapshot, Tree};

/// Deeper than any path that a capture makes; what is deeper is not ours and is reported as unreadable.
const MAX_DEPTH: usize = 200;

/// What a tree member says.
#[derive(Debug)]
enum Node {
    Tree(Tree),
    Segments(SegmentList),
    Unreadable,
}

/// Everything that the scanned packs hold.
#[derive(Debug, Default)]
pub(super) struct References {
    packs: Vec<PackRef>,
    numbers: HashMap<String, u32>,
    places: HashMap<ContentHash, u32>,
    /// Further packs that hold the same content; rare.
    copies: HashMap<ContentHash, Vec<u32>>,
    broken: HashMap<ContentHash, Vec<u32>>,
    contents_lost: HashSet<u32>,
    nodes: HashMap<ContentHash, Node>,
    /// For a tree whose every reference leads somewhere: the packs that it needs.
    needs: HashMap<ContentHash, Option<Arc<BTreeSet<u32>>>>,
}

/// A path that a snapshot has lost.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Loss {
    pub(super) path: String,
    /// The file whose damage costs it; `None` when no file that is there or named ever held it.
    pub(super) file: Option<String>,
}

impl References {
    /// Takes what a scan found, and forgets its trees' bytes.
    pub(super) fn add(&mut self, pack: &PackRef, scan: PackScan) {
        let number = u32::try_from(self.packs.len()).unwrap_or(u32::MAX);
        self.packs.push(pack.clone());
        self.numbers.insert(pack.name.clone(), number);
        for hash in scan.whole {
            if let Some(first) = self.places.get(&hash) {
                debug_assert_ne!(*first, number);
                self.copies.entry(hash).or_default().push(number);
            } else {
                self.places.insert(hash, number);
            }
        }
        for hash in scan.broken {
            self.broken.entry(hash).or_default().push(number);
        }
        if scan.contents_lost {
            self.contents_lost.insert(number);
        }
        for (hash, bytes) in scan.trees {
            let node = match (Tree::parse(&bytes), SegmentList::parse(&bytes)) {
                (Ok(tree), _) => Node::Tree(tree),
                (_, Some(list)) => Node::Segments(list),
                _ => Node::Unreadable,
            };
            self.nodes.insert(hash, node);
        }
    }

    /// Files of several segments below a snapshot's root: (path, hash of the whole, list).
    pub(super) fn big_files(&self, snapshot: &Snapshot) -> Vec<(String, crate::store::TreeEntry)> {
        let mut found = Vec::new();
        self.walk(snapshot, &mut |path, entry| {
            if matches!(entry.kind, EntryKind::Parts(_)) {
                found.push((path.to_owned(), entry.clone()));
            }
        });
        found
    }

    fn walk(&self, snapshot: &Snapshot, visit: &mut dyn FnMut(&str, &crate::store::TreeEntry)) {
        let mut waiting = vec![(String::new(), snapshot.body.root)];
        while let Some((folder, hash)) = waiting.pop() {
            let Some(Node::Tree(tree)) = self.nodes.get(&hash) else { continue };
            for entry in tree.entries() {
                let path = join(&folder, &entry.name);
                match entry.kind {
                    EntryKind::Sub => waiting.push((folder.clone(), entry.hash)),
                    EntryKind::Tree => waiting.push((path, entry.hash)),
                    _ => visit(&path, entry),
                }
            }
        }
    }

    /// What a snapshot has lost, in path order.
    pub(super) fn losses(&mut self, snapshot: &Snapshot) -> Vec<Loss> {
        let named: BTreeSet<u32> =
            snapshot.packs.iter().filter_map(|pack| self.numbers.get(&pack.name)).copied().collect();
        let needed = self.needs(&snapshot.body.root, 0);
        if needed.is_some_and(|needed| needed.is_subset(&named)) {
            return Vec::new();
        }
        let mut losses = Vec::new();
        let mut waiting = vec![(String::new(), snapshot.body.root, 0)];
        while let Some((folder, hash, depth)) = waiting.pop() {
            let Some(tree) = self.readable_tree(&hash, &named).filter(|_| depth < MAX_DEPTH) else {
                losses.push(Loss { path: format!("{folder}/"), file: self.culprit(&hash, &named) });
                continue;
            };
            for entry in tree.entries() {
                let path = join(&folder, &entry.name);
                let mut lose = |hash: &ContentHash| {
                    losses.push(Loss { path: path.clone(), file: self.culprit(hash, &named) });
                };
                match entry.kind {
                    EntryKind::Sub => waiting.push((folder.clone(), entry.hash, depth + 1)),
                    EntryKind::Tree => waiting.push((path, entry.hash, depth + 1)),
                    EntryKind::Parts(list) => match self.nodes.get(&list) {
                        Some(Node::Segments(segments)) if self.is_there(&list, &named) => {
                            if let Some((lost, _)) = segments.iter().find(|(hash, _)| !self.is_there(hash, &named)) {
                                lose(lost);
                            }
                        }
                        // An empty list and an empty tree have the same bytes.
                        Some(Node::Tree(tree)) if tree.entries().is_empty() && self.is_there(&list, &named) => {}
                        _ => lose(&list),
                    },
                    EntryKind::Blob | EntryKind::Exec | EntryKind::Link => {
                        if !self.is_there(&entry.hash, &named) {
                            lose(&entry.hash);
                        }
                    }
                }
            }
        }
        losses.sort_by(|a, b| a.path.cmp(&b.path));
        losses
    }

    fn readable_tree(&self, hash: &ContentHash, named: &BTreeSet<u32>) -> Option<&Tree> {
        match self.nodes.get(hash) {
            Some(Node::Tree(tree)) if self.is_there(hash, named) => Some(tree),
            _ => None,
        }
    }

    fn is_there(&self, hash: &ContentHash, named: &BTreeSet<u32>) -> bool {
        self.places
            .get(hash)
            .into_iter()
            .chain(self.copies.get(hash).into_iter().flatten())
            .any(|pack| named.contains(pack))
    }

    fn culprit(&self, hash: &ContentHash, named: &BTreeSet<u32>) -> Option<String> {
        let broken = self.broken.get(hash).into_iter().flatten().find(|pack| named.contains(pack));
        let pack = broken.or_else(|| self.contents_lost.iter().filter(|pack| named.contains(pack)).min())?;
        self.packs.get(*pack as usize).map(|pack| pack.name.clone())
    }

    /// The packs that a tree and all below it lie in, each content counted where it was found first.
    fn needs(&mut self, hash: &ContentHash, depth: usize) -> Option<Arc<BTreeSet<u32>>> {
        if let Some(known) = self.needs.get(hash) {
            return known.clone();
        }
        let found = self.needs_of(hash, depth).map(Arc::new);
        self.needs.insert(*hash, found.clone());
        found
    }

    fn needs_of(&mut self, hash: &ContentHash, depth: usize) -> Option<BTreeSet<u32>> {
        let Some(Node::Tree(tree)) = self.nodes.get(hash).filter(|_| depth < MAX_DEPTH) else { return None };
        let mut needed = BTreeSet::from([*self.places.get(hash)?]);
        let mut below = Vec::new();
        for entry in tree.entries() {
            match entry.kind {
                EntryKind::Tree | EntryKind::Sub => below.push(entry.hash),
                EntryKind::Parts(list) => {
                    needed.insert(*self.places.get(&list)?);
                    let Some(Node::Segments(segments)) = self.nodes.get(&list) else { return None };
                    for (segment, _) in segments.iter() {
                        needed.insert(*self.places.get(segment)?);
                    }
                }
                EntryKind::Blob | EntryKind::Exec | EntryKind::Link => {
                    let _ = needed.insert(*self.places.get(&entry.hash)?);
                }
            }
        }
        for hash in below {
            needed.extend(self.needs(&hash, depth + 1)?.iter());
        }
        Some(needed)
    }
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}
