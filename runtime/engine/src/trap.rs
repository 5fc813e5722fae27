//! Names why a guest stopped: from wasmtime's error to a `CallError`, and the guest's frames as text.
//! It decides nothing about what happens next.

use std::fmt;

use bulkhead_model::Limits;
use wasmtime::component::ResourceTableError;
use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};

use crate::call::CallError;
use crate::state::Stop;

/// wasmtime's texts for limits that have no public error type. The tests of hostile guests fail if they change.
const HANDLE_LIMIT: &str = "store handle limit exceeded";
const TRANSFER_LIMIT: &str = "fuel allocated for hostcalls has been exhausted";
/// Bytes of a function's name that are remembered.
const NAME_BYTES_MAX: usize = 256;

/// Why the call ended.
pub(crate) fn classify(error: &wasmtime::Error, limits: &Limits, deadline_ms: u32) -> CallError {
    if let Some(stop) = error.downcast_ref::<Stop>() {
        return stopped(*stop, limits, deadline_ms);
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return match trap {
            Trap::OutOfFuel => CallError::FuelExhausted { fuel_units: limits.fuel_units },
            Trap::StackOverflow => CallError::StackExhausted,
            Trap::Interrupt => stopped(Stop::Deadline, limits, deadline_ms),
            trap => CallError::Trapped { reason: trap.to_string() },
        };
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return stopped(Stop::MemoryOfAll, limits, deadline_ms);
    }
    let cause = error.root_cause().to_string();
    if matches!(error.downcast_ref::<ResourceTableError>(), Some(ResourceTableError::Full))
        || cause.contains(HANDLE_LIMIT)
    {
        return CallError::HandlesExceeded { handles: limits.handles };
    }
    if cause.contains(TRANSFER_LIMIT) {
        // Guest frames were on the stack only if it was making a host call; without them it was answering.
        return match error.downcast_ref::<WasmBacktrace>() {
            Some(_) => stopped(Stop::HostCalls, limits, deadline_ms),
            None => CallError::ResponseTooLarge { response_bytes: limits.response_bytes },
        };
    }
    CallError::Trapped { reason: cause }
}

/// Why an instance was not made. What is no trap and no limit is not the guest's doing: it has not run.
pub(crate) fn classify_start(error: &wasmtime::Error, limits: &Limits, deadline_ms: u32) -> CallError {
    match classify(error, limits, deadline_ms) {
        CallError::Trapped { reason } if !error.is::<Trap>() && !error.is::<WasmBacktrace>() => CallError::Host(reason),
        named => named,
    }
}

/// Why the host ended the call.
pub(crate) fn stopped(stop: Stop, limits: &Limits, deadline_ms: u32) -> CallError {
    match stop {
        Stop::Memory => CallError::MemoryExceeded { memory_bytes: limits.memory_bytes },
        Stop::MemoryOfAll => CallError::Overloaded { retry_after_ms: 1_000 },
        Stop::Deadline => CallError::DeadlineExceeded { deadline_ms },
        Stop::Killed => CallError::Killed,
        Stop::HostCalls => {
            CallError::HostCallsExceeded { host_calls: limits.host_calls, host_call_bytes: limits.host_call_bytes }
        }
    }
}

/// One frame of a guest as it was captured; made into text when somebody reads it.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    function: Option<Box<str>>,
    index: u32,
    offset: Option<usize>,
}

/// The guest's frames, innermost first.
pub(crate) fn frames(error: &wasmtime::Error) -> Vec<Frame> {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else {
        return Vec::new();
    };
    let frame = |frame: &wasmtime::FrameInfo| Frame {
        // The guest chose its names, and how long they are.
        function: frame
            .func_name()
            .map(|name| name.get(..name.floor_char_boundary(NAME_BYTES_MAX)).unwrap_or_default().into()),
        index: frame.func_index(),
        offset: frame.module_offset(),
    };
    backtrace.frames().iter().map(frame).collect()
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.function {
            Some(name) => {
                let name = format!("{:#}", rustc_demangle::demangle(name));
                f.write_str(&name.replace(char::is_control, "\u{fffd}"))?;
            }
            None => write!(f, "function {}", self.index)?,
        }
        match self.offset {
            Some(offset) => write!(f, " at {offset:#x}"),
            None => Ok(()),
        }
    }
}
