//! Guest logs: a bounded ring per cell, a cap per call, a level that changes live, one tracing event per line.
//! It stores nothing on disk and reads no clock.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use bulkhead_model::manifest::LogLevel;
use bulkhead_model::{PluginId, TenantId, TraceId};
use parking_lot::Mutex;

/// Lines that a cell remembers.
pub(crate) const LINES_MAX: usize = 200;
/// Fields of a line.
const FIELDS_MAX: usize = 32;
/// Bytes that a line counts beside its text, so that empty lines are not free.
const LINE_OVERHEAD_BYTES: u64 = 16;

/// The level as a number, so that it can change live.
const fn rank(level: LogLevel) -> u8 {
    match level {
        LogLevel::Trace => 0,
        LogLevel::Debug => 1,
        LogLevel::Info => 2,
        LogLevel::Warn => 3,
        LogLevel::Error => 4,
    }
}

/// One line of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Unix milliseconds.
    pub at_unix_ms: u64,
    /// Importance.
    pub level: LogLevel,
    /// Text; control characters but line feed and tab are replaced.
    pub message: String,
    /// Names and values.
    pub fields: Vec<(String, String)>,
    /// The call that wrote it.
    pub trace: TraceId,
}

/// The log of a cell.
#[derive(Debug)]
pub(crate) struct Log {
    tenant: TenantId,
    plugin: PluginId,
    level: AtomicU8,
    dropped: AtomicU64,
    lines: Mutex<VecDeque<Arc<LogLine>>>,
}

/// What the call that runs wrote.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CallLog {
    bytes: u64,
    /// Lines beyond the cap.
    pub(crate) dropped: u32,
}

impl Log {
    pub(crate) fn new(tenant: TenantId, plugin: PluginId, level: LogLevel) -> Self {
        Self { tenant, plugin, level: AtomicU8::new(rank(level)), dropped: AtomicU64::new(0), lines: Mutex::default() }
    }

    pub(crate) fn set_level(&self, level: LogLevel) {
        self.level.store(rank(level), Ordering::Relaxed);
    }

    /// Whether lines of this level are kept.
    pub(crate) fn keeps(&self, level: LogLevel) -> bool {
        rank(level) >= self.level.load(Ordering::Relaxed)
    }

    /// Lines dropped since the cell was made.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// The remembered lines, oldest first.
    pub(crate) fn tail(&self) -> Vec<Arc<LogLine>> {
        self.lines.lock().iter().cloned().collect()
    }

    /// The last `count` lines of one call, oldest first.
    pub(crate) fn tail_of(&self, trace: TraceId, count: usize) -> Vec<Arc<LogLine>> {
        let lines = self.lines.lock();
        let mut tail: Vec<_> = lines.iter().rev().filter(|line| line.trace == trace).take(count).cloned().collect();
        tail.reverse();
        tail
    }

    /// Keeps a line, or drops and counts it when the call has written more than `max_bytes`.
    pub(crate) fn write(&self, call: &mut CallLog, max_bytes: u64, mut line: LogLine) {
        let text = line.fields.iter().map(|(name, value)| name.len().saturating_add(value.len())).sum::<usize>();
        let size = u64::try_from(text.saturating_add(line.message.len()))
            .unwrap_or(u64::MAX)
            .saturating_add(LINE_OVERHEAD_BYTES);
        let written = call.bytes.saturating_add(size);
        if written > max_bytes || line.fields.len() > FIELDS_MAX {
            call.dropped = call.dropped.saturating_add(1);
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        call.bytes = written;
        replace_control_characters(&mut line.message);
        for (name, value) in &mut line.fields {
            replace_control_characters(name);
            replace_control_characters(value);
        }
        self.emit(&line);
        let mut lines = self.lines.lock();
        if lines.len() >= LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(Arc::new(line));
    }

    #[expect(clippy::cognitive_complexity, reason = "the macro must be written once per level")]
    fn emit(&self, line: &LogLine) {
        macro_rules! event {
            ($level:ident) => {
                tracing::event!(
                    target: "bulkhead::plugin",
                    tracing::Level::$level,
                    tenant.id = %self.tenant,
                    plugin.id = %self.plugin,
                    trace.id = %line.trace,
                    fields = ?Fields(&line.fields),
                    "{}",
                    on_one_line(&line.message),
                )
            };
        }
        match line.level {
            LogLevel::Trace => event!(TRACE),
            LogLevel::Debug => event!(DEBUG),
            LogLevel::Info => event!(INFO),
            LogLevel::Warn => event!(WARN),
            LogLevel::Error => event!(ERROR),
        }
    }
}

/// Fields as a map, quoted, so that no value can pass for another field.
struct Fields<'a>(&'a [(String, String)]);

impl fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(name, value)| (name, value))).finish()
    }
}

/// A guest's line must not be able to begin a line of the host's log.
fn on_one_line(text: &str) -> Cow<'_, str> {
    if text.contains('\n') { Cow::Owned(text.replace('\n', "\\n")) } else { Cow::Borrowed(text) }
}

/// Terminals act on control characters.
fn replace_control_characters(text: &mut String) {
    let forbidden = |c: char| c.is_control() && c != '\n' && c != '\t';
    if text.contains(forbidden) {
        *text = text.replace(forbidden, "\u{fffd}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> Log {
        Log::new("t1".parse().unwrap(), "acme.crm".parse().unwrap(), LogLevel::Info)
    }

    fn line(message: &str) -> LogLine {
        LogLine {
            at_unix_ms: 0,
            level: LogLevel::Info,
            message: message.to_owned(),
            fields: Vec::new(),
            trace: TraceId::from_random([7; 16]),
        }
    }

    #[test]
    fn the_ring_keeps_the_last_lines() {
        let log = log();
        let mut call = CallLog::default();

        for number in 0..250 {
            log.write(&mut call, u64::MAX, line(&number.to_string()));
        }

        let tail = log.tail();
        assert_eq!(tail.len(), LINES_MAX);
        assert_eq!((tail[0].message.as_str(), tail[199].message.as_str()), ("50", "249"));
    }

    #[test]
    fn lines_beyond_the_cap_of_a_call_are_dropped_and_counted() {
        let log = log();
        let mut call = CallLog::default();

        for _ in 0..10 {
            log.write(&mut call, 100, line("sixteen bytes ok"));
        }

        assert_eq!((log.tail().len(), call.dropped, log.dropped()), (3, 7, 7));
    }

    #[test]
    fn a_line_cannot_move_the_cursor_of_a_terminal() {
        let log = log();

        log.write(&mut CallLog::default(), 1_000, line("a\u{1b}[2Jb\r\nc"));

        assert_eq!(log.tail()[0].message, "a\u{fffd}[2Jb\u{fffd}\nc");
    }

    #[test]
    fn the_level_changes_live() {
        let log = log();

        log.set_level(LogLevel::Error);

        assert!(log.keeps(LogLevel::Error) && !log.keeps(LogLevel::Warn));
    }
}
