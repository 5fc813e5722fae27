//! `bulkhead`: the host, and everything that a person types. Parses the command line, runs one
//! command, turns its outcome into an exit code. It decides nothing that a library crate decides.

mod args;
mod client;
mod commands;
mod error;
mod file;
mod output;
mod problem;
mod project;
mod push;
mod release;
mod source;
mod sql;
mod view;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command};
use crate::error::Exit;
use crate::output::Output;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return explain(&error),
    };
    // Before anything starts a thread or takes memory: the worker limits itself first.
    if matches!(cli.command, Command::CompileWorker { .. }) {
        return bulkhead_engine::compile_worker::main();
    }
    let output = Output { is_json: cli.global.json, is_quiet: cli.global.quiet };
    match commands::run(cli) {
        Ok(()) => Exit::Ok.into(),
        Err(error) => {
            output.failure(&error);
            error.exit().into()
        }
    }
}

/// Help and version are results; any other complaint of the parser is a usage error.
fn explain(error: &clap::Error) -> ExitCode {
    // Nothing is left to be told to a reader that went away.
    error.print().unwrap_or_default();
    if error.use_stderr() { Exit::Usage.into() } else { Exit::Ok.into() }
}
