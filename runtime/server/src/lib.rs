//! Speaks HTTP for the host: configuration, listener, router, problems, OpenAPI. It decides nothing about plugins and
//! tenants; `bulkhead_host` does.

// A request is one future down to the guest's last host call, without a box on the way: its type is nested deeper than the
// compiler looks by default when it optimises.
#![recursion_limit = "256"]

mod app;
mod bootstrap;
pub mod config;
pub mod doctor;
mod error;
mod http;
mod listen;
mod logs;
mod rate;
mod stall;

use std::future::Future;

pub use config::{Config, Overrides};
pub use error::Error;
pub use http::openapi::document as openapi;
pub use http::problems::reference as problems_reference;
pub use listen::Server;
pub use logs::start as start_logs;

/// Serves until `shutdown` is ready, then drains: requests in flight end within `limits.drain_ms`.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    Server::bind(&config).await?.run(shutdown).await
}
