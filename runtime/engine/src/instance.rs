//! The only place that makes a store: limits first, then code. And the only place that enters a guest in time:
//! fuel, epoch, timeout and kill all end a call here.
//! It keeps no instance; `reuse.rs` does.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use bulkhead_bindings::exports::bulkhead::plugin::{health, hooks, lifecycle, routes};
use metrics::Gauge;
use tokio::sync::OwnedSemaphorePermit;
use wasmtime::{CallHook, Store, UpdateDeadline};

use crate::cell::Shared;
use crate::component::Inner as Component;
use crate::engine::Engine;
use crate::state::{Call, CallState, Stop};

/// Fuel between two yields to other tasks: about a tenth of a millisecond.
const YIELD_FUEL_UNITS: u64 = 1_000_000;
/// Epoch ticks between two looks at deadline and kill switch.
const LOOK_TICKS: u64 = 1;

/// A store with one instance in it. It serves one cell for its whole life.
pub(crate) struct Instance {
    store: Store<CallState>,
    instance: wasmtime::component::Instance,
    component: Arc<Component>,
    guests: Guests,
    /// Calls that it has served.
    pub(crate) calls: u32,
    // After the store: the slot is free only when the store is gone.
    _slots: OwnedSemaphorePermit,
    _live: Live,
}

/// Typed exports, looked up when first used.
#[derive(Default)]
struct Guests {
    routes: Option<routes::Guest>,
    hooks: Option<hooks::Guest>,
    lifecycle: Option<lifecycle::Guest>,
    health: Option<health::Guest>,
}

/// Counts a live instance until it is dropped.
struct Live(Gauge);

impl Live {
    fn new(gauge: Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// A store whose instance could not be made; what it used is still to be told.
pub(crate) struct Failed {
    pub(crate) store: Store<CallState>,
    pub(crate) error: wasmtime::Error,
}

impl Instance {
    /// Makes a store and an instance in it for `call`. Start functions run here, inside all limits.
    pub(crate) async fn new(
        engine: &Engine,
        component: &Arc<Component>,
        shared: &Arc<Shared>,
        call: Call,
        slots: OwnedSemaphorePermit,
    ) -> Result<Self, Box<Failed>> {
        let mut store = match store(engine, shared, call) {
            Ok(store) => store,
            Err(failed) => return Err(failed),
        };
        match component.pre.instantiate_async(&mut store).await {
            Ok(instance) => Ok(Self {
                store,
                instance,
                component: Arc::clone(component),
                guests: Guests::default(),
                calls: 0,
                _slots: slots,
                _live: Live::new(shared.metrics.plugin.live.clone()),
            }),
            Err(error) => Err(Box::new(Failed { store, error })),
        }
    }

    /// Begins another call in a kept instance, with every budget full again.
    pub(crate) fn begin(&mut self, call: Call) -> wasmtime::Result<()> {
        self.store.data_mut().begin(call);
        fill(&mut self.store)
    }

    pub(crate) fn store(&self) -> &Store<CallState> {
        &self.store
    }

    pub(crate) fn state_mut(&mut self) -> &mut CallState {
        self.store.data_mut()
    }
}

/// One typed accessor per interface: the guest's functions and the store to call them in.
macro_rules! guest {
    ($name:ident) => {
        pub(crate) fn $name(&mut self) -> wasmtime::Result<(&$name::Guest, &mut Store<CallState>)> {
            let guest = match self.guests.$name.take() {
                Some(guest) => guest,
                None => match &self.component.exports.$name {
                    Some(indices) => indices.load(&mut self.store, &self.instance)?,
                    None => wasmtime::bail!(concat!("no export `", stringify!($name), "`")),
                },
            };
            Ok((self.guests.$name.insert(guest), &mut self.store))
        }
    };
}

impl Instance {
    guest!(routes);
    guest!(hooks);
    guest!(lifecycle);
    guest!(health);

    /// Looks every exported interface up: a changed record type fails only here.
    pub(crate) fn load_all(&mut self) -> wasmtime::Result<()> {
        let component = Arc::clone(&self.component);
        let exports = &component.exports;
        if exports.routes.is_some() {
            self.routes()?;
        }
        if exports.hooks.is_some() {
            self.hooks()?;
        }
        if exports.lifecycle.is_some() {
            self.lifecycle()?;
        }
        if exports.health.is_some() {
            self.health()?;
        }
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that makes a store")]
fn store(engine: &Engine, shared: &Arc<Shared>, call: Call) -> Result<Store<CallState>, Box<Failed>> {
    let inner = &engine.inner;
    let state = CallState::new(Arc::clone(shared), call, Arc::clone(&inner.memory_used), inner.memory_bytes_max_total);
    let mut store = Store::new(&inner.wasm, state);
    store.limiter(|state| &mut state.memory);
    // Ends a call that made one WASI call too many, before the guest runs again.
    store.call_hook(|store, hook| match hook {
        CallHook::ReturningFromHost if store.data().budget.is_exceeded() => Err(Stop::HostCalls.into()),
        _ => Ok(()),
    });
    // Ends a call whose time is up or whose cell was killed.
    store.epoch_deadline_callback(|store| {
        store.data().check_time()?;
        Ok(UpdateDeadline::Continue(LOOK_TICKS))
    });
    let limits = &shared.limits;
    store.set_hostcall_fuel(usize::try_from(limits.host_call_bytes).unwrap_or(usize::MAX));
    store.set_max_component_handles(usize::try_from(limits.handles).unwrap_or(usize::MAX));
    let filled = store.fuel_async_yield_interval(Some(YIELD_FUEL_UNITS)).and_then(|()| fill(&mut store));
    match filled {
        Ok(()) => Ok(store),
        Err(error) => Err(Box::new(Failed { store, error })),
    }
}

/// Gives a store the fuel of one call and its first look at the time.
fn fill(store: &mut Store<CallState>) -> wasmtime::Result<()> {
    let fuel_units = store.data().shared.limits.fuel_units;
    store.set_epoch_deadline(LOOK_TICKS);
    store.set_fuel(fuel_units)
}

/// Runs `work` until it is done, its deadline passes or its cell is killed. The epoch ends a guest that
/// computes; this ends one that waits.
pub(crate) async fn within<T>(
    shared: &Shared,
    deadline: Instant,
    kills: u64,
    work: impl Future<Output = T> + Send,
) -> Result<T, Stop> {
    let mut work = pin!(work);
    // Most calls never wait: they are done here, without a timer or a listener.
    if let Poll::Ready(done) = poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await {
        return Ok(done);
    }
    let mut killed = pin!(shared.kill_signal.notified());
    killed.as_mut().enable();
    if shared.kills() != kills {
        return Err(Stop::Killed);
    }
    tokio::select! {
        biased;
        done = work => Ok(done),
        () = killed => Err(Stop::Killed),
        () = tokio::time::sleep_until(deadline.into()) => Err(Stop::Deadline),
    }
}
