//! A tree: the listing of one folder of a snapshot, itself a blob.
//!
//! In and out: lines `<kind> <sha256> <size> <name>`, sorted by the encoded name's bytes.
//! Invariants: the same entries always give the same bytes; a listing that is not exactly what `to_bytes` writes
//! (disorder, a duplicate, an escaping name) is refused, so that a path can never leave the folder it is restored to.
//! Constants: `repository.md`, section Files.

use std::fmt::Write as _;

use super::hash::ContentHash;

/// A folder of more entries than this is kept as 16 `sub` trees by the first hex digit of sha256(name), so that one
/// change rewrites a few hundred bytes whatever the folder's size.
pub const MAX_ENTRIES: usize = 64;

/// A name longer than this, once encoded, is cut: file systems take 255 bytes and `.json`, `~` and a hash must fit.
const MAX_NAME_BYTES: usize = 200;
/// How much of a cut name is kept in front of `~` and the hash prefix.
const CUT_NAME_BYTES: usize = 150;
/// Hex digits of sha256(name) behind the `~` of a cut name.
const CUT_NAME_HASH_DIGITS: usize = 32;

/// What a line of a tree points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryKind {
    /// A file's content.
    Blob,
    /// A folder: the hash is that of its tree.
    Tree,
    /// One sixteenth of a large folder; its name is a hex digit and its entries belong to the folder itself.
    Sub,
    /// A big file: the hash is that of the whole file, and the content a blob of lines that name its segments.
    Parts(ContentHash),
    /// An executable file's content.
    Exec,
    /// A symbolic link: the blob holds the target.
    Link,
}

/// One line of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeEntry {
    /// What the line points to.
    pub kind: EntryKind,
    /// SHA-256 of what it points to (of the whole file for `Parts`).
    pub hash: ContentHash,
    /// Bytes of content; for a tree or a sub-tree, bytes of everything below it.
    pub size: u64,
    /// The encoded name: see [`encode_name`].
    pub name: String,
}

/// A folder's listing, or one sixteenth of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    entries: Vec<TreeEntry>,
}

/// A tree's bytes are not what this program would have written.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TreeError {
    /// A line has not the form `<kind> <sha256> <size> <name>`.
    #[error("line {line} of a tree is not `<kind> <sha256> <size> <name>`")]
    Malformed {
        /// Counted from 1.
        line: usize,
    },
    /// A name that is empty, `.`, `..`, or holds a byte that must be encoded.
    #[error("line {line} of a tree has the name `{name}`, which could leave its folder or was not encoded")]
    BadName {
        /// Counted from 1.
        line: usize,
        /// The name as it was found.
        name: String,
    },
    /// A name that does not come after the one before it.
    #[error("line {line} of a tree (`{name}`) is out of order or there twice")]
    Disorder {
        /// Counted from 1.
        line: usize,
        /// The name as it was found.
        name: String,
    },
}

impl Tree {
    /// Takes entries in any order.
    ///
    /// # Errors
    /// A name is bad or there twice.
    pub fn new(mut entries: Vec<TreeEntry>) -> Result<Self, TreeError> {
        entries.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
        check(&entries)?;
        Ok(Self { entries })
    }

    /// Reads a listing.
    ///
    /// # Errors
    /// The bytes are not exactly what [`Tree::to_bytes`] would write.
    pub fn parse(bytes: &[u8]) -> Result<Self, TreeError> {
        let text = std::str::from_utf8(bytes).map_err(|_| TreeError::Malformed { line: 1 })?;
        if !text.is_empty() && !text.ends_with('\n') {
            return Err(TreeError::Malformed { line: text.lines().count() });
        }
        let mut entries = Vec::new();
        for (index, line) in text.split_terminator('\n').enumerate() {
            entries.push(parse_line(line).ok_or(TreeError::Malformed { line: index + 1 })?);
        }
        check(&entries)?;
        Ok(Self { entries })
    }

    /// The listing as it is stored and hashed.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = String::with_capacity(self.entries.len() * 100);
        for TreeEntry { kind, hash, size, name } in &self.entries {
            // Writing to a String cannot fail.
            let _ = match kind {
                EntryKind::Blob => writeln!(text, "blob {hash} {size} {name}"),
                EntryKind::Tree => writeln!(text, "tree {hash} {size} {name}"),
                EntryKind::Sub => writeln!(text, "sub {hash} {size} {name}"),
                EntryKind::Parts(list) => writeln!(text, "parts:{list} {hash} {size} {name}"),
                EntryKind::Exec => writeln!(text, "exec {hash} {size} {name}"),
                EntryKind::Link => writeln!(text, "link {hash} {size} {name}"),
            };
        }
        text.into_bytes()
    }

    /// The entries, sorted by name.
    pub fn entries(&self) -> &[TreeEntry] {
        &self.entries
    }

    /// Gives up the entries, sorted by name.
    pub fn into_entries(self) -> Vec<TreeEntry> {
        self.entries
    }
}

fn parse_line(line: &str) -> Option<TreeEntry> {
    let mut fields = line.splitn(4, ' ');
    let kind = match fields.next()? {
        "blob" => EntryKind::Blob,
        "tree" => EntryKind::Tree,
        "sub" => EntryKind::Sub,
        "exec" => EntryKind::Exec,
        "link" => EntryKind::Link,
        other => EntryKind::Parts(other.strip_prefix("parts:")?.parse().ok()?),
    };
    let hash = fields.next()?.parse().ok()?;
    let digits = fields.next()?;
    let size: u64 = digits.parse().ok()?;
    // `+1` and `01` parse as numbers too, but are not what we write.
    (size.to_string() == digits).then_some(())?;
    Some(TreeEntry { kind, hash, size, name: fields.next()?.to_owned() })
}

fn check(entries: &[TreeEntry]) -> Result<(), TreeError> {
    let mut before: Option<&str> = None;
    for (index, entry) in entries.iter().enumerate() {
        let name = entry.name.as_str();
        if !is_encoded_name(name) {
            return Err(TreeError::BadName { line: index + 1, name: name.to_owned() });
        }
        if before.is_some_and(|before| before.as_bytes() >= name.as_bytes()) {
            return Err(TreeError::Disorder { line: index + 1, name: name.to_owned() });
        }
        before = Some(name);
    }
    Ok(())
}

/// Whether a part of a path is what [`encode_name`] could have given.
pub(crate) fn is_encoded_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && name.bytes().all(|byte| is_plain(byte) || byte == b'%' || byte == b'~')
}

const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'@' | b'+' | b'-')
}

/// Encodes one part of a path: everything but `[A-Za-z0-9._:@+-]` becomes `%XX`; `.`, `..` and the empty name become
/// `%2E`, `%2E%2E` and `%`; what is longer than 200 bytes then is cut to 150, `~` and a prefix of its hash (the true
/// name is inside the object).
pub fn encode_name(name: &str) -> String {
    match name {
        "" => return "%".to_owned(),
        "." => return "%2E".to_owned(),
        ".." => return "%2E%2E".to_owned(),
        _ => {}
    }
    let mut encoded = String::with_capacity(name.len());
    for byte in name.bytes() {
        if is_plain(byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    if encoded.len() > MAX_NAME_BYTES {
        let hash = ContentHash::of(name.as_bytes()).to_string();
        encoded.truncate(CUT_NAME_BYTES);
        encoded.push('~');
        encoded.extend(hash.chars().take(CUT_NAME_HASH_DIGITS));
    }
    encoded
}

/// Undoes [`encode_name`] for names that were not cut; a cut name comes back as it is.
pub fn decode_name(encoded: &str) -> String {
    if encoded == "%" {
        return String::new();
    }
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        let code = match (first, tail) {
            (b'%', [high, low, ..]) => {
                std::str::from_utf8(&[*high, *low]).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok())
            }
            _ => None,
        };
        if let Some(code) = code {
            bytes.push(code);
            rest = tail.get(2..).unwrap_or_default();
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| encoded.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{ContentHash, EntryKind, Tree, TreeEntry, TreeError, decode_name, encode_name};

    fn blob(name: &str) -> TreeEntry {
        TreeEntry { kind: EntryKind::Blob, hash: ContentHash::of(name.as_bytes()), size: 7, name: name.to_owned() }
    }

    #[test]
    fn a_tree_survives_its_own_bytes() {
        let parts = EntryKind::Parts(ContentHash::of(b"segments"));
        let mut entries = vec![blob("b"), blob("a"), TreeEntry { kind: parts, ..blob("c") }];
        entries.extend(
            [EntryKind::Tree, EntryKind::Sub, EntryKind::Exec, EntryKind::Link]
                .map(|kind| TreeEntry { kind, ..blob(&format!("x{kind:?}")) }),
        );
        let tree = Tree::new(entries).unwrap();
        assert_eq!(Tree::parse(&tree.to_bytes()).unwrap(), tree);
    }

    #[test]
    fn what_could_escape_or_was_not_written_by_us_is_refused() {
        let line = |name: &str| format!("blob {} 7 {name}\n", ContentHash::of(b"x"));
        for name in ["", ".", "..", "a/b", "a b", "ä", "\u{0}"] {
            let found = Tree::parse(line(name).as_bytes());
            assert!(matches!(found, Err(TreeError::BadName { .. })), "{name:?}: {found:?}");
        }
        for text in [line("b") + &line("a"), line("a") + &line("a")] {
            assert!(matches!(Tree::parse(text.as_bytes()), Err(TreeError::Disorder { line: 2, .. })), "{text}");
        }
        for text in [line("a").replace(" 7 ", " 07 "), line("a").replace("blob", "blub"), line("a").trim().to_owned()] {
            assert!(matches!(Tree::parse(text.as_bytes()), Err(TreeError::Malformed { line: 1 })), "{text}");
        }
    }

    #[test]
    fn names_are_encoded_so_that_a_file_system_takes_them() {
        for (name, encoded) in [
            ("a.b-c_d:e@f+g", "a.b-c_d:e@f+g"),
            ("system:node proxier", "system:node%20proxier"),
            ("a/b", "a%2Fb"),
            ("..", "%2E%2E"),
            ("", "%"),
            ("50%", "50%25"),
        ] {
            assert_eq!(encode_name(name), encoded);
            assert_eq!(decode_name(encoded), name);
        }
        let long = encode_name(&"a".repeat(253));
        assert_eq!(long.len(), 150 + 1 + 32);
        assert_ne!(long, encode_name(&("a".repeat(252) + "b")));
    }

    proptest::proptest! {
        #[test]
        fn any_names_make_a_tree_and_no_bytes_a_panic(names: Vec<String>, noise: Vec<u8>, lines in "((blob|tree|sub) [0-9a-f]{64} [0-9]{1,3} [a-z%./]{0,4}\n){0,5}") {
            let names: std::collections::BTreeSet<String> = names.iter().map(|name| encode_name(name)).collect();
            let tree = Tree::new(names.iter().map(|name| blob(name)).collect()).unwrap();
            proptest::prop_assert_eq!(Tree::parse(&tree.to_bytes()).unwrap(), tree);
            let _ = Tree::parse(&noise);
            if let Ok(tree) = Tree::parse(lines.as_bytes()) {
                proptest::prop_assert_eq!(tree.to_bytes(), lines.as_bytes());
            }
        }
    }
}
