//! JSON with one value a line and no indentation, so that `sh` and `awk` can read it as well.

use serde::Serialize;

/// Writes the lines; commas go where JSON wants them.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    text: String,
    /// The line before is a value, so a following one needs a comma between.
    after_value: bool,
}

impl Lines {
    fn begin(&mut self) {
        if self.after_value {
            self.text.push(',');
        }
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.after_value = true;
    }

    /// `{`, or `"key": {`, or `"key": [`.
    pub(crate) fn open(&mut self, line: &str) {
        self.begin();
        self.text.push_str(line);
        self.after_value = false;
    }

    /// `}` or `]`.
    pub(crate) fn close(&mut self, line: &str) {
        self.after_value = false;
        self.begin();
        self.text.push_str(line);
    }

    /// `"key": value`.
    pub(crate) fn value(&mut self, key: &str, value: &impl Serialize) {
        self.begin();
        self.text.push_str(&json(&key));
        self.text.push_str(": ");
        self.text.push_str(&json(value));
    }

    /// A value in a list.
    pub(crate) fn item(&mut self, value: &impl Serialize) {
        self.begin();
        self.text.push_str(&json(value));
    }

    /// A text that is JSON already, under a key.
    pub(crate) fn embed(&mut self, key: &str, text: &str) {
        self.begin();
        self.text.push_str(&json(&key));
        self.text.push_str(": ");
        self.text.push_str(text);
    }

    /// What was written, with no line feed at its end.
    pub(crate) fn into_text(self) -> String {
        self.text
    }
}

/// Everything written here is made of strings, numbers and lists of them, which always have a JSON form.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
