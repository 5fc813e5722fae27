//! The binary as a person uses it: real files, real exit codes, real text.
//! What a command decides is tested where it is decided, in the libraries.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in its helpers too"
)]

mod bench;
mod documents;
mod host;
mod init;
mod key;
mod new;
mod project;
mod release;
