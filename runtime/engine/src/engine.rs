//! The engine: one pool of instances, one linker, one compiled cache, one clock tick for all plugins.
//! It knows no plugin; cells are made from it.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::thread;
use std::time::{Duration, Instant};

use bulkhead_model::Digest;
use tokio::sync::Semaphore;
use wasmtime::component::Linker;

use crate::cache::{Cache, Key};
use crate::compile::{CompileLimits, Compiler};
use crate::error::Error;
use crate::metrics::Labels;
use crate::reuse::{Registry, start_sweeper};
use crate::settings::{Fingerprint, serving_engine};
use crate::state::CallState;

/// Time between two epoch ticks: how exact deadlines and kill switches are.
const TICK: Duration = Duration::from_millis(10);
/// Kernel memory mappings: per slot, per loaded plugin, for everything else.
const MAPS_PER_SLOT: u64 = 6;
const MAPS_PER_PLUGIN: u64 = 5;
const MAPS_OTHER: u64 = 200;
const MAX_MAP_COUNT_FILE: &str = "/proc/sys/vm/max_map_count";

/// How an engine is set up.
#[derive(Clone)]
pub struct EngineConfig {
    /// Instances that may live at once; also the size of the pool.
    pub instances_max: u32,
    /// Distinct plugins that may be loaded at once.
    pub plugins_max: u32,
    /// Bytes of guest memory of all instances together. Growth beyond it ends the call that grew with `overloaded`.
    pub memory_bytes_max_total: u64,
    /// Directory of compiled components, of this user alone; made if missing.
    pub cache_dir: PathBuf,
    /// Key of the compiled cache. Another key makes every entry foreign.
    pub cache_key: [u8; 32],
    /// Program that compiles, run as `<program> compile-worker`.
    pub compile_worker: PathBuf,
    /// Compilations at once.
    pub compile_jobs_max: u32,
    /// Milliseconds after which an unused kept instance is dropped.
    pub idle_ms: u64,
    /// Milliseconds that a call waits at most for a free instance.
    pub wait_ms: u64,
    /// Calls that may wait for a free instance.
    pub waiting_max: u32,
    /// Tenants that have series of their own in metrics; all others share one.
    pub tenant_labels_max: u32,
}

impl EngineConfig {
    /// The defaults: 2,000 instances, 1,000 plugins, 8 GiB of guest memory, two compilations at once, kept
    /// instances for a minute.
    pub fn new(cache_dir: PathBuf, cache_key: [u8; 32], compile_worker: PathBuf) -> Self {
        Self {
            instances_max: 2_000,
            plugins_max: 1_000,
            memory_bytes_max_total: 8 << 30,
            cache_dir,
            cache_key,
            compile_worker,
            compile_jobs_max: 2,
            idle_ms: 60_000,
            wait_ms: 250,
            waiting_max: 1_000,
            tenant_labels_max: 100,
        }
    }
}

impl std::fmt::Debug for EngineConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key stays out of every log.
        f.debug_struct("EngineConfig")
            .field("instances_max", &self.instances_max)
            .field("cache_dir", &self.cache_dir)
            .field("compile_worker", &self.compile_worker)
            .finish_non_exhaustive()
    }
}

/// Runs plugins. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) wasm: wasmtime::Engine,
    pub(crate) linker: Linker<CallState>,
    pub(crate) cache: Cache,
    compiler: Compiler,
    pub(crate) clock: Clock,
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) slots_max: u32,
    pub(crate) waiting: AtomicU32,
    pub(crate) waiting_max: u32,
    pub(crate) wait_max: Duration,
    pub(crate) memory_used: Arc<AtomicU64>,
    pub(crate) memory_bytes_max_total: u64,
    pub(crate) idle: Arc<Registry>,
    pub(crate) labels: Labels,
}

impl Engine {
    /// Starts an engine. Reserves address space for all instances and asks the compile worker who it is.
    ///
    /// # Errors
    /// Each names the setting to change.
    pub fn new(config: EngineConfig) -> Result<Self, Error> {
        let slots_max = config.instances_max.max(1);
        check_map_count(slots_max, config.plugins_max)?;
        let wasm = serving_engine(slots_max)?;
        let fingerprint = Fingerprint::of(&wasm);
        let compiler = Compiler::new(config.compile_worker, config.compile_jobs_max, fingerprint)?;
        let cache = Cache::open(&config.cache_dir, config.cache_key, fingerprint)?;
        let linker = crate::linker::linker(&wasm)?;
        let idle = Arc::new(Registry::default());
        start_ticker(&wasm)
            .and_then(|()| start_sweeper(&idle, Duration::from_millis(config.idle_ms)))
            .map_err(|error| Error::Start(error.to_string()))?;
        Ok(Self {
            inner: Arc::new(Inner {
                wasm,
                linker,
                cache,
                compiler,
                clock: Clock::start(),
                slots: Arc::new(Semaphore::new(usize::try_from(slots_max).unwrap_or(1))),
                slots_max,
                waiting: AtomicU32::new(0),
                waiting_max: config.waiting_max,
                wait_max: Duration::from_millis(config.wait_ms),
                memory_used: Arc::default(),
                memory_bytes_max_total: config.memory_bytes_max_total,
                idle,
                labels: Labels::new(config.tenant_labels_max),
            }),
        })
    }

    /// Compiles an admitted component within the default limits and puts it into the cache, bound to `facts`.
    ///
    /// # Errors
    /// [`Error::Compile`] says which limit was passed or what the compiler refused.
    pub async fn compile(&self, digest: &Digest, facts: &Digest, component: &[u8]) -> Result<(), Error> {
        self.compile_within(&CompileLimits::DEFAULT, digest, facts, component).await
    }

    /// As [`Engine::compile`], within other limits.
    ///
    /// # Errors
    /// As [`Engine::compile`].
    pub async fn compile_within(
        &self,
        limits: &CompileLimits,
        digest: &Digest,
        facts: &Digest,
        component: &[u8],
    ) -> Result<(), Error> {
        if Digest::of(component) != *digest {
            return Err(Error::DigestMismatch(*digest));
        }
        let started = Instant::now();
        let compiled = self.inner.compiler.compile(component, limits).await?;
        metrics::histogram!("bulkhead_compile_seconds").record(started.elapsed().as_secs_f64());
        let (inner, digest, facts) = (Arc::clone(&self.inner), *digest, *facts);
        let write = move || inner.cache.write(Key { component: &digest, facts: &facts }, &compiled);
        tokio::task::spawn_blocking(write)
            .await
            .map_err(|error| Error::Cache { operation: "write an entry", source: std::io::Error::other(error) })?
    }

    /// Whether the compile worker still starts and compiles for this process. Waits for it: not for an async thread.
    ///
    /// # Errors
    /// As [`Engine::new`] names them.
    pub fn check_compile_worker(&self) -> Result<(), Error> {
        self.inner.compiler.check()
    }

    /// Deletes the compiled form of a component, if there is one.
    ///
    /// # Errors
    /// [`Error::Cache`] if the file cannot be deleted.
    pub fn forget(&self, digest: &Digest, facts: &Digest) -> Result<(), Error> {
        self.inner.cache.remove(Key { component: digest, facts })
    }

    /// Instances that live now, idle ones included.
    pub fn instances_live(&self) -> u32 {
        let free = u32::try_from(self.inner.slots.available_permits()).unwrap_or(u32::MAX);
        self.inner.slots_max.saturating_sub(free)
    }

    /// Bytes of guest memory in use now.
    pub fn memory_bytes_used(&self) -> u64 {
        self.inner.memory_used.load(std::sync::atomic::Ordering::Relaxed)
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("instances_live", &self.instances_live()).finish_non_exhaustive()
    }
}

/// Time since the engine's start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    fn start() -> Self {
        Self(Instant::now())
    }

    /// `now` in milliseconds since the start.
    pub(crate) fn ms(self, now: Instant) -> u64 {
        self.ns(now) / 1_000_000
    }

    /// `now` in nanoseconds since the start.
    pub(crate) fn ns(self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.0).as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Too large a pool fails late, at some thousandth instance: better not to start.
fn check_map_count(instances_max: u32, plugins_max: u32) -> Result<(), Error> {
    let allowed = fs::read_to_string(MAX_MAP_COUNT_FILE).ok().and_then(|text| text.trim().parse().ok());
    check_maps(instances_max, plugins_max, allowed.unwrap_or(u64::MAX))
}

fn check_maps(instances_max: u32, plugins_max: u32, allowed: u64) -> Result<(), Error> {
    let slots = MAPS_PER_SLOT.saturating_mul(u64::from(instances_max));
    let plugins = MAPS_PER_PLUGIN.saturating_mul(u64::from(plugins_max));
    let needed = slots.saturating_add(plugins).saturating_add(MAPS_OTHER);
    if needed > allowed {
        return Err(Error::MapCount { instances_max, plugins_max, needed, allowed });
    }
    Ok(())
}

/// One thread outside the async runtime: a runtime whose threads all compute could not tick.
fn start_ticker(engine: &wasmtime::Engine) -> std::io::Result<()> {
    let engine = engine.weak();
    thread::Builder::new().name("bulkhead-ticker".to_owned()).spawn(move || {
        loop {
            thread::sleep(TICK);
            let Some(engine) = engine.upgrade() else {
                return;
            };
            engine.increment_epoch();
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_that_the_kernel_has_no_mappings_for_is_refused_at_the_start() {
        let check = |instances, plugins, allowed, starts| {
            assert_eq!(check_maps(instances, plugins, allowed).is_ok(), starts, "{instances} {plugins} {allowed}");
        };

        check(2_000, 1_000, 65_530, true);
        check(10_000, 1_000, 65_530, true);
        check(10_000, 1_067, 65_530, false);
        check(30_000, 0, 65_530, false);
        check(u32::MAX, u32::MAX, 65_530, false);
    }
}
