//! Who is calling, in which tenant, and how long there is.
//! It is told by the host: a plugin can read it and cannot pass on another one.

pub use crate::imports::types::CallContext as Context;

impl Context {
    /// The end user's name, or `other` where the call has no user (an event, a job).
    #[must_use]
    pub fn user_or<'a>(&'a self, other: &'a str) -> &'a str {
        self.user.as_deref().unwrap_or(other)
    }

    /// Milliseconds left before the host stops the call; 0 when they are over.
    #[must_use]
    pub fn remaining_ms(&self) -> u64 {
        let now_ms = u64::try_from(crate::time::now_us() / 1_000).unwrap_or(0);
        self.deadline_ms.saturating_sub(now_ms)
    }
}
