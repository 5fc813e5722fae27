//! `cargo xtask tidy`: the rules of the source tree that a compiler does not check.
//!
//! Each rule is a function from the tree's text to findings; none runs a program or changes a file.

mod arrows;
mod attacks;
mod codes;
mod engines;
mod files;
mod markers;
mod migrations;
mod owners;
mod source;
mod testing;
mod traceability;
mod tree;
mod words;

use std::fmt;

use crate::arguments::{self, Arguments};
use crate::{Error, project, terminal};
use tree::Tree;

const HELP: &str = "\
Checks what a compiler does not: who depends on whom (against ARCHITECTURE.md), which crate may name
which library, module docs and file lengths, migration pairs, tests that are skipped or sleep,
unfinished code, attack cases that went away, error codes without documentation or test, and docs/traceability.md.

Usage: cargo xtask tidy

Each finding is a line `path:line: what is wrong and what to do`.
";

type Rule = fn(&Tree) -> Vec<Finding>;

const RULES: [Rule; 13] = [
    arrows::check,
    owners::check,
    files::docs,
    files::lengths,
    migrations::check,
    engines::check,
    testing::check,
    attacks::check,
    markers::check,
    words::check,
    codes::documented,
    codes::produced,
    traceability::check,
];

/// One place that breaks a rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    path: String,
    /// Counted from 1; 0 speaks of the whole file.
    line: usize,
    text: String,
}

impl Finding {
    fn new(path: &str, line: usize, text: impl Into<String>) -> Finding {
        Finding { path: path.to_owned(), line, text: text.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.text),
            line => write!(f, "{}:{line}: {}", self.path, self.text),
        }
    }
}

/// `cargo xtask tidy`.
///
/// # Errors
/// [`Error::Untidy`] after the findings were shown.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Error> {
    if arguments.wants_help() {
        return arguments::show(HELP);
    }
    arguments.nothing_left()?;
    check()
}

/// Checks the whole repository and shows what it finds.
///
/// # Errors
/// [`Error::Untidy`], [`Error::File`].
pub(crate) fn check() -> Result<(), Error> {
    let tree = Tree::read(project::root())?;
    let mut findings: Vec<Finding> = RULES.iter().flat_map(|rule| rule(&tree)).collect();
    findings.sort();
    for finding in &findings {
        terminal::line(&finding.to_string());
    }
    if findings.is_empty() { Ok(()) } else { Err(Error::Untidy { count: findings.len() }) }
}

/// Shows that a rule finds exactly `expected` in a tree of `files`, as `path:line` each.
#[cfg(test)]
fn check_rule(rule: Rule, files: &[(&str, &str)], expected: &[&str]) {
    let found = rule(&Tree::of(files));

    let places: Vec<String> = found.iter().map(|finding| format!("{}:{}", finding.path, finding.line)).collect();
    assert_eq!(places, expected, "{found:#?}");
}
