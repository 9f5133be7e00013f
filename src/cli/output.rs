//! The only place that prints: results to standard output, everything else to standard error.
//!
//! A reader that goes away (`snapback ls latest | head`) is no error: what is left is thrown away, and the command ends
//! as if it had been read. Any other failure to write, such as a full disk behind `> file`, fails the command.

use std::io::{self, IsTerminal as _, Write as _};
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use clap::ValueEnum;
use indicatif::MultiProgress;
use tokio::io::AsyncWrite;

use super::error::{Failure, Prefix};
use super::exit::Exit;
use super::field_text::printable_json;
use super::table;

/// The version of every JSON document: raised when a field is removed or changes its meaning.
pub(crate) const JSON_SCHEMA: &str = "snapback/v1";

/// Entries of a list below a message.
const LISTED: usize = 10;

/// How results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Text,
    /// One JSON document on standard output, described in docs/json-output.md
    Json,
}

/// Colours, each for one meaning; every text is understandable without.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tone {
    /// Errors, removals.
    Red,
    /// Additions, success.
    Green,
    /// Warnings, changes.
    Yellow,
    /// Hints and names to look at.
    Cyan,
    /// Headings.
    Bold,
    /// What matters less.
    Dim,
}

impl Tone {
    const fn code(self) -> &'static str {
        match self {
            Self::Red => "31",
            Self::Green => "32",
            Self::Yellow => "33",
            Self::Cyan => "36",
            Self::Bold => "1",
            Self::Dim => "2",
        }
    }
}

/// Where a command writes.
#[derive(Debug)]
pub(crate) struct Output {
    format: Format,
    quiet: bool,
    terminal: bool,
    colour: bool,
    error_colour: bool,
    bars: MultiProgress,
    results: Mutex<Results>,
}

#[derive(Debug)]
struct Results {
    writer: io::BufWriter<io::Stdout>,
    failed: Option<io::Error>,
}

impl Output {
    /// Looks at the terminal and at `NO_COLOR`.
    pub(crate) fn new(format: Format, quiet: bool) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let terminal = io::stdout().is_terminal();
        Self {
            format,
            quiet,
            terminal,
            colour: !plain && format == Format::Text && terminal,
            error_colour: !plain && io::stderr().is_terminal(),
            bars: MultiProgress::new(),
            results: Mutex::new(Results { writer: io::BufWriter::new(io::stdout()), failed: None }),
        }
    }

    /// Whether results are one JSON document.
    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Whether progress and summaries are left out.
    pub(crate) const fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Whether results are shown on a terminal, which some characters would steer.
    pub(crate) const fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// The progress bars that messages must not tear.
    pub(crate) const fn bars(&self) -> &MultiProgress {
        &self.bars
    }

    /// Colours a piece of a result.
    pub(crate) fn paint(&self, tone: Tone, text: &str) -> String {
        colour(self.colour, tone, text)
    }

    /// Writes one line of a result.
    pub(crate) fn line(&self, text: &str) {
        self.raw(format!("{text}\n").as_bytes());
    }

    /// Writes bytes of a result as they are.
    pub(crate) fn raw(&self, bytes: &[u8]) {
        let mut results = self.results();
        if results.failed.is_none() {
            let outcome = self.bars.suspend(|| results.writer.write_all(bytes));
            results.failed = outcome.err();
        }
    }

    /// Results as a stream of bytes.
    pub(crate) const fn writer(&self) -> ResultWriter<'_> {
        ResultWriter(self)
    }

    /// Writes the one JSON document of a command: the fields of `document`, and `schema` and `command`.
    pub(crate) fn json(&self, command: &str, document: serde_json::Value) {
        let mut fields = serde_json::Map::new();
        fields.insert("schema".to_owned(), JSON_SCHEMA.into());
        fields.insert("command".to_owned(), command.into());
        if let serde_json::Value::Object(more) = document {
            fields.extend(more);
        }
        let text = format!("{:#}", serde_json::Value::Object(fields));
        self.line(&if self.terminal { printable_json(&text) } else { text });
    }

    /// Nobody reads the results any more; there is no use in making more of them.
    pub(crate) fn is_closed(&self) -> bool {
        self.results().failed.is_some()
    }

    /// Writes out what is buffered.
    ///
    /// # Errors
    /// Standard output could not be written, for another reason than a reader that went away.
    pub(crate) fn finish(&self) -> Result<(), Failure> {
        let mut results = self.results();
        let outcome = match results.failed.take() {
            Some(error) => Err(error),
            None => results.writer.flush(),
        };
        match outcome {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::new(Exit::Failed, "cannot write to standard output").caused_by(&error))
            }
            _ => Ok(()),
        }
    }

    /// A message beside the results, even when quiet, but for notes: those are about how the work goes.
    pub(crate) fn message(&self, prefix: Prefix, text: &str) {
        if self.quiet && prefix == Prefix::Note {
            return;
        }
        let tone = match prefix {
            Prefix::Error => Tone::Red,
            Prefix::CausedBy => Tone::Dim,
            Prefix::Hint => Tone::Cyan,
            Prefix::Warning => Tone::Yellow,
            Prefix::Note => Tone::Bold,
        };
        self.aside(&format!("{} {text}", colour(self.error_colour, tone, prefix.text())));
    }

    /// A message with a list below it, an entry a line.
    pub(crate) fn message_with_list(&self, prefix: Prefix, text: &str, entries: &[String]) {
        self.message(prefix, &format!("{text}:"));
        for line in first_of(entries) {
            self.aside(&format!("  {line}"));
        }
    }

    /// A question, without a line feed at its end.
    pub(crate) fn question(&self, text: &str) {
        let _ = self.bars.suspend(|| {
            let mut terminal = io::stderr();
            write!(terminal, "{text}").and_then(|()| terminal.flush())
        });
    }

    /// A line about how far the work is; left out when quiet.
    pub(crate) fn progress_line(&self, text: &str) {
        if !self.quiet {
            self.aside(text);
        }
    }

    /// Prints a failure: to standard error, and as the JSON document where one was asked for.
    pub(crate) fn failure(&self, command: &str, failure: &Failure) {
        if self.is_json() {
            self.json(
                command,
                serde_json::json!({"error": {
                    "text": failure.text,
                    "causes": failure.causes,
                    "hints": failure.hints,
                    "exitCode": failure.exit.code(),
                }}),
            );
        }
        // What was written before belongs in front of the error.
        let _ = self.finish();
        for (prefix, text) in failure.lines() {
            self.message(prefix, text);
        }
    }

    fn aside(&self, line: &str) {
        // Where even standard error is gone there is nobody left to tell.
        let _ = self.bars.suspend(|| writeln!(io::stderr(), "{line}"));
    }

    fn results(&self) -> MutexGuard<'_, Results> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first entries of a list that nobody would read whole, and how many more there are.
pub(crate) fn first_of(entries: &[String]) -> Vec<String> {
    let mut lines: Vec<String> = entries.iter().take(LISTED).cloned().collect();
    if let more @ 1.. = entries.len().saturating_sub(LISTED) {
        lines.push(format!("and {} more; --output json has them all", table::thousands(more as u64)));
    }
    lines
}

fn colour(on: bool, tone: Tone, text: &str) -> String {
    if on { format!("\u{1b}[{}m{text}\u{1b}[0m", tone.code()) } else { text.to_owned() }
}

/// Writes results piece by piece.
pub(crate) struct ResultWriter<'a>(&'a Output);

impl AsyncWrite for ResultWriter<'_> {
    fn poll_write(self: Pin<&mut Self>, _context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.raw(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
