//! The one place of the host that reads the clock; everything else is given the time.
//! It measures no durations: those are monotonic and belong to whoever waits.

use jiff::Timestamp;

/// Now, UTC.
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// Now in microseconds since 1970, UTC.
pub(crate) fn now_micros() -> i64 {
    now().as_microsecond()
}

/// Now in milliseconds since 1970, UTC.
pub(crate) fn now_ms() -> u64 {
    u64::try_from(now().as_millisecond()).unwrap_or(0)
}
