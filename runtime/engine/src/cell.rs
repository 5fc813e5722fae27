//! A cell: one version of one plugin in one tenant on this node. Every call into a guest goes through here:
//! gate, instance, entry, outcome.
//! It routes nothing and stores nothing; the host makes a cell when it builds its snapshot.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bulkhead_database::tenant::PluginStore;
use bulkhead_model::limits::HOOK_DEPTH_MAX;
use bulkhead_model::manifest::LogLevel;
use bulkhead_model::{Code, Coded as _, Entry, Grants, Limits, PluginId, TenantId, Version};
use tokio::sync::Notify;

use crate::call::{CallContext, CallError, Outcome, Usage};
use crate::component::Component;
use crate::dispatch::admission::{Gate, Rates};
use crate::dispatch::ledger::Ledger;
use crate::engine::Engine;
use crate::exports::{
    ApplyFilter, Check, Export, Handle, HealthReport, Lifecycle, OnAction, RouteRequest, RouteResponse,
};
use crate::failures::{ErrorSnapshot, Failures};
use crate::imports::ViewSource;
use crate::logs::{Log, LogLine};
use crate::metrics::{CallCount, CellMetrics};
use crate::reuse::Idle;

/// The tenant's configuration of the plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// JSON text, validated, defaults applied.
    pub json: Arc<str>,
    /// Version of its schema.
    pub version: u32,
}

/// What a cell is made of.
#[derive(Clone, Debug)]
pub struct CellConfig {
    /// The tenant that it serves.
    pub tenant: TenantId,
    /// The plugin that it runs.
    pub plugin: PluginId,
    /// The plugin's version.
    pub version: Version,
    /// The plugin's code.
    pub component: Component,
    /// What it may import in this tenant.
    pub grants: Grants,
    /// Bounds of each call.
    pub limits: Limits,
    /// Its storage in this tenant, if it has any.
    pub storage: Option<PluginStore>,
    /// Where it finds the views of other plugins in this tenant.
    pub views: ViewSource,
    /// Its configuration in this tenant.
    pub configuration: Configuration,
    /// How often it may be called.
    pub rates: Rates,
    /// The account of this plugin in this tenant: the same for all its cells.
    pub ledger: Arc<Ledger>,
    /// Calls that may run at once.
    pub concurrency_max: u32,
    /// Log level at the start.
    pub log_level: LogLevel,
}

/// Counts of a cell since it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CellCounters {
    /// Calls, refused ones included, by entry and outcome.
    pub calls: Vec<CallCount>,
    /// Fuel of all calls together.
    pub fuel_units: u64,
    /// Host calls of all calls together.
    pub host_calls: u64,
    /// Most bytes that memories and tables of one call had together.
    pub memory_peak_bytes: u64,
    /// Calls that failed and are the plugin's fault; quarantine counts them.
    pub failures: u64,
    /// How often the breaker opened.
    pub breaker_opened: u64,
    /// Log lines that were dropped.
    pub log_dropped: u64,
}

/// Runs one plugin for one tenant.
pub struct Cell {
    pub(crate) engine: Engine,
    pub(crate) component: Component,
    pub(crate) shared: Arc<Shared>,
    pub(crate) gate: Gate,
    pub(crate) idle: Arc<Idle>,
    pub(crate) failures: Failures,
    totals: Totals,
    pub(crate) failed: AtomicU64,
}

/// Sums over the calls of a cell.
#[derive(Default)]
struct Totals {
    fuel_units: AtomicU64,
    host_calls: AtomicU64,
    memory_peak_bytes: AtomicU64,
}

impl Totals {
    fn add(&self, usage: &Usage) {
        self.fuel_units.fetch_add(usage.fuel_units, Ordering::Relaxed);
        self.host_calls.fetch_add(u64::from(usage.host_calls), Ordering::Relaxed);
        self.memory_peak_bytes.fetch_max(usage.memory_peak_bytes, Ordering::Relaxed);
    }
}

/// What the stores of a cell know of it.
pub(crate) struct Shared {
    pub(crate) tenant: TenantId,
    pub(crate) plugin: PluginId,
    pub(crate) version: Version,
    pub(crate) grants: Grants,
    pub(crate) limits: Limits,
    pub(crate) storage: Option<PluginStore>,
    pub(crate) views: ViewSource,
    pub(crate) configuration: Configuration,
    pub(crate) log: Log,
    pub(crate) metrics: CellMetrics,
    kills: AtomicU64,
    /// Wakes calls that wait while they must end.
    pub(crate) kill_signal: Notify,
    /// Wakes whoever waits for the end of the cell.
    stop_signal: Notify,
}

impl Shared {
    pub(crate) fn new(metrics: CellMetrics, config: &CellConfig) -> Self {
        Self {
            log: Log::new(config.tenant.clone(), config.plugin.clone(), config.log_level),
            tenant: config.tenant.clone(),
            plugin: config.plugin.clone(),
            version: config.version.clone(),
            grants: config.grants.clone(),
            limits: config.limits,
            storage: config.storage.clone(),
            views: config.views.clone(),
            configuration: config.configuration.clone(),
            metrics,
            kills: AtomicU64::new(0),
            kill_signal: Notify::new(),
            stop_signal: Notify::new(),
        }
    }

    /// How often the cell was killed. A call ends when this moves.
    pub(crate) fn kills(&self) -> u64 {
        self.kills.load(Ordering::Acquire)
    }
}

impl Engine {
    /// Makes a cell. Cheap; instances are made by calls.
    pub fn cell(&self, config: CellConfig) -> Arc<Cell> {
        let metrics = self.inner.labels.cell(&config.tenant, &config.plugin);
        let idle = Arc::new(Idle::new(config.concurrency_max, metrics.plugin.idle.clone()));
        self.inner.idle.add(&idle);
        let gate = Gate::new(
            self.inner.clock,
            &config.rates,
            &config.limits,
            Arc::clone(&config.ledger),
            config.concurrency_max,
        );
        let shared = Shared::new(metrics, &config);
        Arc::new(Cell {
            engine: self.clone(),
            component: config.component,
            shared: Arc::new(shared),
            gate,
            idle,
            failures: Failures::default(),
            totals: Totals::default(),
            failed: AtomicU64::new(0),
        })
    }
}

impl Cell {
    /// Answers an HTTP request that the host has authenticated, permitted, matched and taken off the rate.
    pub async fn handle_route(&self, context: &CallContext, request: RouteRequest) -> Outcome<RouteResponse> {
        self.run(context, Handle(request)).await
    }

    /// Lets the plugin change `value`, JSON text; `None` leaves it. `args` is a JSON array.
    pub async fn apply_filter(
        &self,
        context: &CallContext,
        name: &str,
        value: &str,
        args: &str,
    ) -> Outcome<Option<String>> {
        self.hook(context, ApplyFilter { name, value, args }).await
    }

    /// Tells the plugin of an action. `args` is a JSON array.
    pub async fn on_action(&self, context: &CallContext, name: &str, args: &str) -> Outcome<()> {
        self.hook(context, OnAction { name, args }).await
    }

    /// Starts the plugin; it may not call others yet.
    pub async fn init(&self, context: &CallContext) -> Outcome<()> {
        self.run(context, Lifecycle::Init).await
    }

    /// Tells the plugin that all others have started.
    pub async fn ready(&self, context: &CallContext) -> Outcome<()> {
        self.run(context, Lifecycle::Ready).await
    }

    /// Tells the plugin that it ends. Also works after [`Cell::close`].
    pub async fn shutdown(&self, context: &CallContext) -> Outcome<()> {
        self.run(context, Lifecycle::Shutdown).await
    }

    /// Asks the plugin how it is.
    pub async fn check_health(&self, context: &CallContext) -> Outcome<HealthReport> {
        self.run(context, Check).await
    }

    async fn hook<E: Export>(&self, context: &CallContext, export: E) -> Outcome<E::Answer> {
        if context.depth > HOOK_DEPTH_MAX {
            return self.refused(export.entry(), CallError::TooDeep(HOOK_DEPTH_MAX), Instant::now());
        }
        self.run(context, export).await
    }

    /// Kill, drain and breaker, for whoever must know before it looks for a route. Takes nothing.
    ///
    /// # Errors
    /// [`CallError::Killed`], [`CallError::Draining`] or [`CallError::BreakerOpen`].
    pub fn admission(&self) -> Result<(), CallError> {
        self.gate.peek()
    }

    /// Takes one call of the manifest's route number `route` off its rate and the cell's; [`Cell::handle_route`] itself
    /// takes none, so that a caller can refuse before it reads a body.
    ///
    /// # Errors
    /// [`CallError::RateLimited`], [`CallError::FuelRateLimited`] or [`CallError::FuelBudgetSpent`].
    pub fn take_rate(&self, route: usize) -> Result<(), CallError> {
        let taken = self.gate.take_route_rate(route, Instant::now());
        if let Err(error) = &taken {
            self.count(Entry::Route, Some(error.code()), &Usage::default());
        }
        taken
    }

    /// Counts a call, run or refused.
    pub(crate) fn count(&self, entry: Entry, failed: Option<Code>, usage: &Usage) {
        self.totals.add(usage);
        self.shared.metrics.call(entry, failed, usage);
    }

    /// Stops the cell: no call begins, and calls that run end within two clock ticks.
    pub fn kill(&self) {
        // In this order: a call reads the count first and the gate second.
        self.gate.set_killed(true);
        self.shared.kills.fetch_add(1, Ordering::AcqRel);
        self.shared.kill_signal.notify_waiters();
        self.shared.stop_signal.notify_waiters();
        self.idle.clear();
    }

    /// Ends a kill. Calls that were stopped stay stopped.
    pub fn revive(&self) {
        self.gate.set_killed(false);
    }

    /// Whether the cell is killed.
    pub fn is_killed(&self) -> bool {
        self.gate.is_killed()
    }

    /// Takes no new calls but `shutdown`; calls that run go on.
    pub fn close(&self) {
        self.gate.drain();
        self.shared.stop_signal.notify_waiters();
        self.idle.clear();
    }

    /// Whether the cell is killed or takes no new calls.
    pub fn is_stopped(&self) -> bool {
        !self.gate.is_open()
    }

    /// Waits until the cell is killed or takes no new calls.
    pub async fn stopped(&self) {
        let mut told = pin!(self.shared.stop_signal.notified());
        // Before the look at the gate: a stop between the two is seen by one of them.
        told.as_mut().enable();
        if !self.is_stopped() {
            told.await;
        }
    }

    /// Waits until no call runs; false if `wait_max` passed first.
    pub async fn drained(&self, wait_max: Duration) -> bool {
        self.gate.drained(wait_max).await
    }

    /// The last failures, newest first.
    pub fn errors(&self) -> Vec<ErrorSnapshot> {
        self.failures.snapshots()
    }

    /// The last log lines, oldest first.
    pub fn log_tail(&self) -> Vec<Arc<LogLine>> {
        self.shared.log.tail()
    }

    /// Changes which lines are kept, from the next line on.
    pub fn set_log_level(&self, level: LogLevel) {
        self.shared.log.set_level(level);
    }

    /// Counts since the cell was made.
    pub fn counters(&self) -> CellCounters {
        CellCounters {
            calls: self.shared.metrics.calls(),
            fuel_units: self.totals.fuel_units.load(Ordering::Relaxed),
            host_calls: self.totals.host_calls.load(Ordering::Relaxed),
            memory_peak_bytes: self.totals.memory_peak_bytes.load(Ordering::Relaxed),
            failures: self.failed.load(Ordering::Relaxed),
            breaker_opened: self.gate.breaker_opened(),
            log_dropped: self.shared.log.dropped(),
        }
    }

    /// The tenant that it serves.
    pub fn tenant(&self) -> &TenantId {
        &self.shared.tenant
    }

    /// The plugin that it runs.
    pub fn plugin(&self) -> &PluginId {
        &self.shared.plugin
    }

    /// The plugin's version.
    pub fn version(&self) -> &Version {
        &self.shared.version
    }

    /// The plugin's code.
    pub fn component(&self) -> &Component {
        &self.component
    }

    /// The bounds of each call.
    pub fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// Wall time in milliseconds that a call through `entry` gets.
    pub(crate) fn deadline_ms(&self, entry: Entry, context: &CallContext) -> u32 {
        let own = self.shared.limits.deadline_ms(entry);
        context.deadline_ms.map_or(own, |left| left.min(own))
    }
}

impl std::fmt::Debug for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cell").field("tenant", self.tenant()).field("plugin", self.plugin()).finish_non_exhaustive()
    }
}
