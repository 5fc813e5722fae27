//! Bare wasmtime beside the engine: the same settings, nothing around a call. It stands for the physical floor.
//! It admits, counts and logs nothing.

use std::path::Path;

use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store, StoreLimits,
    StoreLimitsBuilder, WasmBacktraceDetails,
};

use crate::Result;

mod bindings {
    //! The contract's hooks, as the product's own bindings make them.
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "hooks-only",
        imports: { default: trappable },
        exports: { default: async },
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

use bindings::bulkhead::plugin::types::CallContext;
use bindings::exports::bulkhead::plugin::hooks;

/// Fuel, memory and yield of a call: the product's defaults.
const FUEL_UNITS: u64 = 100_000_000;
const MEMORY_BYTES: usize = 64 << 20;
const YIELD_FUEL_UNITS: u64 = 1_000_000;
const TICKS: u64 = 1 << 40;

/// An engine with the product's settings.
pub(crate) fn engine(slots: u32) -> Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_memories(slots)
        .total_stacks(slots)
        .total_tables(slots * 4)
        .total_core_instances(slots * 128)
        .max_core_instances_per_component(128)
        .max_memories_per_component(32)
        .max_tables_per_component(128)
        .max_tables_per_module(16)
        .table_elements((512 << 20) / 8)
        .linear_memory_keep_resident(2 << 20)
        .table_keep_resident(64 << 10)
        .async_stack_keep_resident(16 << 10)
        .pagemap_scan(Enabled::Auto);
    let mut config = Config::new();
    config
        .concurrency_support(false)
        .consume_fuel(true)
        .epoch_interruption(true)
        .max_wasm_stack(512 << 10)
        .async_stack_zeroing(true)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .debug_symbols(false)
        .native_unwind_info(false)
        .wasm_component_model(true)
        .wasm_multi_memory(false)
        .wasm_memory64(false)
        .wasm_custom_page_sizes(false)
        .wasm_wide_arithmetic(false)
        .wasm_relaxed_simd(false)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Ok(Engine::new(&config)?)
}

/// A filter's component, ready to instantiate.
pub(crate) struct Filter {
    engine: Engine,
    pre: InstancePre<StoreLimits>,
    indices: hooks::GuestIndices,
}

/// A live instance of a filter.
pub(crate) struct Warm {
    store: Store<StoreLimits>,
    guest: hooks::Guest,
}

impl Filter {
    /// Compiles a component that exports `hooks`; calls of its imports trap.
    pub(crate) fn compile(engine: &Engine, component: &[u8]) -> Result<Self> {
        Self::link(engine, &Component::new(engine, component)?)
    }

    /// Maps compiled code from a file and links it: the bare load.
    #[expect(unsafe_code, reason = "the file holds what this run's own compile worker made, in a folder of this run")]
    pub(crate) fn load(engine: &Engine, file: &Path) -> Result<Self> {
        // SAFETY: see the reason above; nobody else writes there while it is mapped.
        let component = unsafe { Component::deserialize_file(engine, file)? };
        Self::link(engine, &component)
    }

    fn link(engine: &Engine, component: &Component) -> Result<Self> {
        let mut linker = Linker::new(engine);
        linker.define_unknown_imports_as_traps(component)?;
        let pre = linker.instantiate_pre(component)?;
        let indices = hooks::GuestIndices::new(&pre)?;
        Ok(Self { engine: engine.clone(), pre, indices })
    }

    /// A store with an instance in it.
    #[expect(clippy::disallowed_methods, reason = "the peer makes its own store")]
    pub(crate) async fn instantiate(&self) -> Result<Warm> {
        let limits = StoreLimitsBuilder::new().memory_size(MEMORY_BYTES).build();
        let mut store = Store::new(&self.engine, limits);
        store.limiter(|limits| limits);
        store.set_fuel(FUEL_UNITS)?;
        store.fuel_async_yield_interval(Some(YIELD_FUEL_UNITS))?;
        store.set_epoch_deadline(TICKS);
        let instance = self.pre.instantiate_async(&mut store).await?;
        let guest = self.indices.load(&mut store, &instance)?;
        Ok(Warm { store, guest })
    }
}

impl Warm {
    /// One call with full fuel.
    pub(crate) async fn call(&mut self, name: &str, value: &str) -> Result<()> {
        self.store.set_fuel(FUEL_UNITS)?;
        let context = CallContext {
            tenant: "tenant-0001",
            user: Some("user@tenant-0001"),
            trace_id: "0af7651916cd43dd8448eb211c80319c",
            locale: "en",
            deadline_ms: 1_800_000_000_000,
        };
        let answer = self.guest.call_apply_filter(&mut self.store, context, name, value, "[]").await?;
        answer.map(drop).map_err(|error| format!("the guest refused: {error:?}").into())
    }
}
