//! Write a Bulkhead plugin: a struct, one trait for each extension point that it serves, and one
//! line that names them. It does not decide what a plugin may do: every import is checked by the
//! host against the tenant's grant, and this crate only gives the answers friendly types.
//!
//! ```
//! use bulkhead_sdk::{Context, PluginError, Request, Response, Routes};
//!
//! struct Hello;
//!
//! bulkhead_sdk::plugin!(Hello: routes);
//!
//! impl Routes for Hello {
//!     fn handle(ctx: &Context, request: &Request) -> Result<Response, PluginError> {
//!         match (request.method.as_str(), request.route.as_str()) {
//!             ("GET", "/hello") => Ok(Response::text(format!("Hello, {}!", ctx.user_or("stranger")))),
//!             _ => Err(PluginError::not_found("no such route")),
//!         }
//!     }
//! }
//!
//! let host = bulkhead_sdk::mock::Host::new().with_user("ada");
//! let answer = host.run(|| Hello::handle(&host.context(), &Request::get("/hello")));
//! assert_eq!(answer.unwrap().body, b"Hello, ada!");
//! ```
//!
//! Compiled for `wasm32-wasip2`, the calls of [`sql`], [`kv`], [`blob`], [`views`], [`config`], [`authz`] and
//! [`log`] reach the host. Compiled for the author's own machine, they reach the [`mock::Host`] whose `run`
//! is on the stack, so that `cargo test` of a plugin needs neither a host nor a wasm toolchain.

#[doc(hidden)]
pub mod bindings;

pub mod authz;
pub mod blob;
pub mod config;
pub mod kv;
pub mod log;
pub mod random;
pub mod sql;
pub mod time;
pub mod views;

#[cfg(not(target_family = "wasm"))]
pub mod mock;

mod config_migration;
mod context;
mod error;
mod events;
mod guards;
mod health;
mod hooks;
mod imports;
mod jobs;
mod json;
mod lifecycle;
mod plugin;
mod routes;
mod services;
mod sockets;

pub use bulkhead_sdk_macros::FromRow;
pub use config_migration::ConfigMigration;
pub use context::Context;
pub use error::{ConstraintKind, PluginError, StorageError, Violation};
pub use events::{Event, Events};
pub use guards::{Guards, RequestHead, Verdict};
pub use health::{Health, Report};
pub use hooks::Hooks;
pub use jobs::{Jobs, Run};
pub use json::JsonText;
pub use lifecycle::Lifecycle;
#[doc(hidden)]
pub use plugin::Export;
pub use routes::{Request, Response, Routes};
pub use services::Services;
pub use sockets::{SocketMessage, Sockets};
