//! `log`: a guest's lines into its cell's log.
//! It formats nothing that nobody will read.

use bulkhead_bindings::bulkhead::plugin::log::{Host, Level};
use bulkhead_model::Interface;

use bulkhead_model::manifest::LogLevel;

use crate::logs::LogLine;
use crate::state::CallState;

impl Host for CallState {
    fn write(&mut self, level: Level, message: String, fields: Vec<(String, String)>) -> wasmtime::Result<()> {
        let fields_bytes: usize = fields.iter().map(|(name, value)| name.len().saturating_add(value.len())).sum();
        self.admit_baseline(Interface::Log, message.len().saturating_add(fields_bytes))?;
        let level = match level {
            Level::Trace => LogLevel::Trace,
            Level::Debug => LogLevel::Debug,
            Level::Info => LogLevel::Info,
            Level::Warn => LogLevel::Warn,
            Level::Error => LogLevel::Error,
        };
        self.log_line(level, message, fields);
        Ok(())
    }
}

impl CallState {
    /// Writes a line of the call that runs, if its level is kept.
    pub(crate) fn log_line(&mut self, level: LogLevel, message: String, fields: Vec<(String, String)>) {
        if self.shared.log.keeps(level) {
            let line =
                LogLine { at_unix_ms: self.call.clock_unix_ms(), level, message, fields, trace: self.call.trace };
            self.shared.log.write(&mut self.log, self.shared.limits.log_bytes, line);
        }
    }
}
