//! `cargo xtask interop`: other people's clients and verifiers against the registry of a real host and its signatures.
//!
//! The project's own tests prove the protocol; this shows that what others make of it works here. A client that is not on this
//! machine and cannot be fetched is told of, and not passed over in silence.

mod client;
mod stage;
mod walks;

use std::time::Duration;

use crate::arguments::{self, Arguments};
use crate::{Error, demo, guests, step, terminal, tools};
use client::{Client, Holder};
use stage::Stage;

const HELP: &str = "\
Builds the product, starts a host on loopback, and lets oras, crane, skopeo and wkg push, sign, list,
fetch, copy and delete in its registry; cosign and securesystemslib verify its signatures. Ends at the
first step that goes otherwise than it must; what could not be asked is told at the end.

oras, crane and cosign are fetched once from Debian packages, without installing them; skopeo is
installed by apt where this user may; securesystemslib is fetched by pip.

Usage: cargo xtask interop [--wkg] [--allow-rustup-download]

  --wkg  Compile wkg once, some minutes, where it is not there
";

/// Bound of compiling the product from nothing.
const BUILD: Duration = Duration::from_secs(60 * 60);
/// Bound of one step of a client.
pub(super) const STEP: Duration = Duration::from_secs(60);

/// `cargo xtask interop`.
///
/// # Errors
/// The first step that failed, or did not where it must.
pub(crate) fn run(mut arguments: Arguments) -> Result<(), Error> {
    if arguments.wants_help() {
        return arguments::show(HELP);
    }
    let wants_wkg = arguments.take("--wkg");
    guests::build(arguments.take("--allow-rustup-download"))?;
    arguments.nothing_left()?;
    for missing in check(wants_wkg)? {
        terminal::line(&format!("not asked: {missing}"));
    }
    Ok(())
}

/// Runs every client that is here or can be had; answers what could not, and why. The guests are built.
///
/// # Errors
/// As [`run`].
pub(crate) fn check(may_compile: bool) -> Result<Vec<String>, Error> {
    step::run(&mut demo::build_product(), BUILD)?;
    let mut missing = Vec::new();
    let clients = match tools::registry_clients() {
        Ok(folder) => folder,
        // Without them nothing puts the first release there.
        Err(error) => return Ok(vec![format!("oras, crane, cosign and all others: {}", terminal::chain(&error))]),
    };
    let stage = Stage::start()?;
    let client = |name: &'static str, program, holder| Client { name, program, stage: &stage, holder };
    let oras = client("oras", clients.join("oras"), Holder::Owner);
    let crane = client("crane", clients.join("crane"), Holder::Owner);
    let reader = client("crane", clients.join("crane"), Holder::Reader);
    walks::publish(&stage, &oras, &reader)?;
    walks::crane(&stage, &crane)?;
    walks::cosign(&stage, &client("cosign", clients.join("cosign"), Holder::Owner))?;
    let mut optional = |found: Result<_, Error>, walk: &dyn Fn(_) -> Result<(), Error>| match found {
        Ok(program) => walk(program),
        Err(error) => {
            missing.push(terminal::chain(&error));
            Ok(())
        }
    };
    optional(tools::skopeo(), &|program| walks::skopeo(&stage, &client("skopeo", program, Holder::Owner)))?;
    optional(tools::python(), &|program| {
        walks::securesystemslib(&stage, &client("securesystemslib", program, Holder::Owner))
    })?;
    optional(tools::wkg(may_compile), &|program| walks::wkg(&stage, &client("wkg", program, Holder::Owner)))?;
    Ok(missing)
}
