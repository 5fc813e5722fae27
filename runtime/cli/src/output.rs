//! The only place that prints: results to standard output, everything else to standard error.
//! It decides nothing about what is said.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::error::Error;

/// Time between two frames of a spinner.
const FRAME: Duration = Duration::from_millis(100);

/// Where a command talks to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    /// Results are JSON.
    pub(crate) is_json: bool,
    /// Only results and errors.
    pub(crate) is_quiet: bool,
}

impl Output {
    /// Prints a result to standard output, as `text` or with `--json` as `value`.
    pub(crate) fn result(self, value: &Value, text: &str) {
        if self.is_json {
            write_line(&mut io::stdout().lock(), &pretty(value));
        } else if !text.is_empty() {
            write_line(&mut io::stdout().lock(), text);
        }
    }

    /// Prints a result that has one form alone, such as a token or a script.
    pub(crate) fn plain(self, text: &str) {
        write_line(&mut io::stdout().lock(), text.trim_end_matches('\n'));
    }

    /// Prints a line that stands out on a terminal.
    pub(crate) fn title(self, text: &str) {
        if io::stdout().is_terminal() {
            self.plain(&format!("\u{1b}[1m{text}\u{1b}[0m"));
        } else {
            self.plain(text);
        }
    }

    /// Says something that is no result, unless `--quiet`.
    pub(crate) fn note(self, text: &str) {
        if !self.is_quiet {
            write_line(&mut io::stderr().lock(), text);
        }
    }

    /// Prints a failure: for people to standard error, with `--json` also as a problem to standard
    /// output, where a program reads.
    pub(crate) fn failure(self, error: &Error) {
        if self.is_json && !error.is_told() {
            write_line(&mut io::stdout().lock(), &pretty(&error.json()));
        }
        write_line(&mut io::stderr().lock(), &error.text());
    }

    /// Shows that something goes on: a spinner on a terminal, a line elsewhere, nothing when quiet.
    pub(crate) fn progress(self, text: &str) -> Progress {
        if self.is_quiet || !io::stderr().is_terminal() {
            self.note(text);
            return Progress { bar: None, output: self };
        }
        let bar = ProgressBar::new_spinner().with_message(text.to_owned());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(FRAME);
        Progress { bar: Some(bar), output: self }
    }
}

/// Something that goes on; it leaves the terminal as it was when dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    output: Output,
}

impl Progress {
    /// Tells the next step.
    pub(crate) fn step(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(text.to_owned()),
            None => self.output.note(text),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
}

/// A reader that went away, as `| head` does, is no failure of the command.
fn write_line(out: &mut dyn Write, text: &str) {
    writeln!(out, "{text}").and_then(|()| out.flush()).unwrap_or_default();
}
