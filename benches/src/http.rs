//! Routes over HTTP by the server's CPU time for each request: the whole gateway with the plugin `hello` beside a bare
//! axum hello (P4) and beside other ways to run others' code (P5). Clients and servers are processes of their own.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use bulkhead_model::{Reuse, Role, TenantId};
use bulkhead_testkit::guests::HELLO;
use bulkhead_testkit::tokens;

use crate::figures::{Bar, Row};
use crate::load::Sent;
use crate::measure::{cpu_of, each_us, median};
use crate::parts::{self, Serving};
use crate::world::{self, World};
use crate::{Options, Result, guests, peers};

/// Tenants in turn, so that none passes its rate.
const TENANTS: u32 = 150;
/// Requests of a round: 20 for each tenant.
const REQUESTS: u32 = 3_000;
/// Connections at once: fewer than calls that a tenant may run at once.
const CONNECTIONS: u32 = 32;
/// Rounds of one request for each tenant until all of them serve.
const STARTS_MAX: u32 = 100;
const INSTANCES: u32 = 2_000;
const IDLE_MS: u64 = 60_000;
/// The plugin in a new instance for each request, and in a kept one.
const FRESH: &str = "fresh";
const WARM: &str = "warm";
const CONFIGURATION: &str = r#"{"greeting":"Hello"}"#;

/// A server and the requests that it gets.
struct Lane {
    serving: Rc<Serving>,
    requests: PathBuf,
    seen: Vec<Sent>,
}

/// Runs those of P4 and P5 that are wanted.
pub(crate) async fn run(options: &Options) -> Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let tenants = world::tenants(TENANTS)?;
    let world = hello(&folder.path().join("world"), &tenants).await?;
    let lines = |name: &str| {
        let lines: Vec<String> = tenants.iter().map(|tenant| line(name, tenant)).collect();
        lines.join("\n")
    };
    let gateway = Rc::new(Serving::gateway(&world)?);
    let mut lanes = vec![
        Lane::new(Rc::new(Serving::axum()?), folder.path().join("axum"), "/hello")?,
        Lane::new(Rc::clone(&gateway), folder.path().join(FRESH), &lines(FRESH))?,
        Lane::new(gateway, folder.path().join(WARM), &lines(WARM))?,
    ];
    let mut rows = Vec::new();
    let mut names = Vec::new();
    if options.wants("P5") {
        for (name, server) in peers::servers(&peers::cache()?) {
            match server {
                Ok(serving) => {
                    lanes.push(Lane::new(Rc::new(serving), folder.path().join(name), peers::PATH)?);
                    names.push(name);
                }
                Err(reason) => rows.push(Row::not_run("P5", name, &reason)),
            }
        }
    }
    for lane in &lanes {
        lane.ready().await?;
    }
    let count = options.calls(REQUESTS);
    let mut costs = vec![Vec::new(); lanes.len()];
    for round in 0..=options.rounds {
        for (lane, costs) in lanes.iter_mut().zip(&mut costs) {
            let cost = lane.round(count)?;
            if round > 0 {
                costs.push(cost);
            }
        }
    }
    let costs: Vec<f64> = costs.iter_mut().map(|costs| median(costs)).collect();
    if let [axum, fresh, warm, others @ ..] = costs.as_slice() {
        if options.wants("P4") {
            rows.push(Row::ratio(
                "P4",
                "a route through the gateway, fresh, over bare axum",
                "us CPU",
                [*fresh, *axum],
                Bar::AtMost(4.5),
            ));
            rows.push(Row::ratio(
                "P4",
                "a route through the gateway, warm, over bare axum",
                "us CPU",
                [*warm, *axum],
                Bar::AtMost(2.6),
            ));
        }
        for (name, cost) in names.iter().zip(others) {
            rows.extend(peers::rows(name, [*fresh, *warm], *cost));
        }
    }
    if options.wants("P5") {
        rows.extend(tails(&mut lanes, &names));
    }
    Ok(rows)
}

/// How long 99 of 100 answers took, and how many there were a second.
fn tails(lanes: &mut [Lane], names: &[&'static str]) -> Vec<Row> {
    let names: Vec<&'static str> = ["bare axum", FRESH, WARM].into_iter().chain(names.iter().copied()).collect();
    let tails: Vec<[f64; 2]> = lanes.iter_mut().map(Lane::tail).collect();
    let tail_of = |name: &str| names.iter().zip(&tails).find(|(one, _)| **one == name).map(|(_, tail)| *tail);
    let mut rows = Vec::new();
    for (name, [p99, rate]) in names.iter().zip(&tails) {
        rows.push(Row::value("P5", format!("p99 of {name}"), "us", *p99, Bar::None));
        rows.push(Row::value("P5", format!("requests a second of {name}, one thread"), "/s", *rate, Bar::None));
    }
    for (ours, theirs, rate_bar) in [(FRESH, peers::SERVE, Bar::AtLeast(2.0)), (WARM, peers::SERVE_REUSED, Bar::None)] {
        if let (Some([p99, rate]), Some([their_p99, their_rate])) = (tail_of(ours), tail_of(theirs)) {
            let what = |figure| format!("{figure}, {ours}, over {theirs}");
            rows.push(Row::ratio("P5", what("requests a second"), "/s", [rate, their_rate], rate_bar));
            rows.push(Row::ratio("P5", what("p99"), "us", [p99, their_p99], Bar::AtMost(1.0)));
        }
    }
    rows
}

/// A world with `hello` twice: once fresh for each call, once kept.
async fn hello(folder: &Path, tenants: &[TenantId]) -> Result<World> {
    let world = World::at(folder, INSTANCES, IDLE_MS)?;
    let source = |name: &str, reuse| guests::named(HELLO.source(), name, reuse);
    world.install(vec![source(FRESH, Reuse::Never), source(WARM, Reuse::Tenant)]).await?;
    let plugins = [(world::plugin(FRESH)?, CONFIGURATION), (world::plugin(WARM)?, CONFIGURATION)];
    world.enable(tenants, &plugins).await?;
    // Tenants' storage is made and migrated here: the server that is measured finds it and starts in an instant.
    let host = world.open().await?;
    for (plugin, _) in &plugins {
        world::serves(&host, tenants, plugin).await?;
    }
    host.shutdown(Duration::from_secs(5)).await;
    Ok(world)
}

/// A request of a user who may greet.
fn line(name: &str, tenant: &TenantId) -> String {
    let permission = format!("bench.{name}.hello.greet");
    let token = tokens::token("user", Some(tenant.as_str()), &[Role::Member], &[&permission]);
    format!("/api/plugins/bench.{name}/hello {token}")
}

impl Lane {
    fn new(serving: Rc<Serving>, requests: PathBuf, lines: &str) -> Result<Self> {
        std::fs::write(&requests, lines)?;
        Ok(Self { serving, requests, seen: Vec::new() })
    }

    /// Waits until every line is answered well once.
    async fn ready(&self) -> Result<()> {
        for _ in 0..STARTS_MAX {
            let lines = u32::try_from(std::fs::read_to_string(&self.requests)?.lines().count())?;
            if parts::send(&self.serving.address, &self.requests, lines, 4)?.failed == 0 {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Err("a server never answered all its tenants".into())
    }

    /// The server's CPU time for each request, in microseconds.
    fn round(&mut self, count: u32) -> Result<f64> {
        let pid = self.serving.pid()?;
        let began = cpu_of(pid)?;
        let sent = parts::send(&self.serving.address, &self.requests, count, CONNECTIONS)?;
        let passed = cpu_of(pid)?.saturating_sub(began);
        if sent.failed > 0 {
            return Err(format!("{} requests of {count} failed", sent.failed).into());
        }
        self.seen.push(sent);
        Ok(each_us(passed, count))
    }

    /// The medians of all rounds: microseconds that 99 of 100 answers kept, and requests a second.
    fn tail(&mut self) -> [f64; 2] {
        let mut p99: Vec<f64> = self.seen.iter().map(|sent| sent.p99_us).collect();
        let mut rate: Vec<f64> = self.seen.iter().map(|sent| sent.rate).collect();
        [median(&mut p99), median(&mut rate)]
    }
}
