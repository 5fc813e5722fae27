//! What every test needs: an engine in a temporary folder, cells of it, contexts of calls.
//! It asserts nothing.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_engine::{
    Admitted, CallContext, CallError, Cell, CellConfig, Component, Configuration, Engine, EngineConfig, Error, Ledger,
    LogLevel, Outcome, Rates, ViewSource,
};
use bulkhead_model::{Actor, Code, Coded as _, Digest, Grants, Limits, Reuse, TraceId};
use tempfile::TempDir;

/// An engine and the folder of its cache.
pub(crate) struct Host {
    pub(crate) engine: Engine,
    pub(crate) folder: TempDir,
}

pub(crate) fn worker() -> PathBuf {
    env!("CARGO_BIN_EXE_bulkhead-compile-worker").into()
}

/// A small engine's configuration in `folder`.
pub(crate) fn config(folder: &TempDir) -> EngineConfig {
    EngineConfig {
        instances_max: 64,
        plugins_max: 100,
        ..EngineConfig::new(folder.path().join("cache"), [7; 32], worker())
    }
}

impl Host {
    pub(crate) fn new() -> Self {
        Self::with(|_| ())
    }

    /// A host whose engine is set up otherwise.
    pub(crate) fn with(change: impl FnOnce(&mut EngineConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(&folder);
        change(&mut config);
        Self { engine: Engine::new(config).unwrap(), folder }
    }

    /// Compiles and loads.
    pub(crate) async fn component(&self, bytes: &[u8]) -> Component {
        self.try_component(bytes).await.unwrap()
    }

    pub(crate) async fn try_component(&self, bytes: &[u8]) -> Result<Component, Error> {
        let digest = Digest::of(bytes);
        self.engine.compile(&digest, &facts(), bytes).await?;
        self.engine.load(Admitted::new(digest, facts()))
    }

    /// A cell of tenant `t1` with default limits.
    pub(crate) async fn cell(&self, bytes: &[u8]) -> Arc<Cell> {
        self.cell_with(bytes, |_| ()).await
    }

    /// A cell that is set up otherwise.
    pub(crate) async fn cell_with(&self, bytes: &[u8], change: impl FnOnce(&mut CellConfig)) -> Arc<Cell> {
        let component = self.component(bytes).await;
        self.cell_of(component, change)
    }

    pub(crate) fn cell_of(&self, component: Component, change: impl FnOnce(&mut CellConfig)) -> Arc<Cell> {
        let mut config = CellConfig {
            tenant: "t1".parse().unwrap(),
            plugin: "acme.test".parse().unwrap(),
            version: "1.0.0".parse().unwrap(),
            component,
            grants: Grants::default(),
            limits: Limits { fuel_per_minute: u64::MAX, fuel_per_month: u64::MAX, ..Limits::DEFAULT },
            storage: None,
            views: ViewSource::default(),
            configuration: Configuration { json: "{}".into(), version: 1 },
            rates: Rates { calls_per_minute: 1_000_000, calls_burst: 1_000_000, routes_per_minute: Vec::new() },
            ledger: Arc::new(Ledger::new(Instant::now() + Duration::from_secs(3_600))),
            concurrency_max: 16,
            log_level: LogLevel::Trace,
        };
        change(&mut config);
        self.engine.cell(config)
    }
}

/// Digest of the facts that every test component was admitted with.
pub(crate) fn facts() -> Digest {
    Digest::of(b"facts")
}

/// Keeps instances.
pub(crate) fn reuse(config: &mut CellConfig) {
    config.limits.reuse = Reuse::Tenant;
}

/// A call for a user of tenant `t1`.
pub(crate) fn context() -> CallContext {
    context_of("t1")
}

pub(crate) fn context_of(tenant: &str) -> CallContext {
    let actor = Actor {
        subject: "anna".to_owned(),
        tenant: Some(tenant.parse().unwrap()),
        roles: BTreeSet::from([bulkhead_model::Role::Member]),
        permissions: BTreeSet::from(["acme.test.deals.view".to_owned()]),
    };
    CallContext {
        tenant: tenant.parse().unwrap(),
        actor: Arc::new(actor),
        trace: TraceId::from_random([3; 16]),
        locale: "en".into(),
        now_unix_ms: 1_800_000_000_000,
        deadline_ms: None,
        depth: 0,
        storage: None,
    }
}

/// Applies the filter with a value that no guest minds.
pub(crate) async fn filter(cell: &Cell) -> Outcome<Option<String>> {
    filter_value(cell, "1").await
}

pub(crate) async fn filter_value(cell: &Cell, value: &str) -> Outcome<Option<String>> {
    cell.apply_filter(&context(), "order.total", value, "[]").await
}

/// The code of a failed call.
pub(crate) fn code<T>(outcome: &Outcome<T>) -> Option<Code> {
    outcome.result.as_ref().err().map(CallError::code)
}
