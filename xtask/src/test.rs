//! `cargo xtask test`: every check and test, cheap ones first, each with its seconds.
//!
//! A failed step does not stop the later ones: one run shows all that is wrong. Only a missing
//! optional tool is left out, and the report says so.

mod steps;

use crate::arguments::{self, Arguments};
use crate::step::{Counts, Stopwatch};
use crate::{Error, terminal};

const HELP: &str = "\
Runs every check and test of the repository. The last line is `N passed, N failed`: single tests
where a step runs tests, otherwise the step itself.

Usage: cargo xtask test [--quick]

  --quick  Leave out what is slow: the end-to-end and crash tests, other people's clients,
           documentation, licences

Needs Rust alone. PostgreSQL's programs are installed by apt when they are missing and the user is
root; cargo-nextest is compiled into ~/.cache/bulkhead/tools when it is missing; cargo-deny and
cargo-machete are used where they are installed, and reported where they are not. oras, crane and
cosign are fetched from Debian packages once, skopeo as PostgreSQL, securesystemslib by pip; wkg is
used where it is installed.
`cargo xtask ci` is the same with plain lines.
";

/// How other programs write.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lines {
    /// As they like.
    AsTheyAre,
    /// Without colors and bars, for a log.
    Plain,
}

/// One line of the report.
struct Step {
    name: &'static str,
    is_slow: bool,
    run: fn(&Options) -> Outcome,
}

struct Options {
    quick: bool,
    lines: Lines,
}

enum Outcome {
    /// The step as a whole went one way.
    Step(Result<(), Error>),
    /// Tests were counted, and the program ended so.
    Tests(Counts, Result<(), Error>),
    /// The step went well without some of its programs; the texts say which, and how to get them.
    Partly(Vec<String>),
    /// An optional program is missing; the text says how to get it.
    NotInstalled(String),
}

/// `cargo xtask test` and `cargo xtask ci`.
///
/// # Errors
/// [`Error::TestsFailed`] after the report, [`Error::Usage`] before it.
pub(crate) fn run(mut arguments: Arguments, lines: Lines) -> Result<(), Error> {
    if arguments.wants_help() {
        return arguments::show(HELP);
    }
    let options = Options { quick: arguments.take("--quick"), lines };
    arguments.nothing_left()?;

    let watch = Stopwatch::start();
    let mut total = Counts::default();
    let mut report = Vec::new();
    for step in steps::STEPS.iter().filter(|step| !step.is_slow || !options.quick) {
        let (counts, line) = report_of(step, &options);
        total += counts;
        report.push(line);
    }

    terminal::line("");
    report.iter().for_each(|line| terminal::line(line));
    terminal::line(&format!("all steps in {watch}"));
    terminal::line(&format!("{} passed, {} failed", total.passed, total.failed));
    if total.failed == 0 { Ok(()) } else { Err(Error::TestsFailed) }
}

/// Runs one step and describes how it went in one line.
fn report_of(step: &Step, options: &Options) -> (Counts, String) {
    terminal::line(&format!("\n== {}", step.name));
    let watch = Stopwatch::start();
    let (counts, words) = judge((step.run)(options));
    let line = format!("{:<16} {:>10}  {words}", step.name, watch.to_string());
    terminal::line(&format!("== {line}"));
    (counts, line)
}

/// Counts an outcome. A program that fails without a failed test, such as one that does not compile
/// or runs nothing, is one failure.
fn judge(outcome: Outcome) -> (Counts, String) {
    match outcome {
        Outcome::Step(Ok(())) => (Counts { passed: 1, failed: 0 }, "passed".to_owned()),
        Outcome::Step(Err(error)) => (Counts { passed: 0, failed: 1 }, format!("FAILED: {}", terminal::chain(&error))),
        Outcome::Tests(mut counts, result) => {
            let mut words = String::new();
            if let Err(error) = result {
                counts.failed = counts.failed.max(1);
                words = format!(": {}", terminal::chain(&error));
            }
            (counts, format!("{} passed, {} failed{words}", counts.passed, counts.failed))
        }
        Outcome::Partly(missing) => {
            (Counts { passed: 1, failed: 0 }, format!("passed; not asked: {}", missing.join("; ")))
        }
        Outcome::NotInstalled(remedy) => (Counts::default(), format!("not installed, so not checked: {remedy}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_fails_without_a_failed_test_is_a_failure() {
        let stopped = || Err(Error::Failed { line: "cargo".to_owned() });

        assert_eq!(judge(Outcome::Tests(Counts::default(), stopped())).0, Counts { passed: 0, failed: 1 });
        assert_eq!(judge(Outcome::Tests(Counts { passed: 4, failed: 2 }, stopped())).0.failed, 2);
        assert_eq!(judge(Outcome::NotInstalled(String::new())).0, Counts::default());
    }
}
