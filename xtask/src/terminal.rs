//! Writes lines to the terminal.
//!
//! It draws nothing: the same text serves a person and a log. A closed terminal ends no work, so
//! write errors are dropped.

use std::error::Error;
use std::io::Write;

/// Writes a line of results to standard output.
pub(crate) fn line(text: &str) {
    drop(writeln!(std::io::stdout(), "{text}"));
}

/// Writes a line of progress to standard error.
pub(crate) fn progress(text: &str) {
    drop(writeln!(std::io::stderr(), "{text}"));
}

/// Writes an error with its causes to standard error.
pub(crate) fn error(error: &dyn Error) {
    progress(&format!("error: {}", chain(error)));
}

/// The error and its causes, with colons between.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
