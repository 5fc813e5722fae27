//! The process's log: text for people or one JSON object a line, on standard error.
//! What is logged, and with which fields, is decided where it happens.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::config::Telemetry;
use crate::error::Error;

/// Starts the log of this process. Fails if one was started before.
pub fn start(telemetry: &Telemetry) -> Result<(), Error> {
    let filter = EnvFilter::try_new(&telemetry.log).map_err(|error| Error::Logs(error.to_string()))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if telemetry.json {
        log.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init()
    } else {
        log.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init()
    };
    started.map_err(|error| Error::Logs(error.to_string()))
}
