//! What runs as a process of its own: memory, servers, load. This program starts itself with `part` and reads one line
//! of JSON, or keeps a server as long as its standard input is open.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use bulkhead_model::TenantId;
use bulkhead_server::Server;
use rustix::process::Pid;
use serde_json::{Value, json};

use crate::world::{self, World};
use crate::{Result, load, measure, scale};

/// The hidden first argument.
pub(crate) const SUBCOMMAND: &str = "part";

/// Runs a part by its name.
pub(crate) async fn run(arguments: &[String]) -> Result<()> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["calls", folder, instances_max, idle_ms, tenants, plugins] => {
            let world = World::at(Path::new(folder), instances_max.parse()?, idle_ms.parse()?)?;
            print(&calls(&world, tenants.parse()?, plugins.parse()?).await?)
        }
        ["gateway", folder, instances_max, idle_ms] => {
            let world = World::at(Path::new(folder), instances_max.parse()?, idle_ms.parse()?)?;
            gateway(&world).await
        }
        ["axum"] => axum().await,
        ["load", address, requests, count, connections] => {
            let requests = std::fs::read_to_string(requests)?;
            print(&load::run(address, &requests, count.parse()?, connections.parse()?).await?)
        }
        _ => Err("no such part".into()),
    }
}

fn print(value: &Value) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{value}")?;
    Ok(stdout.flush()?)
}

/// Resident bytes after the boot, after one call of `plugins` plugins in each of `tenants` tenants, and after all
/// instances were dropped for resting.
async fn calls(world: &World, tenants: u32, plugins: u32) -> Result<Value> {
    let host = world.open().await?;
    let tenants = world::tenants(tenants)?;
    // The first call of all makes what every later one shares.
    scale::call_everywhere(&host, tenants.get(..1).unwrap_or_default(), 1).await?;
    let before = measure::resident_bytes()?;
    scale::call_everywhere(&host, &tenants, plugins).await?;
    let after = measure::resident_bytes()?;
    if world.config.engine.idle_ms < 10_000 {
        tokio::time::sleep(Duration::from_millis(world.config.engine.idle_ms * 2)).await;
    }
    let idle = measure::resident_bytes()?;
    host.shutdown(Duration::from_secs(2)).await;
    Ok(json!([before, after, idle]))
}

/// Resident bytes of a host that has booted and answered once.
pub(crate) fn boot_bytes(world: &World) -> Result<f64> {
    let [booted, ..] = calls_bytes(world, &world::tenants(1)?, 1)?;
    Ok(booted)
}

/// Runs [`calls`] in a process of its own.
pub(crate) fn calls_bytes(world: &World, tenants: &[TenantId], plugins: u32) -> Result<[f64; 3]> {
    let engine = &world.config.engine;
    let mut command = this(&["calls"])?;
    command.arg(world.folder()).args([engine.instances_max.to_string(), engine.idle_ms.to_string()]);
    let answer = ended(command.args([tenants.len().to_string(), plugins.to_string()]))?;
    Ok(serde_json::from_value(answer)?)
}

/// Sends `count` requests out of a file, each line a path and a token, over `connections` connections.
pub(crate) fn send(address: &str, requests: &Path, count: u32, connections: u32) -> Result<load::Sent> {
    let mut command = this(&["load", address])?;
    command.arg(requests).args([count.to_string(), connections.to_string()]);
    load::Sent::of(&ended(&mut command)?)
}

fn ended(command: &mut Command) -> Result<Value> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("a part ended with {}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// This program, as a part.
fn this(arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(SUBCOMMAND).args(arguments);
    Ok(command)
}

/// A server in a process of its own; it ends with this value.
pub(crate) struct Serving {
    child: Child,
    _stdin: Option<ChildStdin>,
    /// Where it listens.
    pub(crate) address: String,
}

impl Serving {
    /// The product's server over a world.
    pub(crate) fn gateway(world: &World) -> Result<Self> {
        let engine = &world.config.engine;
        let mut command = this(&["gateway"])?;
        command.arg(world.folder()).args([engine.instances_max.to_string(), engine.idle_ms.to_string()]);
        Self::start(&mut command)
    }

    /// A bare hello by axum.
    pub(crate) fn axum() -> Result<Self> {
        Self::start(&mut this(&["axum"])?)
    }

    /// Any server that prints its address as its first line and ends with its standard input.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let stdin = child.stdin.take();
        let mut address = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut address)?;
        }
        let mut serving = Self { child, _stdin: stdin, address: address.trim().to_owned() };
        if serving.address.is_empty() {
            serving.end();
            return Err("a server did not start".into());
        }
        Ok(serving)
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Result<Pid> {
        Ok(i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).ok_or("no process id")?)
    }

    fn end(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.end();
    }
}

/// Serves until standard input ends, on this one thread, as the peer does.
async fn gateway(world: &World) -> Result<()> {
    let mut telemetry = world.config.telemetry.clone();
    telemetry.json = true;
    bulkhead_server::start_logs(&telemetry)?;
    let server = Server::bind(&world.config).await?;
    print_address(&server.addr.to_string())?;
    Ok(server.run(input_ended()).await?)
}

async fn axum() -> Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    print_address(&listener.local_addr()?.to_string())?;
    let hello = async || axum::Json(json!({ "message": "Hello, user!" }));
    let router = axum::Router::new().route("/hello", axum::routing::get(hello));
    Ok(axum::serve(listener, router).with_graceful_shutdown(input_ended()).await?)
}

fn print_address(address: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{address}")?;
    Ok(stdout.flush()?)
}

async fn input_ended() {
    let wait = || std::io::stdin().lock().read_line(&mut String::new());
    drop(tokio::task::spawn_blocking(wait).await);
}
