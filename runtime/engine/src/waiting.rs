//! A bounded queue's count of who waits. It does no waiting itself.

use std::sync::atomic::{AtomicU32, Ordering};

/// A place in a bounded queue, left on drop.
pub(crate) struct Waiting<'a>(&'a AtomicU32);

impl<'a> Waiting<'a> {
    /// Takes a place if fewer than `max` are taken.
    pub(crate) fn enter(count: &'a AtomicU32, max: u32) -> Option<Self> {
        count
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| {
                (waiting < max).then(|| waiting.saturating_add(1))
            })
            .ok()
            .map(|_| Self(count))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
