//! Tests of the engine against real components, compiled by the real worker.
//! Nothing of the engine is replaced in them.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

#[expect(unreachable_pub, reason = "the test kit's own file: the kit depends on this crate")]
#[path = "../../../../tests/testkit/src/bombs.rs"]
mod bombs;
mod cache;
mod cache_attacks;
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
