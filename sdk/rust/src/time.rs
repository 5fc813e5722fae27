//! The time of the call.
//! A plugin's clock is the host's wall clock; a mock host may hold it still.

/// Microseconds since 1970, UTC.
#[must_use]
#[cfg(target_family = "wasm")]
#[expect(clippy::disallowed_methods, reason = "this is the guest's edge that reads the clock")]
pub fn now_us() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Microseconds since 1970, UTC: those of the mock host.
#[must_use]
#[cfg(not(target_family = "wasm"))]
pub fn now_us() -> i64 {
    crate::mock::now_us()
}
