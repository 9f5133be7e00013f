//! How far the work is: a bar on a terminal, plain lines elsewhere, nothing when quiet.

use std::io::IsTerminal as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use snapback::progress::{Progress, ProgressEvent};

use super::error::Prefix;
use super::output::Output;

/// How often the bar moves when nothing is reported.
const TICK: Duration = Duration::from_millis(120);

/// Shows the library's events.
pub(crate) struct Shown<'a> {
    output: &'a Output,
    terminal: bool,
    bar: Mutex<Option<ProgressBar>>,
}

impl<'a> Shown<'a> {
    /// Looks at the terminal.
    pub(crate) fn new(output: &'a Output) -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let terminal = std::io::stderr().is_terminal() && !dumb;
        Self { output, terminal, bar: Mutex::new(None) }
    }

    fn with_bar(&self, act: impl FnOnce(&mut Option<ProgressBar>)) {
        act(&mut self.bar.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Takes the bar away, so that a question or a result can be printed.
    pub(crate) fn clear(&self) {
        self.with_bar(|bar| {
            if let Some(bar) = bar.take() {
                bar.finish_and_clear();
                self.output.bars().remove(&bar);
            }
        });
    }

    fn stage(&self, name: String) {
        if !self.terminal {
            self.output.progress_line(&name);
            return;
        }
        self.clear();
        let spinner = ProgressBar::new_spinner().with_message(name);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {pos} ({elapsed})") {
            spinner.set_style(style);
        }
        let spinner = self.output.bars().add(spinner);
        spinner.enable_steady_tick(TICK);
        self.with_bar(|bar| *bar = Some(spinner));
    }
}

impl Progress for Shown<'_> {
    fn report(&self, event: ProgressEvent) {
        match event {
            ProgressEvent::Note(text) => self.output.message(Prefix::Note, &text),
            _ if self.output.is_quiet() => {}
            ProgressEvent::Stage(name) => self.stage(name),
            ProgressEvent::Expect(length) => self.with_bar(|bar| {
                if let Some(bar) = bar {
                    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {bar:30} {pos}/{len} ({elapsed})")
                    {
                        bar.set_style(style);
                    }
                    bar.set_length(length);
                }
            }),
            ProgressEvent::Done(units) => self.with_bar(|bar| {
                if let Some(bar) = bar {
                    bar.inc(units);
                }
            }),
            _ => {}
        }
    }
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        self.clear();
    }
}
