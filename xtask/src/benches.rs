//! `cargo xtask bench`: builds the guests, and the peers that are compiled, and runs the measurements.
//!
//! What is measured, and against which bar, is the bench crate's.

use std::os::unix::process::CommandExt;
use std::time::Duration;

use bulkhead_toolchain::find_or_make;

use crate::arguments::{self, Arguments};
use crate::{Error, guests, project, step, terminal};

const HELP: &str = "\
Measures the host in release mode and prints each figure, its ratio, its bar, and pass or short.

Usage: cargo xtask bench [OPTIONS]

  --build-peers   first builds the peers that are compiled, once: Extism, `wasmtime serve` and
                  its guest. About ten minutes, from crates.io.

Other options go to the bench program; `cargo xtask bench -- --help` lists them.
A quiet machine gives steadier figures; every bar is a ratio within one run.
";

/// `wasmtime serve` in the engine's own version, with what it serves by and nothing else.
const WASMTIME: [&str; 7] = [
    "install",
    "--locked",
    "--version=48.0.8",
    "--no-default-features",
    "--features=serve,run,compile,cranelift,component-model,component-model-async,pooling-allocator,parallel-compilation",
    "--quiet",
    "wasmtime-cli",
];
/// Bound of building one peer.
const BUILD: Duration = Duration::from_secs(40 * 60);

/// `cargo xtask bench`: does not return when all goes well.
///
/// # Errors
/// The guests' build, or [`Error::Start`].
pub(crate) fn run(mut arguments: Arguments) -> Result<(), Error> {
    let for_the_program = arguments.take("--");
    if arguments.wants_help() && !for_the_program {
        return arguments::show(HELP);
    }
    let builds_peers = arguments.take("--build-peers");
    guests::build(false)?;
    if builds_peers {
        build_peers()?;
    }
    let mut command = project::cargo(&["run", "--release", "--package", "bulkhead-benches", "--"]);
    let source = command.args(arguments.rest()).exec();
    Err(Error::Start { program: "cargo".to_owned(), source })
}

/// Builds what stands in `benches/peers`, and `wasmtime serve` into the folder of peers. What is there already stays.
fn build_peers() -> Result<(), Error> {
    let peers = project::root().join("benches/peers");
    let toolchain = find_or_make(&project::toolchain_request(false), &mut terminal::progress)?;
    step::run(&mut toolchain.build_command(&peers.join("serve"), &peers.join("target")), BUILD)?;
    let mut extism = project::cargo(&["build", "--release", "--ignore-rust-version"]);
    step::run(extism.current_dir(&peers), BUILD)?;
    let installed = project::target().join("bench-peers");
    let mut wasmtime = project::cargo(&WASMTIME);
    wasmtime.arg("--root").arg(&installed).arg("--target-dir").arg(installed.join("build"));
    step::run(&mut wasmtime, BUILD)
}
