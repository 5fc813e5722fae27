//! `cargo xtask demo`: builds the guests and the product and starts its own demo.
//!
//! The walk itself is the product's: it lives in `bulkhead demo`.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::arguments::{self, Arguments};
use crate::step::{self, Stopwatch};
use crate::{Error, guests, project, terminal, tools};

const HELP: &str = "\
Builds the plugins and the host, starts a host on loopback with two tenants, installs signed
plugins, walks through the story with real requests, and keeps running until Ctrl-C.

Usage: cargo xtask demo [--postgres] [--smoke] [--allow-rustup-download]

  --postgres               The same on a PostgreSQL of the demo's own: made in a temporary folder,
                           reached through a socket, gone at the end; its programs are installed by
                           apt when they are missing and the user is root
  --smoke                  Do the walk, compare each answer, stop; fails when one differs
  --allow-rustup-download  Let rustup download the wasm target, if it is not installed

Further options go to `bulkhead demo`. The first run compiles everything: minutes on two cores.
";

/// The product's option for a PostgreSQL of the demo's own.
pub(crate) const POSTGRES: &str = "--postgres";
/// Bound of compiling the product from nothing.
const BUILD: Duration = Duration::from_secs(60 * 60);

/// `cargo xtask demo`: does not return when all goes well, the product takes over the process.
///
/// # Errors
/// The build or installation that failed, or [`Error::Start`].
pub(crate) fn run(mut arguments: Arguments) -> Result<(), Error> {
    if arguments.wants_help() {
        return arguments::show(HELP);
    }
    if arguments.has(POSTGRES) {
        tools::postgres()?;
    }
    guests::build(arguments.take("--allow-rustup-download"))?;
    let watch = Stopwatch::start();
    step::run(&mut build_product(), BUILD)?;
    terminal::progress(&format!("host built in {watch}"));

    let source = demo(&arguments.rest()).exec();
    Err(Error::Start { program: product().display().to_string(), source })
}

/// The build of the product.
///
/// The dev profile: Cranelift and the hashes are optimized there, which is what a person would
/// notice, and `cargo xtask test` reuses every crate. A release build takes several times as long,
/// and a profile of its own would compile all dependencies twice. `--workspace` resolves features
/// as the tests do, for the same reason.
pub(crate) fn build_product() -> Command {
    project::cargo(&["build", "--workspace", "--bin", "bulkhead"])
}

/// The demo with its plugins.
pub(crate) fn demo(arguments: &[String]) -> Command {
    let mut command = Command::new(product());
    command.current_dir(project::root()).arg("demo");
    command.arg("--plugins").arg(project::root().join("plugins")).args(arguments);
    command
}

/// The binary that [`build_product`] makes.
pub(crate) fn product() -> PathBuf {
    project::target().join("debug/bulkhead")
}
