//! Tests of the engine against real components, compiled by the real worker.
//! Nothing of the engine is replaced in them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod cache;
mod compile;
mod entries;
mod guests;
mod host;
mod hostile;
mod kill;
mod load;
mod logs;
mod metrics;
mod overload;
mod reuse;
mod storage;
