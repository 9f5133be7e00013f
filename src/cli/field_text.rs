//! A changed field as lines of a change review.

use std::fmt::Write as _;

use serde_json::Value;
use similar::{ChangeTag, TextDiff};
use snapback::maintain::to_yaml;

use super::output::Tone;

/// A value longer than this does not fit on a line beside another one.
const INLINE: usize = 100;
/// A text without line feeds that is longer than this is cut in the middle.
const LONGEST: usize = 400;
/// Unchanged lines shown around a changed one.
const CONTEXT: usize = 2;

/// One changed field, with what is secret masked already.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ShownField {
    /// Such as `spec.replicas`.
    pub(crate) path: String,
    /// What it was; `None` when it was not there.
    pub(crate) before: Option<Value>,
    /// What it is; `None` when it is gone.
    pub(crate) after: Option<Value>,
    /// Something of it was masked.
    pub(crate) masked: bool,
    /// It changes by itself (resourceVersion, managedFields, status).
    pub(crate) noise: bool,
}

impl ShownField {
    /// As JSON: a side that has no such field is left out.
    pub(crate) fn document(&self) -> Value {
        let mut document = serde_json::Map::new();
        document.insert("path".to_owned(), self.path.as_str().into());
        document.insert("noise".to_owned(), self.noise.into());
        document.insert("masked".to_owned(), self.masked.into());
        for (name, side) in [("before", &self.before), ("after", &self.after)] {
            document.extend(side.clone().map(|value| (name.to_owned(), value)));
        }
        Value::Object(document)
    }
}

/// The lines of one field, without indentation.
pub(crate) fn lines(field: &ShownField) -> Vec<(Tone, String)> {
    let path = printable(&field.path);
    match (&field.before, &field.after) {
        (Some(Value::String(before)), Some(Value::String(after)))
            if !field.masked && (before.contains('\n') || after.contains('\n')) =>
        {
            let mut lines = vec![(Tone::Yellow, format!("~ {path}:"))];
            lines.extend(text_difference(before, after));
            lines
        }
        (Some(before), Some(after)) => {
            let (left, right) = (one_line(before), one_line(after));
            // Two masked values of one size still are two values: an equal one would be no change.
            let differs = if field.masked && before == after { " (differs)" } else { "" };
            if left.len() + right.len() <= 2 * INLINE {
                vec![(Tone::Yellow, format!("~ {path}: {left} -> {right}{differs}"))]
            } else {
                vec![
                    (Tone::Yellow, format!("~ {path}:{differs}")),
                    (Tone::Red, format!("  - {left}")),
                    (Tone::Green, format!("  + {right}")),
                ]
            }
        }
        (None, Some(after)) => whole(Tone::Green, '+', &path, after),
        (Some(before), None) => whole(Tone::Red, '-', &path, before),
        (None, None) => Vec::new(),
    }
}

/// A field that came or went: on its line when it is short, else as YAML below.
fn whole(tone: Tone, sign: char, path: &str, value: &Value) -> Vec<(Tone, String)> {
    let short = one_line(value);
    let structured = matches!(value, Value::Array(_) | Value::Object(_))
        || matches!(value, Value::String(text) if text.contains('\n'));
    if !structured || short.len() <= INLINE {
        return vec![(tone, format!("{sign} {path}: {short}"))];
    }
    let text = match value {
        Value::String(text) => text.clone(),
        other => to_yaml(other),
    };
    let mut lines = vec![(tone, format!("{sign} {path}:"))];
    lines.extend(text.lines().map(|line| (tone, format!("  {sign} {}", printable(line)))));
    lines
}

/// Line by line, with a little of what stayed around it.
fn text_difference(before: &str, after: &str) -> Vec<(Tone, String)> {
    let difference = TextDiff::from_lines(before, after);
    let mut lines = Vec::new();
    for (index, group) in difference.grouped_ops(CONTEXT).iter().enumerate() {
        if index > 0 {
            lines.push((Tone::Dim, "    ...".to_owned()));
        }
        for change in group.iter().flat_map(|op| difference.iter_changes(op)) {
            let (tone, sign) = match change.tag() {
                ChangeTag::Delete => (Tone::Red, '-'),
                ChangeTag::Insert => (Tone::Green, '+'),
                ChangeTag::Equal => (Tone::Dim, ' '),
            };
            let text = printable(change.value().trim_end_matches('\n'));
            let end = if change.missing_newline() { " (no line feed at the end)" } else { "" };
            lines.push((tone, format!("  {sign} {text}{end}")));
        }
    }
    lines
}

/// A value on one line: JSON, cut in the middle when it is very long.
pub(crate) fn one_line(value: &Value) -> String {
    let text = printable(&value.to_string());
    let letters = text.chars().count();
    if letters <= LONGEST {
        return text;
    }
    let head: String = text.chars().take(LONGEST / 2).collect();
    let tail: String = text.chars().skip(letters - LONGEST / 4).collect();
    format!("{head} ... {tail} ({letters} letters)")
}

/// Without what could steer a terminal.
pub(crate) fn printable(text: &str) -> String {
    if !text.chars().any(is_steering) {
        return text.to_owned();
    }
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_steering(letter) {
            safe.extend(letter.escape_unicode());
        } else {
            safe.push(letter);
        }
    }
    safe
}

/// The same for a text of several lines.
pub(crate) fn printable_lines(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

/// JSON that steers no terminal and is the same JSON: such characters can only stand in its strings.
pub(crate) fn printable_json(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_steering(letter) && letter != '\n' {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(safe, "\\u{unit:04x}");
            }
        } else {
            safe.push(letter);
        }
    }
    safe
}

/// Control characters but the tab, and what cannot be seen: what turns the direction of writing, joins or separates
/// letters or lines.
pub(crate) fn is_steering(letter: char) -> bool {
    (letter.is_control() && letter != '\t')
        || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(letter, '\u{61c}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(before: Option<Value>, after: Option<Value>) -> String {
        let field = ShownField { path: "spec.x".to_owned(), before, after, masked: false, noise: false };
        lines(&field).into_iter().map(|(_, line)| line + "\n").collect()
    }

    #[test]
    fn short_values_stand_on_one_line() {
        assert_eq!(text(Some(json!(2)), Some(json!(3))), "~ spec.x: 2 -> 3\n");
        assert_eq!(text(Some(json!("a")), None), "- spec.x: \"a\"\n");
        assert_eq!(text(None, Some(json!({"a": [1]}))), "+ spec.x: {\"a\":[1]}\n");
    }

    #[test]
    fn texts_of_several_lines_are_compared_by_line() {
        let before = "one\ntwo\nthree\nfour\nfive\n";
        assert_eq!(
            text(Some(json!(before)), Some(json!(before.replace("four", "4")))),
            "~ spec.x:\n    two\n    three\n  - four\n  + 4\n    five\n"
        );
    }

    #[test]
    fn long_structures_become_yaml() {
        let value = json!({"key": "v".repeat(60), "other": "w".repeat(60)});
        let expected = format!("+ spec.x:\n  + key: {}\n  + other: {}\n", "v".repeat(60), "w".repeat(60));
        assert_eq!(text(None, Some(value)), expected);
    }

    #[test]
    fn nothing_steers_the_terminal() {
        let line = text(Some(json!("a\u{1b}[2J")), Some(json!("b\n\u{1b}]0;x\u{7}\u{202e}")));
        assert!(!line.contains('\u{1b}') && !line.contains('\u{7}') && !line.contains('\u{202e}'), "{line:?}");
    }

    #[test]
    fn json_without_what_steers_is_the_same_json() {
        let value = json!({"a\u{1b}": ["\u{202e}b\u{7f}\u{85}", "\u{e0041}\u{feff}", "line\nline\ttab \"ü\""]});
        let safe = printable_json(&format!("{value:#}\n"));
        assert_eq!(serde_json::from_str::<Value>(&safe).unwrap(), value);
        assert!(!safe.chars().any(|letter| is_steering(letter) && letter != '\n') && safe.contains('ü'), "{safe:?}");
    }

    #[test]
    fn masked_values_of_one_size_are_said_to_differ() {
        let value = Some(json!("(masked, 7 bytes)"));
        let field =
            ShownField { path: "data.a".to_owned(), before: value.clone(), after: value, masked: true, noise: false };
        assert_eq!(lines(&field)[0].1, "~ data.a: \"(masked, 7 bytes)\" -> \"(masked, 7 bytes)\" (differs)");
    }
}
