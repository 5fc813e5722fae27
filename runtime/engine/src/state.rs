//! The data of one store: whom it serves, the budgets of the call that runs, and what the call holds open.
//! It enforces budgets by refusing; it does not know how a store is made or run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bulkhead_bindings::bulkhead::plugin::types;
use bulkhead_database::tenant::{BlobWriter, Cursor, PluginStore, PluginTx};
use bulkhead_model::limits::RANDOM_BYTES_MAX;
use bulkhead_model::{Actor, Limits, TraceId};

use crate::call::CallContext;
use crate::cell::Shared;
use crate::imports::wasi::Wasi;
use crate::logs::CallLog;
use crate::settings::TABLE_ELEMENT_BYTES;

/// Why the host ends a call. Raised as a trap, so no guest code runs after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stop {
    #[error("memory limit")]
    Memory,
    #[error("memory limit of all plugins together")]
    MemoryOfAll,
    #[error("deadline")]
    Deadline,
    #[error("killed")]
    Killed,
    #[error("host call limit")]
    HostCalls,
}

/// What a store of ours holds.
pub(crate) struct CallState {
    /// The cell that the store belongs to, for its whole life.
    pub(crate) shared: Arc<Shared>,
    /// The call that runs, or ran last.
    pub(crate) call: Call,
    pub(crate) memory: Memory,
    pub(crate) budget: Budget,
    pub(crate) log: CallLog,
    pub(crate) open: Open,
    /// Made when a guest first uses WASI: most calls never do.
    pub(crate) wasi: Option<Box<Wasi>>,
}

/// Identity and time of one call.
pub(crate) struct Call {
    pub(crate) actor: Arc<Actor>,
    pub(crate) trace: TraceId,
    pub(crate) started: Instant,
    pub(crate) deadline: Instant,
    pub(crate) now_unix_ms: u64,
    /// How often the cell had been killed when the call began.
    pub(crate) kills: u64,
    /// What it works on in the place of the cell's storage.
    pub(crate) storage: Option<PluginStore>,
}

impl Call {
    /// Wall clock, Unix milliseconds.
    pub(crate) fn clock_unix_ms(&self) -> u64 {
        let passed_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.now_unix_ms.saturating_add(passed_ms)
    }
}

impl CallState {
    /// The state of a new store, budgets full.
    pub(crate) fn new(shared: Arc<Shared>, call: Call, all: Arc<AtomicU64>, all_max: u64) -> Self {
        let limits = shared.limits;
        Self {
            call,
            memory: Memory { used: 0, peak: 0, max: limits.memory_bytes, all, all_max },
            budget: Budget::full(&limits),
            log: CallLog::default(),
            open: Open::default(),
            wasi: None,
            shared,
        }
    }

    /// Begins another call in a kept store: every budget of a call is full again.
    pub(crate) fn begin(&mut self, call: Call) {
        self.call = call;
        self.memory.peak = self.memory.used;
        self.budget = Budget::full(&self.shared.limits);
        self.log = CallLog::default();
    }

    /// Ends a call: what it left open is closed. Dropping a transaction rolls it back, dropping a writer discards.
    pub(crate) fn end(&mut self) {
        self.open.transaction = None;
        self.open.cursor = None;
        self.open.writer = None;
        self.call.storage = None;
    }

    /// Whether the call must stop now.
    pub(crate) fn check_time(&self) -> Result<(), Stop> {
        if self.shared.kills() != self.call.kills {
            return Err(Stop::Killed);
        }
        if Instant::now() >= self.call.deadline { Err(Stop::Deadline) } else { Ok(()) }
    }
}

/// The transaction, the cursor and the blob writer of a call, at most one each. Handles carry the serial; a handle from an
/// earlier call, or of something ended, finds nothing here.
#[derive(Default)]
pub(crate) struct Open {
    pub(crate) transaction: Option<(u32, PluginTx)>,
    pub(crate) cursor: Option<(u32, Cursor)>,
    pub(crate) writer: Option<(u32, BlobWriter)>,
    serial: u32,
}

impl Open {
    /// A number that no other handle of this store has.
    pub(crate) fn next_serial(&mut self) -> u32 {
        self.serial = self.serial.wrapping_add(1);
        self.serial
    }
}

/// Host calls and their bytes, ours and WASI's together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    calls_made: u32,
    calls_max: u32,
    bytes_left: u64,
    random_left: u64,
    exceeded: bool,
}

impl Budget {
    fn full(limits: &Limits) -> Self {
        Self {
            calls_made: 0,
            calls_max: limits.host_calls,
            bytes_left: limits.host_call_bytes,
            random_left: RANDOM_BYTES_MAX,
            exceeded: false,
        }
    }

    /// Host calls made so far.
    pub(crate) const fn calls_made(&self) -> u32 {
        self.calls_made
    }

    /// Counts one host call.
    pub(crate) fn count_call(&mut self) -> Result<(), Stop> {
        if self.calls_made >= self.calls_max {
            return Err(Stop::HostCalls);
        }
        self.calls_made = self.calls_made.saturating_add(1);
        Ok(())
    }

    /// Counts one host call of a function that cannot refuse; the store's hook ends the call on its return.
    pub(crate) fn note_call(&mut self) {
        if self.calls_made >= self.calls_max {
            self.exceeded = true;
        }
        self.calls_made = self.calls_made.saturating_add(1);
    }

    /// Counts bytes that cross between guest and host.
    pub(crate) fn charge(&mut self, bytes: u64) -> Result<(), Stop> {
        self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or(Stop::HostCalls)?;
        Ok(())
    }

    /// Counts random bytes.
    pub(crate) fn charge_random(&mut self, bytes: u64) -> Result<(), Stop> {
        self.random_left = self.random_left.checked_sub(bytes).ok_or(Stop::HostCalls)?;
        self.charge(bytes)
    }

    /// Whether a call was noted beyond the limit.
    pub(crate) const fn is_exceeded(&self) -> bool {
        self.exceeded
    }
}

/// Sums all memories and tables of a store, and all stores.
#[derive(Debug)]
pub(crate) struct Memory {
    used: u64,
    peak: u64,
    max: u64,
    all: Arc<AtomicU64>,
    all_max: u64,
}

impl Memory {
    /// Most bytes that were in use during the call.
    pub(crate) const fn peak_bytes(&self) -> u64 {
        self.peak
    }

    /// Whether growth from `current` to `desired` bytes may happen. `room` is the most that the memory or table
    /// itself can have, and `pool` whether that is our pool's doing rather than the guest's own declaration.
    fn grow(&mut self, current: u64, desired: u64, room: Option<u64>, pool: bool) -> Result<bool, Stop> {
        let more = desired.saturating_sub(current);
        let used = self.used.saturating_add(more);
        if used > self.max {
            return Err(Stop::Memory);
        }
        if room.is_some_and(|room| desired > room) {
            return if pool { Err(Stop::Memory) } else { Ok(false) };
        }
        let all = self.all.fetch_add(more, Ordering::Relaxed).saturating_add(more);
        if all > self.all_max {
            self.all.fetch_sub(more, Ordering::Relaxed);
            return Err(Stop::MemoryOfAll);
        }
        self.used = used;
        self.peak = self.peak.max(used);
        Ok(true)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.all.fetch_sub(self.used, Ordering::Relaxed);
    }
}

impl wasmtime::ResourceLimiter for Memory {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        // A memory's room is the guest's own declaration or the whole 32-bit space: never less than our limit.
        Ok(self.grow(bytes(current), bytes(desired), maximum.map(bytes), false)?)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let size = |elements: usize| bytes(elements).saturating_mul(TABLE_ELEMENT_BYTES);
        let pool = maximum.is_some_and(|maximum| maximum >= crate::settings::table_elements_max());
        Ok(self.grow(size(current), size(desired), maximum.map(size), pool)?)
    }
}

fn bytes(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

/// The context as the guest sees it. `trace` is the call's trace id in hex.
pub(crate) fn guest_context<'a>(context: &'a CallContext, trace: &'a str, deadline_ms: u32) -> types::CallContext<'a> {
    types::CallContext {
        tenant: context.tenant.as_str(),
        user: context.user(),
        trace_id: trace,
        locale: &context.locale,
        deadline_ms: context.now_unix_ms.saturating_add(u64::from(deadline_ms)),
    }
}
