//! The steps of `cargo xtask test`: which programs run with which arguments.
//!
//! How their outcomes are counted and shown is not decided here.

use std::process::Command;
use std::time::Duration;

use super::{Lines, Options, Outcome, Step};
use crate::step::{self, Counts};
use crate::{Error, demo, guests, interop, project, terminal, tidy, tools};

/// Bound of a step that compiles the workspace.
const BUILD: Duration = Duration::from_secs(60 * 60);
/// Bound of a step that only reads.
const CHECK: Duration = Duration::from_secs(10 * 60);

/// Tests that `--quick` leaves out.
const QUICK: &str = "not (test(/(^|::)crash::/) | package(bulkhead-e2e))";

/// Files that the product generates, as the arguments by which it compares them.
const GENERATED: &[&[&str]] = &[&["reference", "--check", "docs/reference"]];

/// All steps, cheap ones first. What `--quick` leaves out is `slow`.
pub(super) const STEPS: [Step; 17] = [
    quick("fmt", fmt),
    quick("tidy", |_| Outcome::Step(tidy::check())),
    quick("clippy", clippy),
    slow("deny", deny),
    slow("machete", machete),
    quick("postgres", |_| Outcome::Step(tools::postgres())),
    quick("guests", |_| Outcome::Step(guests::build(false))),
    slow("guests' clippy", guests_clippy),
    quick("guests' tests", guests_tests),
    quick("build", build),
    quick("tests", nextest),
    slow("doc tests", doc_tests),
    slow("doc", doc),
    slow("generated files", generated),
    slow("demo", |_| smoke(&[])),
    slow("clients", clients),
    slow("demo, PostgreSQL", |_| smoke(&[demo::POSTGRES])),
];

const fn quick(name: &'static str, run: fn(&Options) -> Outcome) -> Step {
    Step { name, is_slow: false, run }
}

const fn slow(name: &'static str, run: fn(&Options) -> Outcome) -> Step {
    Step { name, is_slow: true, run }
}

fn cargo(options: &Options, arguments: &[&str]) -> Command {
    let mut command = project::cargo(arguments);
    if options.lines == Lines::Plain {
        command.env("CARGO_TERM_COLOR", "never").env("CARGO_TERM_PROGRESS_WHEN", "never");
    }
    command
}

fn step(options: &Options, arguments: &[&str], deadline: Duration) -> Outcome {
    Outcome::Step(step::run(&mut cargo(options, arguments), deadline))
}

fn tests(command: &mut Command) -> Outcome {
    let (counts, result) = step::run_watched(command, BUILD, count);
    Outcome::Tests(counts, result)
}

fn fmt(options: &Options) -> Outcome {
    for arguments in [
        ["fmt", "--all", "--check", "--manifest-path", "Cargo.toml"],
        ["fmt", "--all", "--check", "--manifest-path", "plugins/Cargo.toml"],
    ] {
        if let Err(error) = step::run(&mut cargo(options, &arguments), CHECK) {
            return Outcome::Step(Err(error));
        }
    }
    Outcome::Step(Ok(()))
}

fn clippy(options: &Options) -> Outcome {
    step(options, &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], BUILD)
}

fn guests_clippy(options: &Options) -> Outcome {
    let arguments =
        ["clippy", "--manifest-path", "plugins/Cargo.toml", "--workspace", "--all-targets", "--", "-D", "warnings"];
    step(options, &arguments, BUILD)
}

/// Licences, banned crates and registries. Advisories need a database that a build machine without
/// a network lacks.
fn deny(options: &Options) -> Outcome {
    optional(options, "cargo-deny", &["--offline", "check", "--hide-inclusion-graph", "licenses", "bans", "sources"])
}

fn machete(options: &Options) -> Outcome {
    optional(options, "cargo-machete", &["--skip-target-dir"])
}

fn optional(options: &Options, program: &str, arguments: &[&str]) -> Outcome {
    let Some(path) = tools::find(program) else {
        return Outcome::NotInstalled(tools::install_line(program));
    };
    let mut command = Command::new(path);
    command.current_dir(project::root()).args(arguments);
    if options.lines == Lines::Plain {
        command.env("NO_COLOR", "1");
    }
    Outcome::Step(step::run(&mut command, CHECK))
}

/// The guests' own tests run natively, against the SDK's mock host.
fn guests_tests(options: &Options) -> Outcome {
    tests(&mut cargo(options, &["test", "--manifest-path", "plugins/Cargo.toml", "--workspace", "--no-fail-fast"]))
}

/// The binaries that the end-to-end tests start, built as the tests' dependencies are.
fn build(options: &Options) -> Outcome {
    step(options, &["build", "--workspace"], BUILD)
}

/// All tests on both database engines; with cargo's own runner where nextest cannot be had.
fn nextest(options: &Options) -> Outcome {
    let program = match tools::nextest() {
        Ok(program) => program,
        Err(error) => {
            terminal::progress(&format!("{}; cargo test runs the tests", terminal::chain(&error)));
            return tests(&mut cargo(
                options,
                &["test", "--workspace", "--lib", "--bins", "--tests", "--no-fail-fast"],
            ));
        }
    };
    let mut command = Command::new(program);
    command.current_dir(project::root()).env_remove("RUSTC_BOOTSTRAP");
    command.args(["nextest", "run", "--workspace", "--profile", "ci"]);
    if options.quick {
        command.args(["-E", QUICK]);
    }
    tests(&mut command)
}

fn doc_tests(options: &Options) -> Outcome {
    tests(&mut cargo(options, &["test", "--workspace", "--doc", "--no-fail-fast"]))
}

fn doc(options: &Options) -> Outcome {
    let mut command = cargo(options, &["doc", "--workspace", "--no-deps"]);
    Outcome::Step(step::run(command.env("RUSTDOCFLAGS", "-D warnings"), BUILD))
}

fn generated(_: &Options) -> Outcome {
    for arguments in GENERATED {
        let mut command = Command::new(demo::product());
        command.current_dir(project::root()).args(*arguments);
        if let Err(error) = with_product(&mut command) {
            return Outcome::Step(Err(error));
        }
    }
    Outcome::Step(Ok(()))
}

/// Other people's registry clients and verifiers.
fn clients(_: &Options) -> Outcome {
    match interop::check(false) {
        Ok(missing) if missing.is_empty() => Outcome::Step(Ok(())),
        Ok(missing) => Outcome::Partly(missing),
        Err(error) => Outcome::Step(Err(error)),
    }
}

/// The story, each of its answers compared.
fn smoke(engine: &[&str]) -> Outcome {
    let arguments: Vec<String> = ["--smoke"].iter().chain(engine).map(|word| (*word).to_owned()).collect();
    Outcome::Step(with_product(&mut demo::demo(&arguments)))
}

/// Runs the product, built once more: an older binary would answer for these sources.
fn with_product(command: &mut Command) -> Result<(), Error> {
    step::run(&mut demo::build_product(), BUILD)?;
    step::run(command, CHECK)
}

/// Reads the line that counts tests: nextest's indented summary, or libtest's result at the start of
/// a line. Nextest shows the output of a failed test, with libtest's result in it, indented.
fn count(line: &str) -> Counts {
    let summary = line.trim_start().strip_prefix("Summary [").and_then(|rest| rest.split_once(" run: "));
    let Some(tail) = summary.map(|(_, tail)| tail).or_else(|| line.strip_prefix("test result: ")) else {
        return Counts::default();
    };
    let before = |word: &str| {
        let head = tail.split_once(word).map_or("", |(head, _)| head);
        head.rsplit([' ', ',', ';']).find_map(|word| word.parse::<usize>().ok()).unwrap_or(0)
    };
    Counts { passed: before(" passed"), failed: before(" failed") + before(" timed out") + before(" exec failed") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, passed: usize, failed: usize) {
        assert_eq!(count(line), Counts { passed, failed }, "{line}");
    }

    #[test]
    fn both_runners_are_counted() {
        check("     Summary [   0.012s] 12 tests run: 12 passed, 0 skipped", 12, 0);
        check("     Summary [   3.2s] 3/9 tests run: 1 passed (1 slow), 1 failed, 1 timed out, 4 skipped", 1, 2);
        check("     Summary [   3.2s] 1 test run: 0 passed, 1 failed, 0 skipped", 0, 1);
        check("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s", 3, 0);
        check("test result: FAILED. 2 passed; 5 failed; 0 ignored", 2, 5);
    }

    #[test]
    fn other_lines_count_nothing() {
        check("    test result: FAILED. 0 passed; 1 failed; 0 ignored", 0, 0);
        check("        PASS [   0.005s] xtask 12 passed", 0, 0);
        check("running 4 tests", 0, 0);
        check("", 0, 0);
    }
}
