//! Other ways to run others' code: fastify without and with `node:vm`, `wasmtime serve`, Extism. They are installed from
//! their registries into a cache under the target folder; one that is not there is reported, never left out in silence.

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
/// `wasmtime serve`: an instance for each request, or for 128.
pub(crate) const SERVE: &str = "wasmtime-serve";
pub(crate) const SERVE_REUSED: &str = "wasmtime-serve with reuse 128";
/// The hello of `benches/peers/serve`.
const SERVE_GUEST: &str = "benches/peers/target/wasm32-wasip2/release/bulkhead_bench_serve.wasm";
/// Before its address.
const SERVE_SAYS: &str = "Serving HTTP on http://";
/// How both are built.
const BUILD: &str = "not built: cargo xtask bench --build-peers";

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
    vec![
        (UNISOLATED, fastify("plain")),
        (VM, fastify("vm")),
        (SERVE, wasmtime_serve(cache, 1)),
        (SERVE_REUSED, wasmtime_serve(cache, 128)),
    ]
}

/// `wasmtime serve` on one thread, each instance for so many requests.
fn wasmtime_serve(cache: &Path, requests: u32) -> Result<Serving> {
    let (program, guest) = (cache.join("bin/wasmtime"), programs::root().join(SERVE_GUEST));
    if !program.is_file() || !guest.is_file() {
        return Err(BUILD.into());
    }
    // It tells its address as an error; its process is this command's.
    let mut command = Command::new("sh");
    command.args(["-c", r#"exec "$0" "$@" 2>&1"#]).arg(program).args(["serve", "-Scli", "--addr", "127.0.0.1:0"]);
    command.args(["--max-instance-reuse-count", &requests.to_string()]).arg(guest);
    let mut serving = Serving::start(command.env("TOKIO_WORKER_THREADS", "1"))?;
    let address = serving.address.strip_prefix(SERVE_SAYS).ok_or("wasmtime told no address")?;
    serving.address = address.trim_end_matches('/').to_owned();
    Ok(serving)
}

/// What is asked of every peer.
pub(crate) const PATH: &str = "/hello";

/// The bars of a peer: our fresh and warm CPU time for each request against its own.
pub(crate) fn rows(name: &str, [fresh, warm]: [f64; 2], theirs: f64) -> Vec<Row> {
    let ratio = |what: &str, ours, most| {
        Row::ratio("P5", format!("{what}, over {name}"), "us CPU", [ours, theirs], Bar::AtMost(most))
    };
    match name {
        UNISOLATED => vec![ratio("a route, fresh", fresh, 1.3), ratio("a route, warm", warm, 0.8)],
        VM => vec![ratio("a route, fresh", fresh, 1.0 / 15.0)],
        SERVE => vec![ratio("a route, fresh", fresh, 0.45)],
        SERVE_REUSED => vec![ratio("a route, warm", warm, 0.9)],
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
            return Err(BUILD.into());
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
