//! The wasmtime settings: one set of compile settings, and how instances are allocated by who runs them.
//! It sets no limit of a call; `instance.rs` does, per store.

use std::hash::{Hash as _, Hasher};
use std::num::NonZeroUsize;

use bulkhead_model::limits::{Limits, STACK_BYTES};
use sha2::{Digest as _, Sha256};
use wasmtime::{Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails};

use crate::error::Error;

/// Memory of a slot that stays resident between instances, in bytes.
const MEMORY_KEEP_RESIDENT_BYTES: usize = 2 << 20;
/// Table and stack of a slot that stay resident between instances, in bytes.
const TABLE_KEEP_RESIDENT_BYTES: usize = 64 << 10;
const STACK_KEEP_RESIDENT_BYTES: usize = 16 << 10;
/// Frames of a trap that are remembered.
const BACKTRACE_FRAMES_MAX: NonZeroUsize = NonZeroUsize::new(20).unwrap();
/// Tables that an instance slot brings along; a component with more takes several slots.
pub(crate) const TABLES_PER_SLOT: u32 = 4;
/// Core instances, memories and tables that one component may have.
const CORE_INSTANCES_PER_COMPONENT_MAX: u32 = 128;
const MEMORIES_PER_COMPONENT_MAX: u32 = 32;
const TABLES_PER_COMPONENT_MAX: u32 = 128;
/// Tables that one core module may have.
const TABLES_PER_MODULE_MAX: u32 = 16;
/// Bytes of a table element.
pub(crate) const TABLE_ELEMENT_BYTES: u64 = 8;

/// Identity of the compile settings: code compiled under one fingerprint loads only under the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of an engine's compile settings, wasmtime version and target.
    pub(crate) fn of(engine: &wasmtime::Engine) -> Self {
        let mut hasher = Sha256Hasher(Sha256::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        std::env::consts::ARCH.hash(&mut hasher);
        std::env::consts::OS.hash(&mut hasher);
        Self(hasher.0.finalize().into())
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// 64 lower-case hex digits.
    pub(crate) fn hex(self) -> String {
        bulkhead_model::Digest::from_bytes(self.0).hex()
    }
}

/// Feeds what `Hash` writes to SHA-256: the standard hasher is not promised to be stable between programs.
struct Sha256Hasher(Sha256);

impl Hasher for Sha256Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let digest: [u8; 32] = self.0.clone().finalize().into();
        let [a, b, c, d, e, f, g, h, ..] = digest;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

/// Version of the wasm runtime, as policies name it in `min_runtime`.
pub fn runtime_version() -> Option<semver::Version> {
    semver::Version::parse(wasmtime_environ::VERSION).ok()
}

/// The engine that serves calls: `slots` instances out of a pool.
pub(crate) fn serving_engine(slots: u32) -> Result<wasmtime::Engine, Error> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_memories(slots)
        .total_stacks(slots)
        .total_tables(slots.saturating_mul(TABLES_PER_SLOT))
        .total_core_instances(slots.saturating_mul(CORE_INSTANCES_PER_COMPONENT_MAX))
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT_MAX)
        .max_memories_per_component(MEMORIES_PER_COMPONENT_MAX)
        .max_tables_per_component(TABLES_PER_COMPONENT_MAX)
        .max_tables_per_module(TABLES_PER_MODULE_MAX)
        .table_elements(table_elements_max())
        .linear_memory_keep_resident(MEMORY_KEEP_RESIDENT_BYTES)
        .table_keep_resident(TABLE_KEEP_RESIDENT_BYTES)
        .async_stack_keep_resident(STACK_KEEP_RESIDENT_BYTES)
        .pagemap_scan(Enabled::Auto);
    let mut config = compile_settings();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    wasmtime::Engine::new(&config).map_err(|error| Error::Start(format!("{error:#}")))
}

/// The engine of the compile worker: the same code, no pool, which would not fit its address space, and one
/// thread, so that its CPU and memory limits mean what they say.
pub(crate) fn compiling_engine() -> Result<wasmtime::Engine, Error> {
    let mut config = compile_settings();
    config.allocation_strategy(InstanceAllocationStrategy::OnDemand).parallel_compilation(false);
    wasmtime::Engine::new(&config).map_err(|error| Error::Start(format!("{error:#}")))
}

/// Elements that a pooled table has room for: the largest memory limit of any call spent on one table.
pub(crate) fn table_elements_max() -> usize {
    usize::try_from(Limits::HOST_MAX.memory_bytes / TABLE_ELEMENT_BYTES).unwrap_or(usize::MAX)
}

/// What both engines share. Everything that a plugin has no use for is off.
fn compile_settings() -> Config {
    let mut config = Config::new();
    config
        .concurrency_support(false)
        .consume_fuel(true)
        .epoch_interruption(true)
        .max_wasm_stack(STACK_BYTES)
        .async_stack_zeroing(true)
        .wasm_backtrace_max_frames(Some(BACKTRACE_FRAMES_MAX))
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        // For native debuggers and profilers alone: a seventh of a compiled plugin's memory.
        .debug_symbols(false)
        .native_unwind_info(false)
        .wasm_component_model(true)
        .wasm_multi_memory(false)
        .wasm_memory64(false)
        .wasm_custom_page_sizes(false)
        .wasm_wide_arithmetic(false)
        .wasm_relaxed_simd(false);
    config
}
