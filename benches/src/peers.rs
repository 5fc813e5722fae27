//! Other ways to run others' code: fastify without and with `node:vm`, Extism. They are installed from their registries
//! into a cache under the target folder; one that is not there is reported, never left out in silence.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use bulkhead_testkit::programs;
use serde_json::Value;

use crate::Result;
use crate::figures::{Bar, Row};
use crate::parts::Serving;

/// The version that is measured.
const FASTIFY: &str = "fastify@5";
const SCRIPT: &str = include_str!("peers.js");
const UNISOLATED: &str = "fastify";
const VM: &str = "node-vm";
const WASMTIME: &str = "wasmtime-serve";

/// A server, or why there is none.
type Peer = (&'static str, Result<Serving>);

/// The folder of installed peers.
pub(crate) fn cache() -> Result<PathBuf> {
    let folder = programs::target().join("bench-peers");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Every peer that speaks HTTP.
pub(crate) fn servers(cache: &Path) -> Vec<Peer> {
    let fastify = |path: &str| {
        install_fastify(cache)?;
        let script = cache.join("peers.cjs");
        std::fs::write(&script, SCRIPT)?;
        Serving::start(Command::new("node").current_dir(cache).arg(script).arg(path))
    };
    let no_guest = "needs the wasmtime binary and a wasi:http component, which this repository does not build";
    vec![(UNISOLATED, fastify("plain")), (VM, fastify("vm")), (WASMTIME, Err(no_guest.into()))]
}

/// What is asked of a peer.
pub(crate) const fn path_of(_name: &str) -> &'static str {
    "/hello"
}

/// The bars of a peer: our fresh and warm CPU time for each request against its own.
pub(crate) fn rows(name: &str, [fresh, warm]: [f64; 2], theirs: f64) -> Vec<Row> {
    let ratio = |what: &str, ours, most| {
        Row::ratio("P5", format!("{what}, over {name}"), "us CPU", [ours, theirs], Bar::AtMost(most))
    };
    match name {
        UNISOLATED => vec![ratio("a route, fresh", fresh, 1.3), ratio("a route, warm", warm, 0.8)],
        VM => vec![ratio("a route, fresh", fresh, 1.0 / 15.0)],
        _ => Vec::new(),
    }
}

fn install_fastify(cache: &Path) -> Result<()> {
    if cache.join("node_modules/fastify").is_dir() {
        return Ok(());
    }
    let mut npm = Command::new("npm");
    npm.current_dir(cache).args(["install", "--no-audit", "--no-fund", "--silent", FASTIFY]);
    let status = npm.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(format!("npm install {FASTIFY} failed").into()) }
}

/// The Extism process: see `benches/peers`.
pub(crate) struct Extism {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

/// CPU time of a call in microseconds.
pub(crate) struct Round {
    /// In a new plugin.
    pub(crate) new_us: f64,
    /// In a reused one.
    pub(crate) reused_us: f64,
}

impl Extism {
    /// Starts it, if it was built.
    pub(crate) fn start() -> Result<Self> {
        let program = programs::root().join("benches/peers/target/release/bulkhead-bench-peers");
        if !program.is_file() {
            return Err("not built: cargo build --release --ignore-rust-version, in benches/peers".into());
        }
        let mut child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (stdin, stdout) = (child.stdin.take().ok_or("no pipe")?, child.stdout.take().ok_or("no pipe")?);
        Ok(Self { child, stdin, stdout: BufReader::new(stdout) })
    }

    /// One round of calls.
    pub(crate) fn round(&mut self) -> Result<Round> {
        self.stdin.write_all(b"\n")?;
        self.stdin.flush()?;
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        let said: Value = serde_json::from_str(&line)?;
        let number = |name: &str| said.get(name).and_then(Value::as_f64).ok_or("a round without its figures");
        Ok(Round { new_us: number("new_us")?, reused_us: number("reused_us")? })
    }
}

impl Drop for Extism {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
