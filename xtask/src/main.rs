//! `cargo xtask`: builds the guests, runs the demo, the tests, the checks and the benches.
//!
//! It holds no product code: everything here may be deleted without changing what ships.

mod arguments;
mod benches;
mod demo;
mod error;
mod guests;
mod interop;
mod project;
mod step;
mod terminal;
mod test;
mod tidy;
mod tools;

use std::process::ExitCode;

use arguments::Arguments;
use error::Error;

const HELP: &str = "\
Automation of this repository.

Usage: cargo xtask <COMMAND> [OPTIONS]

Commands:
  demo    Build everything, start a host with two tenants and two plugins, walk through the story
  test    Run every check and test; the last line is `N passed, N failed`
  ci      The same with plain lines
  tidy    Check the rules of the source tree that a compiler does not check
  guests  Build the wasm plugins in plugins/ into target/guests
  bench   Measure, and print each figure beside its bar
  interop Let other people's clients use the registry of a real host

`cargo xtask <COMMAND> --help` explains a command.
";

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let command = words.next().unwrap_or_default();
    let arguments = Arguments::new(words.collect());
    let outcome = match command.as_str() {
        "demo" => demo::run(arguments),
        "test" => test::run(arguments, test::Lines::AsTheyAre),
        "ci" => test::run(arguments, test::Lines::Plain),
        "tidy" => tidy::run(&arguments),
        "guests" => guests::run(arguments),
        "bench" => benches::run(arguments),
        "interop" => interop::run(arguments),
        "" | "help" | "-h" | "--help" => arguments::show(HELP),
        other => Err(Error::Usage(format!("there is no command `{other}`; `cargo xtask --help` lists them"))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The report of the tests ends with its count, also where both streams are one.
            if !matches!(error, Error::TestsFailed) {
                terminal::error(&error);
            }
            ExitCode::from(error.exit_code())
        }
    }
}
