//! Calls in process, on the thread's CPU clock: fresh and warm against bare wasmtime, chains, first calls after a rest,
//! two threads, traps, mediated reads (P1 to P3, P6, P17 to P20). It speaks no HTTP.

use std::sync::{Arc, Barrier};
use std::time::Duration;

use bulkhead_host::{Caller, Host};
use bulkhead_model::Reuse;
use bulkhead_testkit::Source;

use crate::figures::{Bar, Row};
use crate::measure::{each_us, median, rounds, thread_cpu};
use crate::world::{self, Rotations, World};
use crate::{Options, Result, guests, peers, raw, storage};

/// 64 bytes of JSON.
pub(crate) const VALUE: &str = "\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"";
/// Milliseconds after which a kept instance is dropped here.
const IDLE_MS: u64 = 1_000;
/// Live instances at once.
const INSTANCES_MAX: u32 = 2_000;
/// Tenants and calls in each of one batch.
const BATCH: (usize, u32) = (5, 150);
/// Tenants of the first call after a rest.
const RESTED: usize = 40;
/// Calls that trap in one tenant: fewer than open a breaker.
const TRAPS: (usize, u32) = (10, 15);
/// The configuration of `hello`, and of all others.
const CONFIGURATION: &str = r#"{"greeting":"Hello"}"#;
const NONE: &str = "{}";

/// The host with its tenants, and what stands beside it.
pub(crate) struct Calls {
    host: Host,
    rotations: Rotations,
    options: Options,
    rust: raw::Filter,
    tiny: raw::Filter,
    _folder: tempfile::TempDir,
}

/// Runs those of P1, P2, P3, P6, P17, P18, P19, P20 that are wanted.
pub(crate) async fn run(options: &Options) -> Result<Vec<Row>> {
    let calls = Calls::new(options).await?;
    let mut rows = Vec::new();
    if options.wants("P1") || options.wants("P2") {
        rows.extend(calls.single().await?);
    }
    if options.wants("P3") {
        rows.extend(calls.chains().await?);
    }
    if options.wants("P6") {
        rows.extend(calls.extism().await?);
    }
    if options.wants("P17") {
        rows.push(calls.rested().await?);
    }
    if options.wants("P18") {
        rows.extend(calls.two_threads().await?);
    }
    if options.wants("P19") {
        rows.push(calls.trapping().await?);
    }
    if options.wants("P20") {
        rows.push(storage::kv_get(&calls.host, &calls.rotations, options).await?);
    }
    calls.host.shutdown(Duration::from_secs(2)).await;
    Ok(rows)
}

impl Calls {
    async fn new(options: &Options) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let world = World::at(folder.path(), INSTANCES_MAX, IDLE_MS)?;
        let tenants = world::tenants(if options.quick { 60 } else { 120 })?;
        let (rust, tiny) = (
            guests::rust("rust-fresh", Reuse::Never),
            guests::tiny("tiny-fresh", &guests::hook("tiny-fresh"), Reuse::Never),
        );
        let engine = raw::engine(16)?;
        let (raw_rust, raw_tiny) =
            (raw::Filter::compile(&engine, &rust.component)?, raw::Filter::compile(&engine, &tiny.component)?);

        let small = small_plugins();
        let mut plugins =
            vec![(world::plugin("rust-fresh")?, CONFIGURATION), (world::plugin("rust-warm")?, CONFIGURATION)];
        plugins.push((world::plugin("tiny-fresh")?, NONE));
        for source in &small {
            plugins.push((source.manifest.plugin.id.clone(), NONE));
        }
        let mut sources = vec![rust, guests::rust("rust-warm", Reuse::Tenant), tiny];
        sources.extend(small);
        world.install(sources).await?;
        world.enable(&tenants, &plugins).await?;
        let host = world.open().await?;
        for (plugin, _) in &plugins {
            world::serves(&host, &tenants, plugin).await?;
        }
        Ok(Self {
            host,
            rotations: Rotations::of(&tenants),
            options: options.clone(),
            rust: raw_rust,
            tiny: raw_tiny,
            _folder: folder,
        })
    }

    /// CPU time of one call in microseconds. The first call of each tenant is not timed where instances are kept.
    async fn batch(&self, hook: &str, (tenants, each): (usize, u32)) -> Result<f64> {
        let callers = self.rotations.take(hook, tenants, each + 1).await;
        let mut passed = Duration::ZERO;
        for caller in &callers {
            call(&self.host, caller, hook).await?;
            passed += timed(&self.host, caller, hook, each).await?;
        }
        Ok(each_us(passed, each * u32::try_from(callers.len())?))
    }

    /// P1 and P2.
    async fn single(&self) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for (filter, name, guest, bars) in [
            (&self.rust, "rust", "Rust filter", [Bar::AtMost(1.3), Bar::AtMost(2.0), Bar::AtMost(2.0)]),
            (&self.tiny, "tiny", "tiny filter", [Bar::None; 3]),
        ] {
            let (fresh, warm) = (format!("bench.{name}_fresh"), format!("bench.{name}_warm"));
            let mut kept = filter.instantiate().await?;
            let count = self.options.calls(BATCH.1 * 5);
            let [raw_fresh, ours_fresh, raw_warm, ours_warm] = rounds(self.options.rounds, async |index| match index {
                0 => raw_us(count, async || filter.instantiate().await?.call(&fresh, VALUE).await).await,
                1 => self.batch(&fresh, BATCH).await,
                2 => raw_us(count, async || kept.call(&warm, VALUE).await).await,
                _ => self.batch(&warm, BATCH).await,
            })
            .await?;
            let [fresh_bar, warm_bar, over_bar] = bars;
            rows.push(Row::ratio(
                "P1",
                format!("{guest}, fresh, over raw wasmtime"),
                "us",
                [ours_fresh, raw_fresh],
                fresh_bar,
            ));
            rows.push(Row::ratio(
                "P2",
                format!("{guest}, warm, over raw wasmtime"),
                "us",
                [ours_warm, raw_warm],
                warm_bar,
            ));
            rows.push(Row::value(
                "P2",
                format!("{guest}, warm, beyond raw wasmtime"),
                "us",
                ours_warm - raw_warm,
                over_bar,
            ));
        }
        Ok(rows)
    }

    /// P3.
    async fn chains(&self) -> Result<Vec<Row>> {
        let mut kept = Vec::new();
        for _ in 0..5 {
            kept.push(self.tiny.instantiate().await?);
        }
        let count = self.options.calls(BATCH.1 * 5);
        let [raw, ours, twice] = rounds(self.options.rounds, async |index| match index {
            0 => {
                raw_us(count, async || {
                    for instance in &mut kept {
                        instance.call("bench.five", VALUE).await?;
                    }
                    Ok(())
                })
                .await
            }
            1 => self.batch("bench.five", BATCH).await,
            _ => self.batch("bench.ten", BATCH).await,
        })
        .await?;
        Ok(vec![
            Row::ratio("P3", "5 filters of 64 B, warm, over the raw chain", "us", [ours, raw], Bar::AtMost(1.5)),
            Row::ratio("P3", "10 filters over 5: linear", "us", [twice, ours], Bar::AtMost(2.2)),
        ])
    }

    /// P6.
    async fn extism(&self) -> Result<Vec<Row>> {
        let (new, kept) =
            ("a tiny call, fresh, over a new Extism plugin", "a tiny call, warm, over a reused Extism plugin");
        let mut peer = match peers::Extism::start() {
            Ok(peer) => peer,
            Err(reason) => return Ok(vec![Row::not_run("P6", new, &reason), Row::not_run("P6", kept, &reason)]),
        };
        let mut reused = Vec::new();
        let mut first = true;
        let [theirs, ours_fresh, ours_warm] = rounds(self.options.rounds, async |index| match index {
            0 => {
                let round = peer.round()?;
                if !std::mem::take(&mut first) {
                    reused.push(round.reused_us);
                }
                Ok(round.new_us)
            }
            1 => self.batch("bench.tiny_fresh", BATCH).await,
            _ => self.batch("bench.tiny_warm", BATCH).await,
        })
        .await?;
        Ok(vec![
            Row::ratio("P6", new, "us", [ours_fresh, theirs], Bar::AtMost(0.2)),
            Row::ratio("P6", kept, "us", [ours_warm, median(&mut reused)], Bar::AtMost(0.5)),
        ])
    }

    /// P17: every call is the first one in its tenant for a while, so both sides find cold caches.
    async fn rested(&self) -> Result<Row> {
        let [never_kept, rested] = rounds(self.options.rounds, async |index| {
            if index == 0 {
                return self
                    .once_each(&self.rotations.take("bench.rust_fresh", RESTED, 1).await, "bench.rust_fresh")
                    .await;
            }
            let callers = self.rotations.take("bench.rust_warm", RESTED, 2).await;
            for caller in &callers {
                call(&self.host, caller, "bench.rust_warm").await?;
            }
            tokio::time::sleep(Duration::from_millis(IDLE_MS * 2)).await;
            self.once_each(&callers, "bench.rust_warm").await
        })
        .await?;
        Ok(Row::ratio(
            "P17",
            "first call after idle recycling over a fresh call",
            "us",
            [rested, never_kept],
            Bar::AtMost(1.2),
        ))
    }

    async fn once_each(&self, callers: &[Caller], hook: &str) -> Result<f64> {
        let began = thread_cpu();
        for caller in callers {
            call(&self.host, caller, hook).await?;
        }
        Ok(each_us(thread_cpu() - began, u32::try_from(callers.len())?))
    }

    /// P18, from the CPU time of a call: wall time on a machine that others use says nothing. Two threads that never
    /// hold each other up are twice as fast as one.
    async fn two_threads(&self) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for (hook, what, least) in [("bench.rust_fresh", "fresh", 1.6), ("bench.rust_warm", "warm", 1.8)] {
            let [one, two] = rounds(self.options.rounds, async |index| {
                let (left, right) = (
                    self.rotations.take(hook, BATCH.0, BATCH.1 + 1).await,
                    self.rotations.take(hook, BATCH.0, BATCH.1 + 1).await,
                );
                let sets = if index == 0 { vec![left] } else { vec![left, right] };
                on_threads(&self.host, hook, sets)
            })
            .await?;
            rows.push(Row::value(
                "P18",
                format!("two threads over one, {what}"),
                "x",
                2.0 * one / two,
                Bar::AtLeast(least),
            ));
        }
        Ok(rows)
    }

    /// P19.
    async fn trapping(&self) -> Result<Row> {
        let [good_us, bad_us] = rounds(self.options.rounds, async |index| {
            if index == 0 {
                return self.batch("bench.tiny_fresh", TRAPS).await;
            }
            let callers = self.rotations.take("bench.trap", TRAPS.0, TRAPS.1).await;
            let began = thread_cpu();
            for caller in &callers {
                for _ in 0..TRAPS.1 {
                    let failed = self.host.apply_filter(caller, "bench.trap", VALUE.to_owned(), "[]").await;
                    if failed.is_ok() {
                        return Err("a call that should trap did not".into());
                    }
                }
            }
            Ok(each_us(thread_cpu() - began, TRAPS.1 * u32::try_from(callers.len())?))
        })
        .await?;
        Ok(Row::ratio(
            "P19",
            "a trapping call with snapshot and log over a good one",
            "us",
            [bad_us, good_us],
            Bar::AtMost(3.0),
        ))
    }
}

/// The tiny filters: warm, trapping, and the members of two chains.
fn small_plugins() -> Vec<Source> {
    let chain = |hook: &'static str, count: u32| {
        (0..count).map(move |index| guests::tiny(&format!("{hook}-{index}"), &format!("bench.{hook}"), Reuse::Tenant))
    };
    let mut sources = vec![
        guests::tiny("tiny-warm", &guests::hook("tiny-warm"), Reuse::Tenant),
        guests::trapping("trap"),
        guests::kv("kv"),
    ];
    sources.extend(chain("five", 5).chain(chain("ten", 10)));
    sources
}

/// One call that must go well.
pub(crate) async fn call(host: &Host, caller: &Caller, hook: &str) -> Result<()> {
    host.apply_filter(caller, hook, VALUE.to_owned(), "[]").await?;
    Ok(())
}

/// CPU time of `count` calls.
pub(crate) async fn timed(host: &Host, caller: &Caller, hook: &str, count: u32) -> Result<Duration> {
    let began = thread_cpu();
    for _ in 0..count {
        call(host, caller, hook).await?;
    }
    Ok(thread_cpu() - began)
}

async fn raw_us(count: u32, mut work: impl AsyncFnMut() -> Result<()>) -> Result<f64> {
    let began = thread_cpu();
    for _ in 0..count {
        work().await?;
    }
    Ok(each_us(thread_cpu() - began, count))
}

/// CPU time of one call when each of `sets` runs on a thread of its own, all at once.
fn on_threads(host: &Host, hook: &'static str, sets: Vec<Vec<Caller>>) -> Result<f64> {
    let barrier = Arc::new(Barrier::new(sets.len()));
    let threads: Vec<_> = sets
        .into_iter()
        .map(|callers| {
            let (host, barrier) = (host.clone(), Arc::clone(&barrier));
            std::thread::spawn(move || -> Result<f64> {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                barrier.wait();
                runtime.block_on(async {
                    let mut passed = Duration::ZERO;
                    for caller in &callers {
                        call(&host, caller, hook).await?;
                        passed += timed(&host, caller, hook, BATCH.1).await?;
                    }
                    Ok(each_us(passed, BATCH.1 * u32::try_from(callers.len())?))
                })
            })
        })
        .collect();
    let mut samples = Vec::new();
    for thread in threads {
        samples.push(thread.join().map_err(|_| "a measuring thread panicked")??);
    }
    let count = u32::try_from(samples.len())?;
    Ok(samples.iter().sum::<f64>() / f64::from(count.max(1)))
}
