//! `cargo xtask bench`: builds the guests and runs the measurements.
//!
//! What is measured, and against which bar, is the bench crate's.

use std::os::unix::process::CommandExt;

use crate::arguments::{self, Arguments};
use crate::{Error, guests, project};

const HELP: &str = "\
Measures the host in release mode and prints each figure, its ratio, its bar, and pass or short.

Usage: cargo xtask bench [OPTIONS]

Options go to the bench program; `cargo xtask bench -- --help` lists them.
A quiet machine gives steadier figures; every bar is a ratio within one run.
";

/// `cargo xtask bench`: does not return when all goes well.
///
/// # Errors
/// The guests' build, or [`Error::Start`].
pub(crate) fn run(mut arguments: Arguments) -> Result<(), Error> {
    let for_the_program = arguments.take("--");
    if arguments.wants_help() && !for_the_program {
        return arguments::show(HELP);
    }
    guests::build(false)?;
    let mut command = project::cargo(&["run", "--release", "--package", "bulkhead-benches", "--"]);
    let source = command.args(arguments.rest()).exec();
    Err(Error::Start { program: "cargo".to_owned(), source })
}
