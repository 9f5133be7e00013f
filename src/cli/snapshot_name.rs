//! How a snapshot is named: `42`, `#42`, a short id, `latest`, `latest~2`, a label, or `live`.

use snapback::store::Snapshot;

use super::error::Failure;
use super::exit::Exit;
use super::field_text::{is_steering, printable};
use super::table;

/// The label of the snapshot that a restore takes before it changes anything. `latest` passes over it: else `restore
/// latest` after a restore would quietly undo it.
pub(crate) const BEFORE_RESTORE: &str = "before-restore";
/// The label of a snapshot that was taken before an upgrade: what a rollback goes back to when none is named.
pub(crate) const PRE_UPGRADE: &str = "pre-upgrade";
/// The fewest digits that are taken for the beginning of an id.
const SHORTEST_ID: usize = 4;
/// The longest label: it stands in tables.
const LONGEST_LABEL: usize = 64;
/// How many near names are offered.
const OFFERED: usize = 3;

/// A name as it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SnapshotName {
    /// The cluster as it is now.
    Live,
    /// The newest of this cluster that someone wanted, or so many before it.
    Latest(usize),
    /// Anything else: a number, an id or a label.
    Stored(String),
}

impl SnapshotName {
    /// Understands a name.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        if text == "live" {
            return Ok(Self::Live);
        }
        if text == "latest" {
            return Ok(Self::Latest(0));
        }
        if let Some(back) = text.strip_prefix("latest~") {
            return back.parse().map(Self::Latest).map_err(|_| {
                Failure::new(Exit::Usage, format!("`{text}` is not a snapshot: after `latest~` comes a number"))
                    .hint("`latest~1` is the one before the newest")
            });
        }
        if text.is_empty() {
            return Err(Failure::new(Exit::Usage, "the snapshot's name is empty").hint("run `snapback snapshots`"));
        }
        Ok(Self::Stored(text.to_owned()))
    }

    /// Cuts `SNAPSHOT[:PATH]`.
    pub(crate) fn parse_with_path(text: &str) -> Result<(Self, Option<String>), Failure> {
        match text.split_once(':') {
            Some((name, path)) => Ok((Self::parse(name)?, Some(path.to_owned()))),
            None => Ok((Self::parse(text)?, None)),
        }
    }
}

/// The snapshot that a number, an id or a label names.
pub(crate) fn find<'s>(snapshots: &'s [Snapshot], text: &str) -> Result<&'s Snapshot, Failure> {
    let digits = text.strip_prefix('#').unwrap_or(text);
    // `+4` may be a label.
    if let Ok(number) = digits.parse::<u64>()
        && !digits.starts_with('+')
        && let Some(found) = snapshots.iter().find(|snapshot| snapshot.number == number)
    {
        return Ok(found);
    }
    let labelled = snapshots.iter().rev().find(|snapshot| !text.is_empty() && snapshot.body.label == text);
    let is_id = text.len() >= SHORTEST_ID && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let mut by_id = snapshots.iter().filter(|snapshot| is_id && snapshot.id.to_string().starts_with(text));
    match (labelled, by_id.next(), by_id.next()) {
        (Some(found), None, _) | (None, Some(found), None) => Ok(found),
        (None, None, _) => Err(unknown(snapshots, text)),
        (Some(first), Some(second), _) | (None, Some(first), Some(second)) => Err(Failure::new(
            Exit::Usage,
            format!("`{text}` can mean snapshot #{} and #{}", first.number, second.number),
        )
        .hint("name it by its number")),
    }
}

/// The newest of one cluster's snapshots, or so many before it. Those that a restore took by itself are passed over, and
/// those of a part are no stand-in for one of everything.
pub(crate) fn latest<'s>(of_cluster: &[&'s Snapshot], back: usize) -> Result<&'s Snapshot, Failure> {
    let wanted: Vec<&Snapshot> =
        of_cluster.iter().copied().filter(|snapshot| snapshot.body.label != BEFORE_RESTORE).collect();
    let whole: Vec<&Snapshot> = wanted.iter().copied().filter(|snapshot| snapshot.body.scope.is_empty()).collect();
    let candidates = if whole.is_empty() { wanted } else { whole };
    if let Some(found) = candidates.iter().rev().nth(back).copied() {
        return Ok(found);
    }
    let passed_over = of_cluster.iter().rev().find(|snapshot| snapshot.body.label == BEFORE_RESTORE);
    Err(match (candidates.len(), passed_over) {
        (0, Some(taken)) => Failure::new(
            Exit::Failed,
            "this cluster has only snapshots that a restore took by itself, and `latest` passes over those",
        )
        .hint(format!("name one by its number: `{}` is the newest", taken.number)),
        (count, _) => Failure::new(
            Exit::Failed,
            format!(
                "there is no `latest~{back}`: `latest` counts {} of this cluster",
                table::count(count as u64, "snapshot")
            ),
        )
        .hint("run `snapback snapshots` to see which there are"),
    })
}

fn unknown(snapshots: &[Snapshot], text: &str) -> Failure {
    let failure = Failure::new(Exit::Failed, format!("there is no snapshot `{text}`"));
    let near = near(snapshots, text);
    match (snapshots.is_empty(), near.is_empty()) {
        (true, _) => failure.hint("the repository has no snapshots yet; run `snapback backup`"),
        (false, true) => failure.hint("run `snapback snapshots` to see which there are"),
        (false, false) => failure.hint(format!("did you mean {}?", near.join(", "))),
    }
}

/// Labels that look alike, ids that begin alike, numbers beside.
fn near(snapshots: &[Snapshot], text: &str) -> Vec<String> {
    let mut labels: Vec<(f32, &str, u64)> = snapshots
        .iter()
        .filter(|snapshot| !snapshot.body.label.is_empty())
        .map(|snapshot| (likeness(&snapshot.body.label, text), snapshot.body.label.as_str(), snapshot.number))
        .filter(|(likeness, ..)| *likeness > 0.5)
        .collect();
    labels.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.2.cmp(&a.2)));
    labels.dedup_by_key(|(_, label, _)| *label);
    let mut near: Vec<String> = labels.iter().map(|(_, label, number)| format!("`{label}` (#{number})")).collect();
    let digits = text.strip_prefix('#').unwrap_or(text);
    if let Ok(wanted) = digits.parse::<u64>() {
        let mut numbers: Vec<u64> = snapshots.iter().map(|snapshot| snapshot.number).collect();
        numbers.sort_by_key(|number| number.abs_diff(wanted));
        near.extend(numbers.iter().take(OFFERED).map(|number| format!("`{number}`")));
    }
    let prefix: String = text.chars().take(SHORTEST_ID - 1).collect();
    if prefix.len() == SHORTEST_ID - 1 {
        let alike = snapshots.iter().filter(|snapshot| snapshot.id.to_string().starts_with(&prefix));
        near.extend(alike.map(|snapshot| format!("`{}` (#{})", snapshot.id.short(), snapshot.number)));
    }
    near.truncate(OFFERED);
    near
}

/// Share of letters in common, in order: 1 for the same text.
fn likeness(left: &str, right: &str) -> f32 {
    similar::TextDiff::from_chars(left.to_lowercase().as_str(), right.to_lowercase().as_str()).ratio()
}

/// Whether a text may be a label: it must not look like another way to name a snapshot, and must be easy to type.
pub(crate) fn check_label(label: &str) -> Result<(), Failure> {
    let Some(problem) = label_problem(label) else { return Ok(()) };
    Err(Failure::new(Exit::Usage, format!("`{}` cannot be a label: {problem}", printable(label)))
        .hint("a label is made of letters, digits, `.`, `_`, `-` and `+`, such as `pre-upgrade-0.37`"))
}

fn label_problem(label: &str) -> Option<&'static str> {
    let plain = |letter: char| letter.is_alphanumeric() || matches!(letter, '.' | '_' | '-' | '+');
    Some(if label.is_empty() {
        "it is empty"
    } else if label.chars().count() > LONGEST_LABEL {
        "it is longer than 64 letters"
    } else if label.chars().any(is_steering) {
        "it holds characters that cannot be seen"
    } else if label.starts_with('#') || label.chars().all(char::is_numeric) {
        "a number names a snapshot already"
    } else if label.len() >= SHORTEST_ID && label.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        "it looks like the beginning of an id"
    } else if label == BEFORE_RESTORE {
        "a restore gives it to what it takes by itself, and `latest` passes over that"
    } else if matches!(label, "live" | "latest") || label.starts_with("latest~") {
        "that name has a meaning already"
    } else if label.contains(':') {
        "what follows a `:` is a path inside the snapshot"
    } else if label.starts_with('-') {
        "it would be taken for an option"
    } else if !label.chars().all(plain) {
        "it holds something else than letters, digits, `.`, `_`, `-` and `+`"
    } else {
        return None;
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use snapback::store::{ContentHash, SnapshotBody};

    fn snapshot(number: u64, label: &str) -> Snapshot {
        Snapshot {
            number,
            id: ContentHash::of(&number.to_le_bytes()),
            parent: None,
            packs: Vec::new(),
            body: SnapshotBody {
                series: ContentHash::of(b"series"),
                time: jiff::Timestamp::UNIX_EPOCH,
                cluster: "uid".to_owned(),
                context: "context".to_owned(),
                revision: 7,
                root: ContentHash::of(b"root"),
                label: label.to_owned(),
                scope: String::new(),
                sources: Vec::new(),
                complete: true,
                objects: 0,
                types: 0,
                bytes: 0,
                kubernetes: String::new(),
                tool: String::new(),
            },
        }
    }

    fn hint(text: &str) -> String {
        let snapshots = [snapshot(1, "pre-upgrade"), snapshot(2, ""), snapshot(7, "nightly")];
        let failure = find(&snapshots, text).unwrap_err();
        format!("{}; {}", failure.text, failure.hints.join(" "))
    }

    #[test]
    fn a_snapshot_is_found_by_number_id_and_label() {
        let snapshots = [snapshot(1, "pre-upgrade"), snapshot(2, ""), snapshot(7, "pre-upgrade")];
        let id = snapshots[1].id.to_string();
        for (text, number) in [("1", 1), ("#2", 2), (&id[..4], 2), (&id, 2), ("pre-upgrade", 7)] {
            assert_eq!(find(&snapshots, text).unwrap().number, number, "{text}");
        }
    }

    #[test]
    fn latest_passes_over_what_a_restore_took_by_itself() {
        let (first, second) = (snapshot(1, "pre-upgrade"), snapshot(2, ""));
        let (own, again) = (snapshot(3, BEFORE_RESTORE), snapshot(4, BEFORE_RESTORE));
        let all = [&first, &second, &own, &again];
        assert_eq!((latest(&all, 0).unwrap().number, latest(&all, 1).unwrap().number), (2, 1));
        let failure = latest(&all, 2).unwrap_err();
        assert_eq!(failure.text, "there is no `latest~2`: `latest` counts 2 snapshots of this cluster");
        assert_eq!(latest(&[&own, &again], 0).unwrap_err().hints, ["name one by its number: `4` is the newest"]);
        // Its label, its number and its id still name it.
        assert_eq!(find(&[own, again], BEFORE_RESTORE).unwrap().number, 4);
    }

    #[test]
    fn an_unknown_name_says_what_is_near() {
        assert_eq!(hint("pre-upgrad"), "there is no snapshot `pre-upgrad`; did you mean `pre-upgrade` (#1)?");
        assert_eq!(hint("#6"), "there is no snapshot `#6`; did you mean `7`, `2`, `1`?");
        assert_eq!(hint("zzz"), "there is no snapshot `zzz`; run `snapback snapshots` to see which there are");
        let id = snapshot(2, "").id.short();
        let wrong = format!("{}zz", &id[..3]);
        assert_eq!(hint(&wrong), format!("there is no snapshot `{wrong}`; did you mean `{id}` (#2)?"));
        let failure = find(&[], "1").unwrap_err();
        assert_eq!(failure.hints, ["the repository has no snapshots yet; run `snapback backup`"]);
    }

    #[test]
    fn names_are_understood() {
        assert_eq!(SnapshotName::parse("latest~2").unwrap(), SnapshotName::Latest(2));
        assert_eq!(SnapshotName::parse("latest~x").unwrap_err().exit, Exit::Usage);
        let (name, path) = SnapshotName::parse_with_path("latest:cluster/core").unwrap();
        assert_eq!((name, path.as_deref()), (SnapshotName::Latest(0), Some("cluster/core")));
    }

    #[test]
    fn no_label_can_be_taken_for_another_name() {
        for (wrong, why) in [
            ("", "empty"),
            ("12", "number"),
            ("１２", "number"),
            ("#12", "number"),
            ("beef", "id"),
            ("DEADBEEF", "id"),
            ("live", "meaning"),
            ("latest", "meaning"),
            ("latest~2", "meaning"),
            ("before-restore", "restore"),
            ("a:b", "path"),
            ("a/b", "something else"),
            ("a b", "something else"),
            ("-a", "option"),
            ("a\u{202e}b", "cannot be seen"),
            ("a\u{1b}[2Jb", "cannot be seen"),
            (&"a".repeat(65), "longer"),
        ] {
            let failure = check_label(wrong).unwrap_err();
            assert!(failure.exit == Exit::Usage && failure.text.contains(why), "{wrong:?}: {}", failure.text);
            assert!(!failure.text.chars().any(is_steering), "{:?}", failure.text);
        }
        for right in ["pre-upgrade_v0.37.2", "bee", "cafe-1", "v1", "abcdefg", "nächtlich"] {
            assert!(check_label(right).is_ok(), "{right}");
        }
    }
}
