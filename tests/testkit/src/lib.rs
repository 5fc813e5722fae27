//! What makes a test read as five sentences: a real host behind a real server, clients by role, signed guests, keys, a
//! PostgreSQL cluster, the `bulkhead` binary as a process. It asserts nothing about the product; tests do.
//!
//! A test kit fails by panicking: its caller is a test, and the text says what to do.
#![expect(clippy::expect_used, clippy::panic, reason = "a test kit ends the test that cannot go on")]

pub mod answer;
pub mod binary;
pub mod bombs;
pub mod client;
pub mod guests;
pub mod host;
pub mod keys;
pub mod origin;
pub mod policies;
pub mod postgres;
pub mod programs;
pub mod raw;
pub mod release;
pub mod tokens;
mod verbs;
pub mod wait;

pub use answer::Answer;
pub use bulkhead_engine::compile_worker;
pub use client::Client;
pub use guests::Guest;
pub use host::{Builder, TestHost};
pub use keys::Key;
pub use origin::Origin;
pub use release::{Release, Source};
pub use wait::eventually;
