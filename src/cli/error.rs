//! Errors for people: `error:`, `caused by:`, `hint:`, and the exit code.

use super::exit::Exit;

/// A command that did not do what was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    /// How the process ends.
    pub(crate) exit: Exit,
    /// What went wrong: one line, lower case.
    pub(crate) text: String,
    /// Why, from near to far.
    pub(crate) causes: Vec<String>,
    /// What to do next, with the exact command.
    pub(crate) hints: Vec<String>,
}

impl Failure {
    /// A failure with its text.
    pub(crate) fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self { exit, text: text.into(), causes: Vec::new(), hints: Vec::new() }
    }

    /// A failure whose text and causes are those of a library error.
    pub(crate) fn of(exit: Exit, error: &dyn std::error::Error) -> Self {
        Self { exit, text: error.to_string(), causes: chain(error.source()), hints: Vec::new() }
    }

    /// Adds a library error, and what is behind it, as the cause.
    pub(crate) fn caused_by(mut self, error: &dyn std::error::Error) -> Self {
        self.causes.extend(chain(Some(error)));
        self
    }

    /// Adds what to do next.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The lines as they are printed.
    pub(crate) fn lines(&self) -> Vec<(Prefix, &str)> {
        let mut lines = vec![(Prefix::Error, self.text.as_str())];
        lines.extend(self.causes.iter().map(|cause| (Prefix::CausedBy, cause.as_str())));
        lines.extend(self.hints.iter().map(|hint| (Prefix::Hint, hint.as_str())));
        lines
    }
}

/// What stands in front of a line of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prefix {
    /// What went wrong.
    Error,
    /// Why.
    CausedBy,
    /// What to do.
    Hint,
    /// Something the user should know although the command goes on.
    Warning,
    /// Something worth knowing.
    Note,
}

impl Prefix {
    /// The words.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Error => "error:",
            Self::CausedBy => "caused by:",
            Self::Hint => "hint:",
            Self::Warning => "warning:",
            Self::Note => "note:",
        }
    }
}

/// The texts of an error and what is behind it. A text that only repeats the one before is left out.
fn chain(first: Option<&dyn std::error::Error>) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    let mut next = first;
    while let Some(error) = next {
        let text = error.to_string();
        if texts.last() != Some(&text) {
            texts.push(text);
        }
        next = error.source();
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::{Exit, Failure};

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn an_error_keeps_its_causes_in_order() {
        let error = Outer(std::io::Error::other("inner"));
        let lines = |failure: &Failure| {
            failure.lines().iter().map(|(prefix, text)| format!("{} {text}", prefix.text())).collect::<Vec<_>>()
        };
        assert_eq!(lines(&Failure::of(Exit::Failed, &error)), ["error: outer", "caused by: inner"]);
        let failure = Failure::new(Exit::Usage, "wrong").caused_by(&error).hint("do `this`");
        assert_eq!(lines(&failure), ["error: wrong", "caused by: outer", "caused by: inner", "hint: do `this`"]);
    }
}
