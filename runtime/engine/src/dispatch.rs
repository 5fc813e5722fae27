//! Whether a call may begin: kill, drain, breaker, rate, concurrency, in this order.
//! It runs no guest.

pub(crate) mod admission;
pub(crate) mod breaker;
pub(crate) mod ledger;
pub(crate) mod rate;
