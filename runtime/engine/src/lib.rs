//! Runs plugins: compiles components in a worker process, caches native code under a MAC, makes stores with
//! limits, serves imports, enters exports, and decides when a plugin must rest.
//! It admits nobody, speaks no HTTP, and no wasmtime type leaves it.

mod cache;
mod call;
mod cell;
mod compile;
pub mod compile_worker;
mod component;
mod dispatch;
mod engine;
mod error;
mod exports;
mod failures;
mod imports;
mod instance;
mod linker;
mod load;
mod logs;
mod metrics;
mod reuse;
mod run;
mod settings;
mod state;
mod trap;
mod trial;
mod waiting;

pub use bulkhead_model::manifest::LogLevel;
pub use call::{CallContext, CallError, Outcome, PluginError, Usage};
pub use cell::{Cell, CellConfig, CellCounters, Configuration};
pub use compile::CompileLimits;
pub use component::Component;
pub use dispatch::admission::Rates;
pub use dispatch::ledger::{Ledger, Spent};
pub use engine::{Engine, EngineConfig};
pub use error::{CompileFailure, Error};
pub use exports::{HealthReport, RouteRequest, RouteResponse};
pub use failures::ErrorSnapshot;
pub use imports::{NoView, ViewSource};
pub use load::Admitted;
pub use logs::LogLine;
pub use metrics::CallCount;
pub use settings::runtime_version;
