//! The last failures of a cell: code, guest frames, the call's last log lines, fuel.
//! It holds nothing of a guest's memory, and it turns frames into text only for a reader.

use std::collections::VecDeque;
use std::sync::Arc;

use bulkhead_model::{Code, Coded as _, Entry, TraceId};
use parking_lot::Mutex;

use crate::call::CallError;
use crate::logs::LogLine;
use crate::trap::Frame;

/// Failures that a cell remembers.
pub(crate) const FAILURES_MAX: usize = 20;
/// Log lines that stand beside a failure.
pub(crate) const LOG_LINES_MAX: usize = 10;

/// One failure.
#[derive(Clone, Debug)]
pub struct ErrorSnapshot {
    /// Stable code.
    pub code: Code,
    /// One line for the operator.
    pub message: String,
    /// How the guest was entered.
    pub entry: Entry,
    /// The guest's frames, innermost first, as function names.
    pub frames: Vec<String>,
    /// The call's last log lines, oldest first.
    pub log_tail: Vec<Arc<LogLine>>,
    /// Fuel that the call had used.
    pub fuel_units: u64,
    /// The call.
    pub trace: TraceId,
    /// Unix milliseconds.
    pub at_unix_ms: u64,
}

/// A failure as it was captured.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) error: CallError,
    pub(crate) entry: Entry,
    pub(crate) frames: Vec<Frame>,
    pub(crate) log_tail: Vec<Arc<LogLine>>,
    pub(crate) fuel_units: u64,
    pub(crate) trace: TraceId,
    pub(crate) at_unix_ms: u64,
}

/// The ring of failures.
#[derive(Debug, Default)]
pub(crate) struct Failures(Mutex<VecDeque<Failure>>);

impl Failures {
    pub(crate) fn push(&self, failure: Failure) {
        let mut ring = self.0.lock();
        if ring.len() >= FAILURES_MAX {
            ring.pop_front();
        }
        ring.push_back(failure);
    }

    /// The remembered failures, newest first.
    pub(crate) fn snapshots(&self) -> Vec<ErrorSnapshot> {
        let failures: Vec<Failure> = self.0.lock().iter().rev().cloned().collect();
        failures.into_iter().map(snapshot).collect()
    }
}

fn snapshot(failure: Failure) -> ErrorSnapshot {
    ErrorSnapshot {
        code: failure.error.code(),
        message: match failure.error {
            // The host's own trouble is for its log; this text is read by a tenant's admin.
            CallError::Host(_) => "the host failed".to_owned(),
            error => error.to_string(),
        },
        entry: failure.entry,
        frames: failure.frames.iter().map(Frame::to_string).collect(),
        log_tail: failure.log_tail,
        fuel_units: failure.fuel_units,
        trace: failure.trace,
        at_unix_ms: failure.at_unix_ms,
    }
}
