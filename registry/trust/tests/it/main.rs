//! Attacks on the trust core and the legal work that must still go on, on real components.
//! Nothing here runs a component.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in its helpers too"
)]

mod admit;
mod artifact;
mod bundle;
mod capabilities;
mod fixtures;
mod flips;
mod interop;
mod key;
mod levels;
mod log;
mod pack;
mod policy;
mod roots;
mod suite;
